"""Matching of predicted and true segments over a window of frames, as panoptic and video panoptic quality do it.

Segments with one id in a window are one tube. A pair matches with an IoU above 0.5, void left out of the union
(Kirillov et al., Panoptic Segmentation, CVPR 2019; Kim et al., Video Panoptic Segmentation, CVPR 2020). The pairs of
every frame are counted once; a window adds up the counts of its frames.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from univs.evaluation.metrics.pixel_counts import MAX_VALUE, PairCounts

VOID = 0


@dataclass(frozen=True)
class FrameSegments:
    """The segments that are listed for a frame, each id once, in the order of the list.

    All [N]: ``ids``, ``categories`` (indices of the category table), ``crowd``, ``areas`` as they are stated (-1: not
    stated).
    """

    ids: np.ndarray
    categories: np.ndarray
    crowd: np.ndarray
    areas: np.ndarray


@dataclass(frozen=True)
class FramePair:
    """One frame: the listed segments of both sides, and how often their ids meet at a pixel (truth first)."""

    truth: FrameSegments
    prediction: FrameSegments
    pairs: PairCounts


@dataclass(frozen=True)
class Tubes:
    """Per-frame tables of N ids, [T, N]: category (-1 where not listed), place in the list, crowd and area."""

    ids: np.ndarray
    categories: np.ndarray
    places: np.ndarray
    crowd: np.ndarray
    areas: np.ndarray

    def window(self, frames: int) -> WindowTubes:
        """Tubes of every window of ``frames`` frames: the first frame that lists an id decides what it is."""
        category = _last(self.categories, frames)
        crowd, order = _last(self.crowd, frames), _last(self.places, frames) + (frames - 1) * MAX_VALUE
        for offset in range(frames - 2, -1, -1):
            windows = slice(offset, offset + len(category))
            listed = self.categories[windows] >= 0
            category = np.where(listed, self.categories[windows], category)
            crowd = np.where(listed, self.crowd[windows], crowd)
            order = np.where(listed, self.places[windows] + offset * MAX_VALUE, order)
        return WindowTubes(category, crowd & (category >= 0), order, window_sums(self.areas, frames))


@dataclass(frozen=True)
class WindowTubes:
    """Tubes of W windows, all [W, N]: category (-1 where absent), crowd, order in which they are listed, area."""

    category: np.ndarray
    crowd: np.ndarray
    order: np.ndarray
    area: np.ndarray


class MatchedWindows:
    """The tables of one video, from which windows of any length are scored.

    Args:
        frames: the T frames.
        categories: number C of categories.
    """

    def __init__(self, frames: Sequence[FramePair], categories: int) -> None:
        self.categories = categories
        self._keys, self._counts = _dense([(_key(frame.pairs), frame.pairs.counts) for frame in frames])
        self._stated = _tubes([frame.truth for frame in frames])
        prediction = _tubes([frame.prediction for frame in frames])
        self._truth_of = _places(self._stated.ids, self._keys // MAX_VALUE)
        self._prediction_of = _places(prediction.ids, self._keys % MAX_VALUE)
        self._prediction = replace(prediction, areas=self._pixels(self._prediction_of, len(prediction.ids)))
        self._counted = replace(self._stated, areas=self._pixels(self._truth_of, len(self._stated.ids)))

    @property
    def areas_agree(self) -> bool:
        """Whether the stated areas of all true segments are their numbers of pixels."""
        return bool((self._stated.areas == self._counted.areas).all())

    def _pixels(self, index: np.ndarray, number: int) -> np.ndarray:
        """Pixels [T, number] of each id, ``index`` its place for every pair (-1: not listed)."""
        listed, frames = np.flatnonzero(index >= 0), len(self._counts)
        places = np.arange(frames)[:, None] * number + index[listed]
        pixels = np.bincount(places.ravel(), self._counts[:, listed].ravel(), frames * number)
        return pixels.astype(np.int64).reshape(frames, number)

    @property
    def several_crowds(self) -> bool:
        """Whether a category has crowds of several ids."""
        found = {tuple(pair) for pair in zip(*self._crowd_ids(), strict=True)}
        return len(found) > len({category for _, category in found})

    def _crowd_ids(self) -> tuple[list[int], list[int]]:
        frames, columns = np.nonzero(self._stated.crowd)
        return columns.tolist(), self._stated.categories[frames, columns].tolist()

    def score(self, window: int, stated_truth_areas: bool = False, every_crowd: bool = False) -> np.ndarray:
        """Sums over all windows of ``window`` frames, [C, 4] float64: IoU of the matches, TP, FP, FN.

        With ``stated_truth_areas`` true segments have the areas that are stated, right or wrong. Of several crowds of
        a category officially only the last listed one forgives predictions; with ``every_crowd`` all do.
        """
        sums = np.zeros((self.categories, 4))
        if window > len(self._counts):
            return sums
        truth = (self._stated if stated_truth_areas else self._counted).window(window)
        prediction = self._prediction.window(window)
        counts = window_sums(self._counts, window)
        void = np.zeros(prediction.area.shape, np.int64)
        voids = np.flatnonzero((self._keys // MAX_VALUE == VOID) & (self._prediction_of >= 0))
        void[:, self._prediction_of[voids]] = counts[:, voids]
        matched_truth, matched_prediction = self._match(counts, truth, prediction, void, sums)
        missed = (truth.category >= 0) & ~truth.crowd & ~matched_truth
        sums[:, 3] += self._per_category(truth.category[missed])
        forgiven = void + self._on_crowd(counts, truth, prediction, every_crowd)
        listed = (prediction.category >= 0) & ~matched_prediction
        # More than half of it on void or crowd: neither right nor wrong.
        wrong = listed & ~(forgiven > 0.5 * prediction.area)
        sums[:, 2] += self._per_category(prediction.category[wrong])
        return sums

    def _match(
        self, counts: np.ndarray, truth: WindowTubes, prediction: WindowTubes, void: np.ndarray, sums: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Add IoUs and true positives to ``sums``; returns which tubes are matched, [W, G] and [W, P]."""
        listed = np.flatnonzero((self._truth_of >= 0) & (self._prediction_of >= 0))
        of_truth, of_prediction = self._truth_of[listed], self._prediction_of[listed]
        shared, category = counts[:, listed], truth.category[:, of_truth]
        same = (category == prediction.category[:, of_prediction]) & (category >= 0) & ~truth.crowd[:, of_truth]
        union = prediction.area[:, of_prediction] + truth.area[:, of_truth] - shared - void[:, of_prediction]
        possible = same & (shared > 0)
        # Stated areas that are far too small can make a union of nothing.
        iou = np.divide(shared, union, out=np.full(shared.shape, np.inf), where=union != 0)
        iou[~possible] = 0
        windows, pairs = np.nonzero(iou > 0.5)
        sums[:, 0] += self._per_category(category[windows, pairs], iou[windows, pairs])
        sums[:, 1] += self._per_category(category[windows, pairs])
        matched_truth, matched_prediction = np.zeros(truth.area.shape, bool), np.zeros(prediction.area.shape, bool)
        matched_truth[windows, of_truth[pairs]] = True
        matched_prediction[windows, of_prediction[pairs]] = True
        return matched_truth, matched_prediction

    def _on_crowd(
        self, counts: np.ndarray, truth: WindowTubes, prediction: WindowTubes, every_crowd: bool
    ) -> np.ndarray | int:
        """Pixels [W, P] of predictions on the crowd tubes of their category, or on the last listed one."""
        crowds = np.flatnonzero(truth.crowd.any(0))
        if not len(crowds):
            return 0
        out = np.zeros(prediction.area.shape, np.int64)
        for crowd in crowds:
            category = truth.category[:, crowd]
            others = truth.crowd[:, crowds] & (truth.category[:, crowds] == category[:, None])
            later = others & (truth.order[:, crowds] > truth.order[:, crowd, None])
            counted = truth.crowd[:, crowd] & (every_crowd | ~later.any(1))
            for pair in np.flatnonzero((self._truth_of == crowd) & (self._prediction_of >= 0)):
                index = self._prediction_of[pair]
                out[:, index] += counts[:, pair] * (counted & (prediction.category[:, index] == category))
        return out

    def _per_category(self, categories: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
        # Categories outside the table are counted nowhere.
        return np.bincount(categories, weights, self.categories + 1)[: self.categories]


def window_sums(table: np.ndarray, frames: int) -> np.ndarray:
    """Sums [T - frames + 1, N] of [T, N] over every run of ``frames`` rows."""
    total = np.concatenate((np.zeros((1, table.shape[1]), np.int64), np.cumsum(table, 0)))
    return total[frames:] - total[:-frames]


def _last(table: np.ndarray, frames: int) -> np.ndarray:
    return table[frames - 1 :]


def _key(pairs: PairCounts) -> np.ndarray:
    return pairs.first * MAX_VALUE + pairs.second


def _dense(frames: list[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """Distinct keys [K] of all frames, and their counts [T, K]."""
    keys = np.unique(np.concatenate([key for key, _ in frames]))
    table = np.zeros((len(frames), len(keys)), np.int64)
    for row, (key, counts) in zip(table, frames, strict=True):
        row[np.searchsorted(keys, key)] = counts
    return keys, table


def _tubes(frames: list[FrameSegments]) -> Tubes:
    ids = np.unique(np.concatenate([frame.ids for frame in frames]))
    shape = (len(frames), len(ids))
    categories, places = np.full(shape, -1, np.int64), np.zeros(shape, np.int64)
    crowd, areas = np.zeros(shape, bool), np.zeros(shape, np.int64)
    for row, frame in enumerate(frames):
        index = np.searchsorted(ids, frame.ids)
        categories[row, index] = frame.categories
        places[row, index] = np.arange(len(index))
        crowd[row, index] = frame.crowd
        areas[row, index] = frame.areas
    return Tubes(ids, categories, places, crowd, areas)


def _places(ids: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Places [K] of values [K] among sorted ids [N], -1 where they are not."""
    if not len(ids):
        return np.full(len(wanted), -1)
    index = np.minimum(np.searchsorted(ids, wanted), len(ids) - 1)
    return np.where(ids[index] == wanted, index, -1)

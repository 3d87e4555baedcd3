"""Tracks of run-length coded masks, and how much of them overlaps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from pycocotools import mask as coco_mask

from univs.evaluation.metrics.run_lengths import decoded_pixels

Mask: TypeAlias = Mapping[str, Any]
"""A compressed run-length code: ``size`` [H, W] and ``counts``, a text."""

Track: TypeAlias = Sequence[Mask | None]
"""A mask or None for every frame."""

WIDEST = 1 << 20
"""Pictures are narrower."""

PAIRS_AT_ONCE = 20_000
"""Pairs of masks whose boxes are compared in one call: much more than are in one frame would be wasted work."""


class MalformedMask(ValueError):
    """What is wrong with the mask of the track at place ``row`` in a ``frame``."""

    def __init__(self, row: int, frame: int, problem: str) -> None:
        super().__init__(f"track {row}, frame {frame}: {problem}")
        self.row, self.frame, self.problem = row, frame, problem


@dataclass(frozen=True)
class CodedTracks:
    """N tracks with K masks: numbers of frames ``lengths`` [N]; of each mask its track ``rows`` [K], its ``frames``
    [K], ``codes``, ``heights`` and ``widths`` [K] and numbers of pixels ``areas`` [K]."""

    lengths: np.ndarray
    rows: np.ndarray
    frames: np.ndarray
    codes: Sequence[str]
    heights: np.ndarray
    widths: np.ndarray
    areas: np.ndarray

    @staticmethod
    def of(tracks: Sequence[Track]) -> CodedTracks:
        """Take masks apart.

        Raises:
            MalformedMask: something that is no compressed run-length code, or does not fill its picture.
        """
        lengths = np.array([len(track) for track in tracks], np.int64)
        present = [
            (row, frame, mask)
            for row, track in enumerate(tracks)
            for frame, mask in enumerate(track)
            if mask is not None
        ]
        if not present:
            none = np.zeros(0, np.int64)
            return CodedTracks(lengths, none, none, [], none, none, none)
        rows, frames, masks = zip(*present, strict=True)
        codes, sizes = _codes_and_sizes(present)
        areas, totals = decoded_pixels(codes)
        wrong = np.flatnonzero(totals != sizes[:, 0] * sizes[:, 1])
        if len(wrong):
            height, width = sizes[wrong[0]].tolist()
            problem = f"its run-length code is malformed; runs that fill {height} x {width} pixels are expected"
            raise MalformedMask(rows[wrong[0]], frames[wrong[0]], problem)
        return CodedTracks(lengths, np.array(rows), np.array(frames), codes, *sizes.T, areas.astype(np.int64))

    def area_table(self, frames: int | None = None) -> np.ndarray:
        """Pixels [N, frames] of each track in each frame."""
        longest = int(self.lengths.max(initial=0)) if frames is None else frames
        table = np.zeros((len(self.lengths), longest), np.int64)
        table[self.rows, self.frames] = self.areas
        return table

    def between(self, start: int, stop: int) -> np.ndarray:
        """Places of the masks of the frames from ``start`` to ``stop`` - 1."""
        return np.flatnonzero((self.frames >= start) & (self.frames < stop))


def _codes_and_sizes(present: Sequence[tuple[int, int, Any]]) -> tuple[list[str], np.ndarray]:
    try:
        codes = [mask["counts"] for _, _, mask in present]
        given = [mask["size"] for _, _, mask in present]
        alike = given.count(given[0]) == len(given)
        sizes = np.array(given[:1] if alike else given)
        if {*map(type, codes)} == {str} and sizes.dtype == np.int64 and sizes.shape[1:] == (2,) and (sizes > 0).all():
            return codes, np.broadcast_to(sizes, (len(codes), 2))
    except (TypeError, KeyError, ValueError):
        pass
    row, frame, _ = next(found for found in present if not _is_coded(found[2]))
    raise MalformedMask(row, frame, "null or a run-length code with size [height, width] and counts is expected")


def _is_coded(mask: Any) -> bool:
    if not isinstance(mask, dict) or not isinstance(mask.get("counts"), str):
        return False
    size = mask.get("size")
    return isinstance(size, list | tuple) and len(size) == 2 and all(type(side) is int and side > 0 for side in size)


def shared_pixels(
    first: CodedTracks, second: CodedTracks, groups: tuple[np.ndarray, np.ndarray]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pixels that two masks of one frame and size share: places in ``first`` and ``second``, and the pixels, [P] each.

    Only tracks of one group are compared: ``groups`` [N] and [M] integers. Pairs that share nothing are left out.
    """
    names, places = np.unique(np.concatenate(groups), return_inverse=True)
    groups, span = tuple(np.split(places, [len(groups[0])])), len(names)
    found: list[list[np.ndarray]] = [[], [], []]
    frames = int(max(first.lengths.max(initial=0), second.lengths.max(initial=0)))
    per_frame = max(len(first.rows) * len(second.rows) / max(frames, 1) ** 2, 1)
    step = max(int(np.sqrt(PAIRS_AT_ONCE / per_frame)), 1)
    for start in range(0, frames, step):
        chosen = first.between(start, start + step), second.between(start, start + step)
        if len(chosen[0]) and len(chosen[1]):
            for column, values in zip(found, _shared(first, second, groups, chosen, span), strict=True):
                column.append(values)
    return tuple(np.concatenate(column) if column else np.zeros(0, np.int64) for column in found)  # type: ignore[return-value]


def _shared(
    first: CodedTracks,
    second: CodedTracks,
    groups: tuple[np.ndarray, np.ndarray],
    chosen: tuple[np.ndarray, np.ndarray],
    span: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    masks = []
    for tracks, group, places in ((first, groups[0], chosen[0]), (second, groups[1], chosen[1])):
        # The overlap of masks of different widths is not computed, and the width serves nothing else: written as a
        # code of frame, group and width it keeps apart what must not be compared.
        codes = (tracks.frames[places] * span + group[tracks.rows[places]]) * WIDEST + tracks.widths[places]
        heights, texts = tracks.heights[places].tolist(), [tracks.codes[place] for place in places.tolist()]
        of_side = zip(heights, codes.tolist(), texts, strict=True)
        masks.append([{"size": (height, code), "counts": text} for height, code, text in of_side])
    iou = np.asarray(coco_mask.iou(*masks, [0] * len(masks[1])))
    rows, columns = np.nonzero(iou > 0)
    overlap = iou[rows, columns]
    areas = first.areas[chosen[0][rows]] + second.areas[chosen[1][columns]]
    # A whole number of pixels again after the division that made the overlap.
    return chosen[0][rows], chosen[1][columns], np.rint(overlap * areas / (1 + overlap)).astype(np.int64)


def track_overlaps(
    first: CodedTracks, second: CodedTracks, groups: tuple[np.ndarray, np.ndarray] | None = None
) -> np.ndarray:
    """IoU [N, M] of tracks: the sum over frames of the intersections by the sum of the unions; 0 across groups.

    Frames are paired from the start; the tail of the longer of two tracks does not count. A frame with masks of
    different sizes adds nothing to either sum.
    """
    if groups is None:
        groups = np.zeros(len(first.lengths), np.int64), np.zeros(len(second.lengths), np.int64)
    return overlaps_from(first, second, shared_pixels(first, second, groups))


def overlaps_from(
    first: CodedTracks, second: CodedTracks, pairs: tuple[np.ndarray, np.ndarray, np.ndarray]
) -> np.ndarray:
    """``track_overlaps`` where ``shared_pixels`` are known."""
    places, others, pixels = pairs
    shared = np.zeros((len(first.lengths), len(second.lengths)), np.int64)
    np.add.at(shared, (first.rows[places], second.rows[others]), pixels)
    union = _added_areas(first, second) - shared
    return np.divide(shared, union, out=np.zeros(shared.shape), where=union > 0)


def _added_areas(first: CodedTracks, second: CodedTracks) -> np.ndarray:
    """Pixels [N, M] of both tracks over the frames that count."""
    tables = []
    common = np.minimum(first.lengths[:, None], second.lengths[None])
    for tracks in (first, second):
        table = tracks.area_table()
        tables.append(np.concatenate((np.zeros((len(table), 1), np.int64), np.cumsum(table, 1)), 1))
    added = np.take_along_axis(tables[0], common, 1) + np.take_along_axis(tables[1], common.T, 1).T
    sizes = {*zip(first.heights.tolist(), first.widths.tolist(), strict=True)}
    sizes |= {*zip(second.heights.tolist(), second.widths.tolist(), strict=True)}
    return added - _of_unlike_sizes(first, second) if len(sizes) > 1 else added


def _of_unlike_sizes(first: CodedTracks, second: CodedTracks) -> np.ndarray:
    lost = np.zeros((len(first.lengths), len(second.lengths)), np.int64)
    for frame in np.intersect1d(first.frames, second.frames):
        ours, theirs = first.between(frame, frame + 1), second.between(frame, frame + 1)
        unlike = first.heights[ours][:, None] != second.heights[theirs][None]
        unlike |= first.widths[ours][:, None] != second.widths[theirs][None]
        areas = first.areas[ours][:, None] + second.areas[theirs][None]
        lost[np.ix_(first.rows[ours], second.rows[theirs])] += areas * unlike
    return lost

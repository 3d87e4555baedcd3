"""Tracks of run-length coded masks, and how much of them overlaps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from univs.evaluation.metrics.run_lengths import MalformedCode, Runs, decoded_runs
from univs.evaluation.metrics.shared_runs import column_spans, shared_by_pairs

Mask: TypeAlias = Mapping[str, Any]
"""A compressed run-length code: ``size`` [H, W] and ``counts``, a text."""

Track: TypeAlias = Sequence[Mask | None]
"""A mask or None for every frame."""

WIDEST = 1 << 20
"""Pictures are narrower."""


class MalformedMask(ValueError):
    """What is wrong with the mask of the track at place ``row`` in a ``frame``."""

    def __init__(self, row: int, frame: int, problem: str) -> None:
        super().__init__(f"track {row}, frame {frame}: {problem}")
        self.row, self.frame, self.problem = row, frame, problem


@dataclass(frozen=True)
class CodedTracks:
    """N tracks with K masks: numbers of frames ``lengths`` [N]; of each mask its track ``rows`` [K], its ``frames``
    [K], ``codes``, ``heights``, ``widths`` [K] and ``runs``."""

    lengths: np.ndarray
    rows: np.ndarray
    frames: np.ndarray
    codes: Sequence[str]
    heights: np.ndarray
    widths: np.ndarray
    runs: Runs

    @staticmethod
    def of(tracks: Sequence[Track]) -> CodedTracks:
        """Take masks apart.

        Raises:
            MalformedMask: something that is no compressed run-length code, or does not fill its picture.
        """
        lengths = np.array([len(track) for track in tracks], np.int64)
        given = [mask for track in tracks for mask in track]
        masks = [mask for mask in given if mask is not None]
        places = np.flatnonzero([mask is not None for mask in given])
        rows = np.repeat(np.arange(len(lengths)), lengths)[places]
        frames = places - (np.cumsum(lengths) - lengths)[rows]
        codes, sizes = _codes_and_sizes(masks, rows, frames)
        try:
            runs = decoded_runs(codes, sizes[:, 0] * sizes[:, 1])
        except MalformedCode as error:
            height, width = sizes[error.place].tolist()
            problem = (
                f"its run-length code is malformed ({error}); runs that fill {height} x {width} pixels are expected"
            )
            raise MalformedMask(int(rows[error.place]), int(frames[error.place]), problem) from error
        return CodedTracks(lengths, rows, frames, codes, *sizes.T, runs)

    @property
    def areas(self) -> np.ndarray:
        """Pixels [K] of each mask."""
        return self.runs.areas

    def area_table(self, frames: int | None = None) -> np.ndarray:
        """Pixels [N, frames] of each track in each frame."""
        longest = int(self.lengths.max(initial=0)) if frames is None else frames
        table = np.zeros((len(self.lengths), longest), np.int64)
        table[self.rows, self.frames] = self.areas
        return table

    def parted(self, tracks: int) -> tuple[CodedTracks, CodedTracks]:
        """The first so many tracks, and the others: to take them apart together costs less than one after the other."""
        masks = int(np.searchsorted(self.rows, tracks))
        parts = ((slice(tracks), slice(masks)), (slice(tracks, None), slice(masks, None)))
        return tuple(  # type: ignore[return-value]
            CodedTracks(
                self.lengths[some],
                self.rows[here] - (some.start or 0),
                self.frames[here],
                self.codes[here],
                self.heights[here],
                self.widths[here],
                self.runs.part(here),
            )
            for some, here in parts
        )

    def between(self, start: int, stop: int) -> np.ndarray:
        """Places of the masks of the frames from ``start`` to ``stop`` - 1."""
        return np.flatnonzero((self.frames >= start) & (self.frames < stop))


def _codes_and_sizes(masks: Sequence[Any], rows: np.ndarray, frames: np.ndarray) -> tuple[list[str], np.ndarray]:
    if not masks:
        return [], np.zeros((0, 2), np.int64)
    try:
        codes, given = [mask["counts"] for mask in masks], [mask["size"] for mask in masks]
        alike = given.count(given[0]) == len(given)
        sizes = np.array(given[:1] if alike else given)
        whole = sizes.dtype == np.int64 and sizes.shape[1:] == (2,) and sizes.min() > 0 and sizes.max() < WIDEST
        if whole and {*map(type, codes)} == {str}:
            return codes, np.broadcast_to(sizes, (len(codes), 2))
    except (TypeError, KeyError, ValueError):
        pass
    place = next(place for place, mask in enumerate(masks) if not _is_coded(mask))
    expected = "null or a run-length code with size [height, width] and counts is expected"
    raise MalformedMask(int(rows[place]), int(frames[place]), expected)


def _is_coded(mask: Any) -> bool:
    if not isinstance(mask, dict) or not isinstance(mask.get("counts"), str):
        return False
    size = mask.get("size")
    whole = isinstance(size, list | tuple) and len(size) == 2 and all(type(side) is int for side in size)
    return whole and 0 < min(size) <= max(size) < WIDEST


def shared_pixels(
    first: CodedTracks, second: CodedTracks, groups: tuple[np.ndarray, np.ndarray]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pixels that two masks of one frame and size share: places in ``first`` and ``second``, and the pixels, [P] each.

    Only tracks of one group are compared: ``groups`` [N] and [M] integers. Pairs that share nothing are left out.
    """
    ones, others = _candidates(first, second, groups)
    pixels = shared_by_pairs(first.runs, second.runs, (ones, others), (second.heights[others], second.widths[others]))
    some = pixels > 0
    return ones[some], others[some], pixels[some]


def _candidates(
    first: CodedTracks, second: CodedTracks, groups: tuple[np.ndarray, np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Places of two masks of one frame, group and size whose columns overlap, [P] both, the second in order."""
    names, places = np.unique(np.concatenate(groups), return_inverse=True)
    ours, theirs = np.split(places, [len(groups[0])])
    keys, wanted = first.frames * len(names) + ours[first.rows], second.frames * len(names) + theirs[second.rows]
    order = np.argsort(keys, kind="stable")
    begin, end = (np.searchsorted(keys[order], wanted, side) for side in ("left", "right"))
    others = np.repeat(np.arange(len(wanted)), end - begin)
    behind = np.cumsum(end - begin)
    ones = order[np.arange(len(others)) + np.repeat(end - behind, end - begin)]
    spans, other_spans = column_spans(first.runs, first.heights), column_spans(second.runs, second.heights)
    fits = (spans[0][ones] <= other_spans[1][others]) & (other_spans[0][others] <= spans[1][ones])
    fits &= (first.heights[ones] == second.heights[others]) & (first.widths[ones] == second.widths[others])
    return ones[fits], others[fits]


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
    sizes = np.concatenate([(tracks.heights, tracks.widths) for tracks in (first, second)], 1)
    return added if (sizes == sizes[:, :1]).all() else added - _of_unlike_sizes(first, second)


def _of_unlike_sizes(first: CodedTracks, second: CodedTracks) -> np.ndarray:
    lost = np.zeros((len(first.lengths), len(second.lengths)), np.int64)
    for frame in np.intersect1d(first.frames, second.frames):
        ours, theirs = first.between(frame, frame + 1), second.between(frame, frame + 1)
        unlike = first.heights[ours][:, None] != second.heights[theirs][None]
        unlike |= first.widths[ours][:, None] != second.widths[theirs][None]
        areas = first.areas[ours][:, None] + second.areas[theirs][None]
        lost[np.ix_(first.rows[ours], second.rows[theirs])] += areas * unlike
    return lost

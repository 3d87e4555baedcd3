"""Label maps as runs and outlines, so that what is counted costs as much as the outlines are long, not the picture.

A label map [H, W] holds one whole number per pixel; 0 is background. A boolean mask is a map with the single label 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property, lru_cache
from typing import NamedTuple

import cv2
import numpy as np

from univs.evaluation.metrics.scratch import scratch

_WORD = 8  # flags are looked through eight at a time
_BAND = 1 << 17  # pixels
_LANES = 32  # pixels that OpenCV takes at once; it is slow on what is left of a row


class Points(NamedTuple):
    """Pixels [N] by row and column, with the box around them (all ends included; undefined where there are none)."""

    rows: np.ndarray
    columns: np.ndarray
    box: tuple[int, int, int, int]

    @classmethod
    def of(cls, rows: np.ndarray, columns: np.ndarray) -> Points:
        """Points with their box: top, bottom, left, right."""
        if not len(rows):
            return cls(rows, columns, (0, -1, 0, -1))
        box = (rows.min(), rows.max(), columns.min(), columns.max())
        return cls(rows, columns, tuple(int(end) for end in box))


class LabelMap:
    """One label map [H, W]: where its labels change, and which pixels its outlines are made of."""

    def __init__(self, labels: np.ndarray) -> None:
        if labels.ndim != 2:
            raise ValueError(f"A label map has two dimensions, not the shape {labels.shape}.")
        labels = np.ascontiguousarray(labels)
        labels = labels.view(np.uint8) if labels.dtype == bool else labels
        self.size = labels.shape
        self.flat = labels.reshape(-1)

    @cached_property
    def ends(self) -> np.ndarray:
        """Pixels (in reading order, sorted) whose label differs from that of the next one."""
        return _look_through(self.flat, self.size, (1,), around=False)

    @cached_property
    def present(self) -> list[int]:
        """The labels that occur, sorted."""
        return sorted(set(self.flat.take(self.ends).tolist()) | set(self.flat[-1:].tolist()))

    def outlines(self, labels: Sequence[int]) -> list[Points]:
        """The boundary pixels of each of ``labels``.

        A pixel is on the boundary of a label if it, its right, its lower or its lower-right neighbour has that label,
        but not all of them. Neighbours outside the picture do not count.
        """
        height, width = self.size
        edge = _look_through(self.flat, self.size, (1, width + 1, width), around=True)
        rows, columns = np.divmod(edge, width)
        # a neighbour outside has the label of the nearest pixel inside, which never adds a boundary
        right = edge + (columns < width - 1)
        down = (rows < height - 1) * width
        around = self.flat.take(np.stack([edge, right, edge + down, right + down]))
        chosen = [np.flatnonzero((around == label).any(axis=0)) for label in labels]
        return [Points.of(rows[index], columns[index]) for index in chosen]


def _look_through(flat: np.ndarray, size: tuple[int, int], steps: Sequence[int], around: bool) -> np.ndarray:
    """Pixels (sorted) that differ from the one that comes a number of ``steps`` later, for any of these numbers.

    Bands of rows are taken one after the other, so that the flags stay in the cache and need no fresh memory.

    Args:
        around: steps are to neighbours in the picture, the last of them to the lower one: pixels of the last column
            have only that one.
    """
    height, width = size
    band = max(_BAND // max(width, 1), 1)
    flags, more = (scratch(purpose, -(-band * width // _WORD) * _WORD) for purpose in ("changes", "more changes"))
    found = [np.zeros(0, np.intp)]
    for top in range(0, height, band):
        start, count = top * width, (min(top + band, height) - top) * width
        flags[count:] = False
        _differ(flat, start, steps[0], flags[:count])
        for step in steps[1:]:
            if around and step == steps[-1]:
                flags[:count].reshape(-1, width)[:, -1] = False
            flags[:count] |= _differ(flat, start, step, more[:count])
        found.append(_positions(flags) + start)
    return np.concatenate(found)


def _differ(flat: np.ndarray, start: int, step: int, out: np.ndarray) -> np.ndarray:
    """Into ``out`` whether each pixel from ``start`` on differs from the one ``step`` later; False at the end."""
    there = min(max(len(flat) - start - step, 0), len(out))
    np.not_equal(flat[start : start + there], flat[start + step : start + step + there], out=out[:there])
    out[there:] = False
    return out


def _positions(flags: np.ndarray) -> np.ndarray:
    """Where flags are set, as np.flatnonzero; faster where they are few. Their number must be a multiple of 8."""
    words = np.flatnonzero(flags.view(np.uint64) != 0)
    place = np.flatnonzero(flags.reshape(-1, _WORD)[words])
    return words[place // _WORD] * _WORD + place % _WORD


def joint_runs(*maps: LabelMap) -> tuple[np.ndarray, np.ndarray]:
    """Runs (in reading order) in which all maps of one size are constant: their last pixels [R] and lengths [R]."""
    last = np.sort(np.concatenate([*(one.ends for one in maps), [maps[0].flat.size - 1]]), kind="stable")
    lengths = np.diff(last, prepend=-1)
    kept = lengths > 0
    return last[kept], lengths[kept]


def places_of(values: np.ndarray, labels: Sequence[int]) -> np.ndarray:
    """1 + the place of each value [R] among the distinct ``labels``; 0 for values that are not among them."""
    labels = np.asarray(labels, np.int64)
    if values.dtype == np.uint8:
        table = np.zeros(256, np.intp)
        known = (labels >= 0) & (labels < 256)
        table[labels[known]] = np.flatnonzero(known) + 1
        return table[values]
    if not len(labels):
        return np.zeros(len(values), np.intp)
    order = np.argsort(labels)
    place = np.searchsorted(labels, values, sorter=order).clip(max=len(labels) - 1)
    found = order[place]
    return np.where(labels[found] == values, found + 1, 0)


def overlaps(
    prediction: LabelMap, truth: LabelMap, predicted: Sequence[int], true: Sequence[int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pixel counts: common to each pair of labels [P, T], of each predicted label [P] and of each true label [T]."""
    last, lengths = joint_runs(prediction, truth)
    rows = places_of(prediction.flat[last], predicted)
    columns = places_of(truth.flat[last], true)
    shape = (len(predicted) + 1, len(true) + 1)
    table = np.bincount(rows * shape[1] + columns, weights=lengths, minlength=shape[0] * shape[1]).reshape(shape)
    return table[1:, 1:], table[1:].sum(axis=1), table[:, 1:].sum(axis=0)


@lru_cache(maxsize=64)
def _kernels(radius: int) -> tuple[np.ndarray, np.ndarray]:
    """The largest square inside the disk x^2 + y^2 <= radius^2, and the disk."""
    half = int(np.sqrt(radius * radius / 2))
    y, x = np.ogrid[-radius : radius + 1, -radius : radius + 1]
    return np.ones((2 * half + 1, 2 * half + 1), np.uint8), (x * x + y * y <= radius * radius).astype(np.uint8)


def within(points: Points, others: Points, radius: int) -> np.ndarray:
    """Which of ``points`` [N] have one of ``others`` at a distance of at most ``radius`` pixels (a bool each)."""
    square, disk = _kernels(radius)
    near = _covered(points, others, square)
    far = np.flatnonzero(~near)
    if len(far) and len(others.rows):
        # few are left as a rule, so the disk, which costs more, is laid over a small window
        near[far] = _covered(Points.of(points.rows[far], points.columns[far]), others, disk)
    return near


def _covered(points: Points, others: Points, kernel: np.ndarray) -> np.ndarray:
    """Which of ``points`` lie under the kernel laid on one of ``others``."""
    half = len(kernel) // 2
    covered = np.zeros(len(points.rows), bool)
    wanted = _inside(points, others.box, half)
    window = points if wanted is None else Points.of(points.rows[wanted], points.columns[wanted])
    if not len(window.rows):
        return covered
    kept = _inside(others, window.box, half)
    rows, columns = (others.rows, others.columns) if kept is None else (others.rows[kept], others.columns[kept])
    top, bottom, left, right = window.box
    width = -(-(right - left + 1 + 2 * half) // _LANES) * _LANES
    origin = (top - half) * width + left - half
    canvas = np.zeros((bottom - top + 1 + 2 * half) * width, np.uint8)
    canvas[rows * width + columns - origin] = 1
    reached = cv2.dilate(canvas.reshape(-1, width), kernel).reshape(-1)
    hits = reached.take(window.rows * width + window.columns - origin).view(bool)
    if wanted is None:
        return hits
    covered[wanted] = hits
    return covered


def _inside(points: Points, box: tuple[int, int, int, int], margin: int) -> np.ndarray | None:
    """Which points lie in the box widened by a margin; None where all do."""
    top, bottom, left, right = box[0] - margin, box[1] + margin, box[2] - margin, box[3] + margin
    own = points.box
    if own[0] >= top and own[1] <= bottom and own[2] >= left and own[3] <= right:
        return None
    rows, columns = points.rows, points.columns
    return np.flatnonzero((rows >= top) & (rows <= bottom) & (columns >= left) & (columns <= right))

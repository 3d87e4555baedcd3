"""Pixels that run-length coded masks share, for many pairs of masks at once.

A column of a mask seldom holds more than one run. So the runs of the one mask of a pair are laid out in a table with a
cell per column (further runs of a column in tables of their own), and every run of the other mask, cut where columns
end, finds what it may overlap in one cell.
"""

from __future__ import annotations

import numpy as np

from univs.evaluation.metrics.run_lengths import Runs

RUNS_AT_ONCE = 1 << 20
"""Runs and columns of pairs that are laid out at once; keeps memory flat and inside the processor."""


def column_spans(runs: Runs, heights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First and last column of the masks of pictures of so many rows [K]; for an empty mask the last is before the
    first."""
    lasts = runs.firsts + runs.counts - 1
    lasts -= (runs.starts[lasts] == runs.ends[lasts]) & (runs.counts > 1)
    return runs.starts[runs.firsts] // heights, (runs.ends[lasts] - 1) // heights


def shared_by_pairs(
    first: Runs, second: Runs, pairs: tuple[np.ndarray, np.ndarray], size: tuple[np.ndarray, np.ndarray]
) -> np.ndarray:
    """Pixels [P] int64 that the masks of each pair share.

    Args:
        first, second: the masks.
        pairs: places in ``first`` and in ``second``, [P] both, those in ``second`` in ascending order.
        size: heights and widths [P] of the pictures of the pairs.
    """
    ones, others = pairs
    found = np.zeros(len(ones), np.int64)
    steps = np.cumsum(first.counts[ones] + size[1]) // RUNS_AT_ONCE
    edges = np.flatnonzero(np.diff(steps, prepend=-1, append=-1))
    for begin, end in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        part = slice(begin, end)
        heights, width = _common(size[0][part]), int(size[1][part].max()) + 1
        new = np.diff(others[part], prepend=-1) > 0
        table = _ColumnTable(second, others[part][new], heights if np.ndim(heights) == 0 else heights[new], width)
        starts, ends, columns, counts = _cut_at_columns(*first.of(ones[part]), first.counts[ones[part]], heights)
        cells = np.repeat((np.cumsum(new) - 1) * width, counts) + columns
        found[part] = np.add.reduceat(table.shared(cells, starts, ends), np.cumsum(counts) - counts)
    return found


def _common(values: np.ndarray) -> np.ndarray | np.int32:
    """The value of all if they are equal, which spares many operations, else the values."""
    return np.int32(values[0]) if (values == values[0]).all() else values.astype(np.int32)


class _ColumnTable:
    """The runs of some masks by mask and column: cell ``mask * width + column``."""

    def __init__(self, runs: Runs, masks: np.ndarray, heights: np.ndarray | np.int32, width: int) -> None:
        starts, ends, columns, counts = _cut_at_columns(*runs.of(masks), runs.counts[masks], heights)
        cells = np.repeat(np.arange(len(masks)) * width, counts) + columns
        self._layers: list[tuple[np.ndarray, np.ndarray]] = []
        self._depth = np.zeros(len(masks) * width, np.int32)
        while len(cells):
            table = np.zeros(len(self._depth), np.int32), np.zeros(len(self._depth), np.int32)
            self._layers.append(table)
            # Of several runs in a cell the last one is written last and stays; the others go into the next table.
            table[0][cells], table[1][cells] = starts, ends
            self._depth[cells] = len(self._layers)
            left = np.flatnonzero(cells[1:] == cells[:-1])
            cells, starts, ends = cells[left], starts[left], ends[left]

    def shared(self, cells: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
        """Pixels [R] int32 that runs share with the runs of their cells."""
        found = _common_part(self._layers[0], cells, starts, ends)
        deep = np.flatnonzero(self._depth[cells] > 1) if len(self._layers) > 1 else cells[:0]
        for layer, table in enumerate(self._layers[1:], 1):
            deep = deep[self._depth[cells[deep]] > layer]
            found[deep] += _common_part(table, cells[deep], starts[deep], ends[deep])
        return found


def _common_part(table: np.ndarray, cells: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
    first, behind = table[0].take(cells), table[1].take(cells)
    np.maximum(first, starts, out=first)
    np.minimum(behind, ends, out=behind)
    behind -= first
    return np.maximum(behind, 0, out=behind)


def _cut_at_columns(
    starts: np.ndarray, ends: np.ndarray, counts: np.ndarray, heights: np.ndarray | np.int32
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Runs cut where columns end: starts, ends and columns [R'], and how many there are of each mask [K].

    counts: runs of each mask before. heights: of its picture, or of all pictures.
    """
    height = heights if np.ndim(heights) == 0 else np.repeat(heights, counts)
    columns = starts // height
    beyond = ends > (columns + 1) * height
    if not beyond.any():
        return starts, ends, columns, counts
    pieces = np.where(beyond, (ends - 1) // height - columns, 0) + 1
    of = np.repeat(np.arange(len(pieces)), pieces)
    columns = columns[of] + (np.arange(len(of)) - (np.cumsum(pieces) - pieces)[of]).astype(np.int32)
    height = height if np.ndim(height) == 0 else height[of]
    top = columns * height
    counts = np.add.reduceat(pieces, np.cumsum(counts) - counts)
    return np.maximum(starts[of], top), np.minimum(ends[of], top + height), columns, counts

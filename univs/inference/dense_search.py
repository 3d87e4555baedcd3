"""The dense memory's search: which cells of remembered frames a cell of the present frame is most like.

The frame is cut into fixed tiles. All cells of a tile search the same cells of a remembered frame, those at most a
radius away from the tile, in one matrix product. Objects that remember the same frames share the outcome, others the
products. What a tile finds does not depend, to the last bit, on which other tiles or sets of frames are asked for.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import accumulate, pairwise

import numpy as np
import torch
from torch import Tensor

from univs.inference.dense_bank import Box, DenseBank, Frames, Remembered
from univs.layers.affinity import Affinity, keep_best, similarity_to
from univs.modeling.dense_memory import DenseMemory

TILE = (8, 16)  # cells of stride 8


class TiledAffinity:
    """Affinity of the cells of a frame to those of a set of remembered frames, counted frame after frame.

    Its ``best`` are whole squared distances, negative and scaled, which can be compared from row to row.
    """

    def __init__(self, size: tuple[int, int], top_k: int, like: Tensor) -> None:
        cells = torch.zeros(*size, top_k, dtype=torch.long, device=like.device)
        self._tables = (cells, like.new_zeros(*size, top_k), like.new_zeros(size))

    def fill(self, tile: Box, found: Affinity) -> None:
        """Set the rows of a tile."""
        for table, rows in zip(self._tables, (found.cells, found.weights, found.best), strict=True):
            part = table[tile[0] : tile[2], tile[1] : tile[3]]
            part.copy_(rows.view(part.shape))

    def rows(self, region: Box) -> Affinity:
        """The affinity of a region's cells, row by row."""
        return Affinity(*(table[region[0] : region[2], region[1] : region[3]].flatten(0, 1) for table in self._tables))


def search(
    memory: DenseMemory, bank: DenseBank, keys: Tensor, wanted: Mapping[Frames, Sequence[Box]]
) -> dict[Frames, TiledAffinity]:
    """Affinities of the frame with ``keys`` [C, h8, w8] to each set of remembered frames, in the regions ``wanted``."""
    size, top_k, scale = (keys.shape[1], keys.shape[2]), memory.settings.top_k, float(memory.scale.exp())
    found = {frames: TiledAffinity(size, top_k, keys) for frames in wanted}
    lengths = scale * keys.square().sum(0)
    for box in _tiles(size):
        parts = {frames: part for frames, regions in wanted.items() if (part := _part(box, regions))}
        if parts:
            tile = _Tile(bank, keys, box, scale, sorted({seen for frames in parts for seen in frames}))
        for frames, part in parts.items():
            best = keep_best(tile.scores(frames, part), top_k)
            nearest = best.best - lengths[part[0] : part[2], part[1] : part[3]].flatten()
            found[frames].fill(part, replace(best, cells=tile.cells(frames)[best.cells], best=nearest))
    return found


class _Tile:
    """Similarities [R, N] of a tile's R cells to those of some remembered frames, side by side in one table."""

    def __init__(self, bank: DenseBank, keys: Tensor, box: Box, scale: float, remembered: Sequence[Remembered]) -> None:
        self.box, self.radii, self.keys = box, bank.settings.radii, keys
        searched = {seen: self.cells((seen,)) for seen in remembered}
        ends = list(accumulate((len(cells) for cells in searched.values()), initial=0))
        self.columns = {seen: slice(*pair) for seen, pair in zip(remembered, pairwise(ends), strict=True)}
        query = keys[:, box[0] : box[2], box[1] : box[3]].flatten(1).t()
        self.table = keys.new_empty(len(query), ends[-1])
        for seen, columns in self.columns.items():
            similarity_to(query, bank.frames[seen[0]].keys, searched[seen], scale, out=self.table[:, columns])

    def scores(self, frames: Frames, part: Box) -> Tensor:
        """The rows of a part of the tile that is as wide, and the columns of some of the frames, in order of time."""
        width = self.box[3] - self.box[1]
        rows = self.table[(part[0] - self.box[0]) * width : (part[2] - self.box[0]) * width]
        if len(frames) == len(self.columns):
            return rows
        return torch.cat([rows[:, self.columns[seen]] for seen in frames], 1)

    def cells(self, frames: Frames) -> Tensor:
        """The cells that these columns stand for, counted frame after frame: [N]."""
        permanent = tuple(is_permanent for _, is_permanent in frames)
        return _cells(self.box, permanent, tuple(self.keys.shape[1:]), self.radii, self.keys.device)


def _tiles(size: tuple[int, int]) -> Iterator[Box]:
    for top in range(0, size[0], TILE[0]):
        for left in range(0, size[1], TILE[1]):
            yield top, left, min(top + TILE[0], size[0]), min(left + TILE[1], size[1])


def _part(tile: Box, regions: Sequence[Box]) -> Box | None:
    """The rows of cells of a tile, in its whole width, where the regions are; None if they are elsewhere."""
    met = [r for r in regions if r[0] < tile[2] and tile[0] < r[2] and r[1] < tile[3] and tile[1] < r[3]]
    if not met:
        return None
    return max(tile[0], min(r[0] for r in met)), tile[1], min(tile[2], max(r[2] for r in met)), tile[3]


# Few different ones are asked for again and again, by every frame.
@functools.lru_cache(maxsize=1024)
def _cells(
    tile: Box, permanent: tuple[bool, ...], size: tuple[int, int], radii: tuple[int, int], device: torch.device
) -> Tensor:
    """The cells of some frames that a tile searches, counted frame after frame: [N]."""
    found = [_searched(tile, size, radii, wide).flatten().nonzero()[0] for wide in permanent]
    counted = [cells + index * size[0] * size[1] for index, cells in enumerate(found)]
    return torch.from_numpy(np.concatenate(counted)).to(device)


def _searched(tile: Box, size: tuple[int, int], radii: tuple[int, int], wide: bool) -> np.ndarray:
    """Which cells [h8, w8] of a frame a tile searches: all near ones and, where it looks far, every other one."""
    rows, columns = np.arange(size[0])[:, None], np.arange(size[1])
    away = np.maximum(_beyond(rows, tile[0], tile[2]), _beyond(columns, tile[1], tile[3]))
    return (away <= radii[0]) | (wide & (away <= radii[1]) & ((rows + columns) % 2 == 0))


def _beyond(places: np.ndarray, first: int, stop: int) -> np.ndarray:
    return np.maximum(np.maximum(first - places, places - stop + 1), 0)

"""Following objects into the next frame by the dense memory, object by object within its own region.

One affinity per set of remembered frames serves all objects that share the set. It is computed in fixed tiles of the
frame, so that what an object reads does not depend, to the last bit, on which other objects are there. Reading and
decoding are done in the region where the object can be: its last box and a margin. Outside it the object is absent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from univs.inference.dense_bank import DenseBank, ObjectMemory, cell_box
from univs.layers.affinity import Affinity, keep_best, window_cells, window_similarity
from univs.modeling.dense_memory import DenseMaps, DenseMemory
from univs.modeling.query_prompts import mean_codes

ABSENT = -10.0  # logit of a pixel outside an object's region
ALMOST_ABSENT = -4.0  # logits below are stored as an empty mask
LARGEST_SPEED = 8  # cells per frame
MISSING_REACH = 8  # most cells by which the region of an object that is not seen grows, one with every frame
CODE_REACH = 2  # cells that a cell of the mask reaches in the code of an object: two 3x3 convolutions
TILE = (8, 16)  # cells of stride 8
Box = tuple[int, int, int, int]
Frames = tuple[tuple[int, bool], ...]


@dataclass
class DenseReading:
    """What the dense memory says of one object in one frame: mask logits [h4, w4], and the mean code [D] it read."""

    logits: Tensor
    code: Tensor


def follow(memory: DenseMemory, bank: DenseBank, maps: DenseMaps, object_ids: Sequence[int]) -> dict[int, DenseReading]:
    """Every object in the frame of ``maps`` (T = 1)."""
    height, width = maps.keys.shape[-2:]
    shared: dict[Frames, TiledAffinity] = {}
    out = {}
    for object_id in object_ids:
        item = bank.objects[object_id]
        region = _region(item, bank.settings.reach, height, width)
        if item.frames not in shared:
            shared[item.frames] = TiledAffinity(memory, bank, maps.keys[0], item.frames)
        out[object_id] = _decode(memory, item, maps, shared[item.frames].rows(region), region)
    return out


class TiledAffinity:
    """Affinity of a frame's cells to those of remembered frames (counted frame after frame), tile by tile on demand."""

    def __init__(self, memory: DenseMemory, bank: DenseBank, keys: Tensor, frames: Frames) -> None:
        self.keys, self.scale, self.top_k = keys, memory.scale.exp(), memory.settings.top_k
        self.height, self.width = keys.shape[-2:]
        radii = [bank.settings.wide_window if permanent else bank.settings.window for _, permanent in frames]
        self.stored = [(*bank.keys[frame].bordered(r), r) for (frame, _), r in zip(frames, radii, strict=True)]
        self.cells = torch.zeros(self.height, self.width, self.top_k, dtype=torch.long, device=keys.device)
        self.weights = keys.new_zeros(self.height, self.width, self.top_k)
        self.done: set[tuple[int, int]] = set()
        self.last_cell = len(frames) * self.height * self.width - 1
        # a column of a window counts from the row's own cell
        starts = range(0, self.last_cell + 1, self.height * self.width)
        columns = [window_cells(r, self.width) + start for r, start in zip(radii, starts, strict=True)]
        self.columns = torch.cat(columns).to(keys.device)

    def rows(self, region: Box) -> Affinity:
        """The affinity of a region's cells, row by row."""
        top, left, bottom, right = region
        for y in range(top // TILE[0] * TILE[0], bottom, TILE[0]):
            for x in range(left // TILE[1] * TILE[1], right, TILE[1]):
                if (y, x) not in self.done:
                    self._compute(y, x)
        part = (slice(top, bottom), slice(left, right))
        return Affinity(self.cells[part].flatten(0, 1), self.weights[part].flatten(0, 1))

    def _compute(self, y: int, x: int) -> None:
        part = (slice(y, min(y + TILE[0], self.height)), slice(x, min(x + TILE[1], self.width)))
        query = self.keys[:, part[0], part[1]]
        scores = [window_similarity(query, k, norm, self.scale, (y, x), radius) for k, norm, radius in self.stored]
        best = keep_best(torch.cat(scores, 1), self.top_k)
        rows = torch.arange(part[0].start, part[0].stop, device=query.device) * self.width
        own = (rows[:, None] + torch.arange(part[1].start, part[1].stop, device=query.device)).reshape(-1, 1)
        # a window with fewer cells than top_k also picks cells outside the frame; their weight is zero
        cells = (self.columns[best.cells] + own).clamp_(0, self.last_cell)
        shape = (query.shape[1], query.shape[2], -1)
        self.cells[part], self.weights[part] = cells.reshape(shape), best.weights.reshape(shape)
        self.done.add((y, x))


def object_values(memory: DenseMemory, maps: DenseMaps, blank: Tensor, mask_logits: Tensor) -> Tensor:
    """What is stored of an object with mask logits [h4, w4]: values [cells, C].

    Where the object surely is not, they are those of an empty mask, ``blank`` [cells, C], which all objects share; only
    the rest is computed.
    """
    box = cell_box(mask_logits, CODE_REACH, above=ALMOST_ABSENT)
    if box is None:
        return blank
    height, width = maps.keys.shape[-2:]
    top, left = max(0, box[0] - CODE_REACH), max(0, box[1] - CODE_REACH)
    rows, columns = slice(top, min(height, box[2] + CODE_REACH)), slice(left, min(width, box[3] + CODE_REACH))
    part = mask_logits[2 * rows.start : 2 * rows.stop, 2 * columns.start : 2 * columns.stop]
    part = torch.where(part > ALMOST_ABSENT, part.sigmoid(), 0)
    values = memory.values(maps.part(rows, columns), part[None])[0]
    inner = values[:, box[0] - top : box[2] - top, box[1] - left : box[3] - left]
    table = blank.clone().view(height, width, -1)
    table[box[0] : box[2], box[1] : box[3]] = inner.permute(1, 2, 0)
    return table.flatten(0, 1)


def _decode(memory: DenseMemory, item: ObjectMemory, maps: DenseMaps, affinity: Affinity, region: Box) -> DenseReading:
    """One object, from its rows of the affinity."""
    top, left, bottom, right = region
    table = torch.cat([item.values[f] for f, _ in item.frames])
    read = affinity.read(table).t().reshape(1, -1, bottom - top, right - left)
    context = [
        maps.context[0][:, :, top:bottom, left:right],
        maps.context[1][:, :, 2 * top : 2 * bottom, 2 * left : 2 * right],
    ]
    logits, _ = memory.decode(read, context)
    height, width = maps.context[1].shape[-2:]
    full = logits.new_full((height, width), ABSENT)
    full[2 * top : 2 * bottom, 2 * left : 2 * right] = logits[0]
    return DenseReading(full, mean_codes(read, logits)[0])


def _region(item: ObjectMemory, margin: int, height: int, width: int) -> Box:
    """Where an object can be: its last box and a margin for its speed, growing while it is missing; sides are even."""
    if item.box is None:
        return 0, 0, height, width
    grow = margin + min(item.speed, LARGEST_SPEED) + min(item.missing, MISSING_REACH)
    top, left, bottom, right = item.box
    top, left = max(0, top - grow) // 2 * 2, max(0, left - grow) // 2 * 2
    return top, left, min(height, (bottom + grow + 1) // 2 * 2), min(width, (right + grow + 1) // 2 * 2)

"""Following objects into the next frame by the dense memory, each within its own region.

One affinity per set of remembered frames serves all objects that share the set. It is computed in fixed tiles of the
frame, so that what an object reads does not depend, to the last bit, on which other objects are there. Reading and
decoding are done in the region where the object can be: its last box and a margin; outside it the object is absent.
Regions come in few sizes, and those of one size are decoded together.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from univs.inference.dense_bank import DenseBank, ObjectMemory, cell_box
from univs.layers.affinity import Affinity, keep_best, window_similarity
from univs.layers.convolution import batches_are_exact
from univs.modeling.dense_memory import DenseMaps, DenseMemory
from univs.modeling.query_prompts import mean_codes

ABSENT = -10.0  # logit of a pixel outside an object's region
ALMOST_ABSENT = -4.0  # logits below are stored as an empty mask
LARGEST_SPEED = 8  # cells per frame
MISSING_REACH = 8  # most cells by which the region of an object that is not seen grows, one with every frame
SIZE_STEP = 4  # cells; the sides of regions are multiples of it, or the frame's
LARGEST_BATCH = 16  # objects decoded together
CODE_REACH = 2  # cells that a cell of the mask reaches in the code of an object: two 3x3 convolutions
TILE = (8, 16)  # cells of stride 8
Place = tuple[int, int]
Box = tuple[int, int, int, int]
Frames = tuple[tuple[int, bool], ...]


@dataclass
class DenseReading:
    """What the dense memory says of one object in one frame: mask logits [h4, w4], and the mean code [D] it read (None
    unless it was asked for)."""

    logits: Tensor
    code: Tensor | None


def follow(
    memory: DenseMemory, bank: DenseBank, maps: DenseMaps, object_ids: Sequence[int], codes: bool = False
) -> dict[int, DenseReading]:
    """Every object in the frame of ``maps`` (T = 1), with the codes that were read if they are wanted."""
    height, width = maps.keys.shape[-2:]
    scores = TiledScores(memory, bank, maps.keys[0])
    shared: dict[Frames, TiledAffinity] = {}
    regions = {i: _region(bank.objects[i], bank.settings.reach, height, width) for i in object_ids}
    out: dict[int, DenseReading] = {}
    for batch in _batches(regions, maps.keys.device):
        read = []
        for object_id in batch:
            item = bank.objects[object_id]
            if item.frames not in shared:
                shared[item.frames] = TiledAffinity(scores, item.frames)
            read.append(_read(item, shared[item.frames], regions[object_id]))
        read = torch.stack(read).permute(0, 3, 1, 2)
        out.update(zip(batch, _decode(memory, maps, read, [regions[i] for i in batch], codes), strict=True))
    return {object_id: out[object_id] for object_id in object_ids}


def _batches(regions: Mapping[int, Box], device: torch.device) -> Iterator[list[int]]:
    """Objects whose regions have one size, as many together as may be computed together."""
    sizes: dict[tuple[int, int], list[int]] = {}
    for object_id, (top, left, bottom, right) in regions.items():
        sizes.setdefault((bottom - top, right - left), []).append(object_id)
    most = LARGEST_BATCH if batches_are_exact(device) else 1
    for members in sizes.values():
        yield from (members[start : start + most] for start in range(0, len(members), most))


class TiledScores:
    """Similarities of a frame's cells to those of remembered frames, tile by tile on demand; all objects share them."""

    def __init__(self, memory: DenseMemory, bank: DenseBank, keys: Tensor) -> None:
        self.keys, self.scale, self.top_k = keys, memory.scale.exp(), memory.settings.top_k
        self.bank = bank
        self.done: dict[tuple[Place, int, int], tuple[Tensor, Tensor]] = {}

    def tile(self, place: Place, frame: int, permanent: bool) -> tuple[Tensor, Tensor]:
        """Similarities [R, N] of the R cells of the tile at ``place`` to N cells of a frame, and these cells [N]."""
        settings = self.bank.settings
        radius = settings.wide_window if permanent else settings.window
        if (place, frame, radius) not in self.done:
            y, x = place
            query = self.keys[:, y : y + TILE[0], x : x + TILE[1]]
            found = window_similarity(query, *self.bank.keys[frame], self.scale, place, radius)
            self.done[place, frame, radius] = found
        return self.done[place, frame, radius]


class TiledAffinity:
    """Affinity of a frame's cells to those of a set of remembered frames (counted frame after frame), on demand."""

    def __init__(self, scores: TiledScores, frames: Frames) -> None:
        self.scores, self.frames = scores, frames
        self.height, self.width = scores.keys.shape[-2:]
        self.cells = torch.zeros(self.height, self.width, scores.top_k, dtype=torch.long, device=scores.keys.device)
        self.weights = scores.keys.new_zeros(self.height, self.width, scores.top_k)
        self.done: set[Place] = set()

    def rows(self, region: Box) -> Affinity:
        """The affinity of a region's cells, row by row."""
        top, left, bottom, right = region
        for y in range(top // TILE[0] * TILE[0], bottom, TILE[0]):
            for x in range(left // TILE[1] * TILE[1], right, TILE[1]):
                if (y, x) not in self.done:
                    self._compute((y, x))
        part = (slice(top, bottom), slice(left, right))
        return Affinity(self.cells[part].flatten(0, 1), self.weights[part].flatten(0, 1))

    def _compute(self, place: Place) -> None:
        found = [self.scores.tile(place, frame, permanent) for frame, permanent in self.frames]
        best = keep_best(torch.cat([scores for scores, _ in found], 1), self.scores.top_k)
        frame_cells = self.height * self.width
        cells = torch.cat([inside + index * frame_cells for index, (_, inside) in enumerate(found)])
        part = self.cells[place[0] : place[0] + TILE[0], place[1] : place[1] + TILE[1]]
        part.copy_(cells[best.cells].view_as(part))
        part = self.weights[place[0] : place[0] + TILE[0], place[1] : place[1] + TILE[1]]
        part.copy_(best.weights.view_as(part))
        self.done.add(place)


def object_values(memory: DenseMemory, maps: DenseMaps, blank: Tensor, masks: Sequence[Tensor]) -> list[Tensor]:
    """What is stored of objects with mask logits [h4, w4]: values [cells, C] each.

    Where the object surely is not, they are those of an empty mask, ``blank`` [cells, C], which all objects share; only
    the rest is computed, for regions of one size together.
    """
    height, width = maps.keys.shape[-2:]
    boxes = {index: cell_box(mask, CODE_REACH, above=ALMOST_ABSENT) for index, mask in enumerate(masks)}
    regions = {index: _fitted(box, CODE_REACH, height, width) for index, box in boxes.items() if box is not None}
    out = [blank] * len(masks)
    for batch in _batches(regions, maps.keys.device):
        parts = torch.stack([_cut(masks[index], regions[index], 2) for index in batch])
        parts = torch.where(parts > ALMOST_ABSENT, parts.sigmoid(), 0)
        values = memory.values(_cut_maps(maps, [regions[index] for index in batch]), parts).permute(0, 2, 3, 1)
        for index, found in zip(batch, values, strict=True):
            out[index] = _pasted(blank, found, boxes[index], regions[index], width)
    return out


def _pasted(blank: Tensor, values: Tensor, box: Box, region: Box, width: int) -> Tensor:
    """``blank`` [cells, C] with the values [h, w, C] of a region put in where they lie in the box."""
    table = blank.clone()
    top, left, bottom, right = box
    rows, columns = slice(top - region[0], bottom - region[0]), slice(left - region[1], right - region[1])
    table.view(-1, width, table.shape[1])[top:bottom, left:right] = values[rows, columns]
    return table


def _read(item: ObjectMemory, affinity: TiledAffinity, region: Box) -> Tensor:
    """What an object's rows of the affinity carry here: [h, w, C]."""
    table = torch.cat([item.values[f] for f, _ in item.frames])
    read = affinity.rows(region).read(table)
    return read.view(region[2] - region[0], region[3] - region[1], -1)


def _decode(
    memory: DenseMemory, maps: DenseMaps, read: Tensor, regions: Sequence[Box], codes: bool
) -> list[DenseReading]:
    """K objects whose regions have one size, from what they read, [K, C, h, w]."""
    logits, _ = memory.decode(read, _cut_maps(maps, regions).context)
    height, width = maps.context[1].shape[-2:]
    full = logits.new_full((len(regions), height, width), ABSENT)
    for mask, found, region in zip(full, logits, regions, strict=True):
        _cut(mask, region, 2).copy_(found)
    means = mean_codes(read, logits) if codes else [None] * len(regions)
    return [DenseReading(*pair) for pair in zip(full, means, strict=True)]


def _cut_maps(maps: DenseMaps, regions: Sequence[Box]) -> DenseMaps:
    """The maps of K regions of one size, as those of K frames."""
    cells = [torch.cat([_cut(x, region, 1) for region in regions]) for x in (maps.code_context, maps.context[0])]
    fine = torch.cat([_cut(maps.context[1], region, 2) for region in regions])
    return replace(maps, code_context=cells[0], context=[cells[1], fine])


def _cut(x: Tensor, region: Box, scale: int) -> Tensor:
    """A region, in cells, of a map [..., scale * h8, scale * w8]."""
    top, left, bottom, right = (scale * side for side in region)
    return x[..., top:bottom, left:right]


def _region(item: ObjectMemory, margin: int, height: int, width: int) -> Box:
    """Where an object can be: its last box and a margin for its speed, growing while it is missing."""
    if item.box is None:
        return 0, 0, height, width
    return _fitted(item.box, margin + min(item.speed, LARGEST_SPEED) + min(item.missing, MISSING_REACH), height, width)


def _fitted(box: Box, margin: int, height: int, width: int) -> Box:
    """A box with a margin, in a region of the next greater size that lies in the frame; its sides are even."""
    top, bottom = _fitted_side(box[0] - margin, box[2] + margin, height)
    left, right = _fitted_side(box[1] - margin, box[3] + margin, width)
    return top, left, bottom, right


def _fitted_side(start: int, stop: int, limit: int) -> tuple[int, int]:
    start, stop = max(0, start) // 2 * 2, min(limit, stop)
    size = min(limit, -(-(stop - start) // SIZE_STEP) * SIZE_STEP)
    start = min(max(0, (start + stop - size) // 4 * 2), limit - size)
    return start, start + size

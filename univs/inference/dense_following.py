"""Following objects into the next frame by the dense memory, each within its own region.

What an object reads does not depend, to the last bit, on which other objects are there. It reads in the region where it
can be, its last box and a margin, and is decoded round what it read there; elsewhere it is absent. Regions come in few
sizes, and those of one size are decoded together.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from univs.inference.dense_bank import (
    Box,
    DenseBank,
    Frames,
    ObjectMemory,
    ObjectValues,
    Sides,
    box_round,
    cell_boxes,
)
from univs.inference.dense_search import search
from univs.layers.affinity import Affinity
from univs.layers.convolution import exact_batches
from univs.modeling.dense_memory import DenseMaps, DenseMemory
from univs.modeling.query_prompts import mean_codes

ABSENT = -10.0  # logit of a pixel outside an object's region
ALMOST_ABSENT = -4.0  # logits below are stored as an empty mask
LARGEST_SPEED = 8  # cells per frame; also taken for that of an object that was not followed yet
MOST_HIDDEN = 16  # most cells by which a region grows because the object has become smaller
MISSING_REACH = 8  # most cells by which the region of an object that is not seen grows, one with every frame
LEAST_CARRIED = 0.05  # share of a pixel's memory that shows the object, under which it is not there
OWN_SCENE = 0.8  # of the limit of another scene, under which an object is back in its own
DECODED_REACH = 3  # cells by which an object may go beyond what was read of it
SIZE_STEP = 8  # cells; the sides of regions are multiples of it, or the frame's
LARGEST_BATCH = 8  # objects decoded together
CODE_REACH = 2  # cells that a cell of the mask reaches in the code of an object: two 3x3 convolutions


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
    regions = {i: region_of(bank.objects[i], bank.settings.reach, height, width) for i in object_ids}
    wanted: dict[Frames, list[Box]] = {}
    for object_id, region in regions.items():
        wanted.setdefault(bank.objects[object_id].frames, []).append(region)
    affinities = search(memory, bank, maps.keys[0], wanted)
    tables = {frames: ValueTable(bank, frames) for frames in wanted}
    rows = {i: affinities[bank.objects[i].frames].rows(region) for i, region in regions.items()}
    read = {i: _read(bank.objects[i], tables, rows[i], region) for i, region in regions.items()}
    nowhere = maps.keys.new_full([2 * height, 2 * width], ABSENT)
    out = dict.fromkeys(object_ids, DenseReading(nowhere, None))
    decoded = regions if codes else _found(bank, rows, read, regions)
    for batch in _batches(decoded, maps.keys.device):
        carried = torch.stack([_within(decoded[i], read[i], regions[i]) for i in batch]).permute(0, 3, 1, 2)
        out.update(zip(batch, _decode(memory, maps, carried, [decoded[i] for i in batch], codes), strict=True))
    return out


def _found(
    bank: DenseBank, rows: Mapping[int, Affinity], read: Mapping[int, Tensor], regions: Mapping[int, Box]
) -> dict[int, Box]:
    """Where the objects are that are there at all; notes in the bank which ones are of another scene."""
    found = {}
    for object_id, values in read.items():
        share, item = values[..., :4].amax(-1), bank.objects[object_id]
        box = where_read(share, regions[object_id])
        if box is None:
            continue
        limit = bank.settings.other_scene * (OWN_SCENE if item.elsewhere else 1)
        if strangeness(share, rows[object_id].best) > limit:
            item.elsewhere = True
        else:
            found[object_id] = box
    return found


def where_read(share: Tensor, region: Box) -> Box | None:
    """The part of a region round where an object was read, its ``share`` of each cell [h, w]; None if hardly anywhere.

    The decoder finds nothing elsewhere.
    """
    shown = (share > LEAST_CARRIED).cpu().numpy()
    box = box_round(shown.any(1), shown.any(0))
    if box is None:
        return None
    above, before, below, after = fitted(box, (DECODED_REACH,) * 4, *shown.shape)
    return region[0] + above, region[1] + before, region[0] + below, region[1] + after


def strangeness(share: Tensor, best: Tensor) -> float:
    """How far a region's cells are from all that is remembered: the mean of all of them and that of the object.

    ``share`` [h, w]: of the object in each cell; ``best`` [h * w]: minus the squared distances, as similarities are.
    """
    return -float(best.mean() + (share.flatten() / share.sum()) @ best) / 2


def _batches(regions: Mapping[int, Box], device: torch.device) -> Iterator[list[int]]:
    """Objects whose regions have one size, as many together as may be computed together."""
    sizes: dict[tuple[int, int], list[int]] = {}
    for object_id, (top, left, bottom, right) in regions.items():
        sizes.setdefault((bottom - top, right - left), []).append(object_id)
    for members in sizes.values():
        yield from exact_batches(members, LARGEST_BATCH, device)


class ValueTable:
    """Values of all cells of a set of remembered frames, one frame after the other, for one object at a time."""

    def __init__(self, bank: DenseBank, frames: Frames) -> None:
        self._blanks = {frame: bank.frames[frame].blank for frame, _ in frames}
        self._table = torch.stack(list(self._blanks.values()))

    @contextmanager
    def of(self, item: ObjectMemory) -> Iterator[Tensor]:
        """The table [cells, C] of an object; it holds within this context."""
        stored = [item.values[frame] for frame in self._blanks]
        for whole, own in zip(self._table, stored, strict=True):
            whole[own.part].copy_(own.values)
        yield self._table.flatten(0, 2)
        for whole, own, blank in zip(self._table, stored, self._blanks.values(), strict=True):
            whole[own.part].copy_(blank[own.part])


def object_values(memory: DenseMemory, maps: DenseMaps, masks: Tensor) -> list[ObjectValues]:
    """What is stored of K objects with mask logits [K, h4, w4].

    Where an object surely is not, its values are those of an empty mask, which all objects share; the rest is computed
    here, for regions of one size together.
    """
    height, width = maps.keys.shape[-2:]
    boxes = cell_boxes(masks, CODE_REACH, above=ALMOST_ABSENT)
    regions = {
        index: fitted(box, (CODE_REACH,) * 4, height, width) for index, box in enumerate(boxes) if box is not None
    }
    nothing = ObjectValues((0, 0, 0, 0), masks.new_empty(0, 0, 4 + memory.settings.code_dim))
    out = [nothing] * len(masks)
    for batch in _batches(regions, maps.keys.device):
        parts = torch.stack([_cut(masks[index], regions[index], 2) for index in batch])
        parts = torch.where(parts > ALMOST_ABSENT, parts.sigmoid(), 0)
        context = _cut_each(maps.code_context, [regions[index] for index in batch], 1)
        values = memory.values(replace(maps, code_context=context), parts).permute(0, 2, 3, 1)
        for index, found in zip(batch, values, strict=True):
            own = _within(boxes[index], found, regions[index]).clone(memory_format=torch.contiguous_format)
            out[index] = ObjectValues(boxes[index], own)
    return out


def _within(box: Box, values: Tensor, region: Box) -> Tensor:
    """The values in a box, of those [h, w, C] in a region round it."""
    return values[box[0] - region[0] : box[2] - region[0], box[1] - region[1] : box[3] - region[1]]


def _read(item: ObjectMemory, tables: Mapping[Frames, ValueTable], rows: Affinity, region: Box) -> Tensor:
    """What a region's rows of the affinity to an object's frames carry: [h, w, C]."""
    with tables[item.frames].of(item) as table:
        read = rows.read(table)
    return read.view(region[2] - region[0], region[3] - region[1], -1)


def _decode(
    memory: DenseMemory, maps: DenseMaps, read: Tensor, regions: Sequence[Box], codes: bool
) -> list[DenseReading]:
    """K objects whose regions have one size, from what they read, [K, C, h, w]."""
    context = [_cut_each(x, regions, scale) for x, scale in zip(maps.context, (1, 2), strict=True)]
    logits, _ = memory.decode(read, context)
    height, width = maps.context[1].shape[-2:]
    full = logits.new_full((len(regions), height, width), ABSENT)
    for mask, found, region in zip(full, logits, regions, strict=True):
        _cut(mask, region, 2).copy_(found)
    means = mean_codes(read, logits) if codes else [None] * len(regions)
    return [DenseReading(*pair) for pair in zip(full, means, strict=True)]


def _cut_each(x: Tensor, regions: Sequence[Box], scale: int) -> Tensor:
    """K regions of one size of a map [1, C, scale * h8, scale * w8], as a batch of K."""
    return torch.cat([_cut(x, region, scale) for region in regions])


def _cut(x: Tensor, region: Box, scale: int) -> Tensor:
    """A region, in cells, of a map [..., scale * h8, scale * w8]."""
    top, left, bottom, right = (scale * side for side in region)
    return x[..., top:bottom, left:right]


def region_of(item: ObjectMemory, margin: int, height: int, width: int) -> Box:
    """Where an object can be: its last box and a margin for the speed of each side, growing while it is missing.

    An object that has become smaller may go behind something and come out far from what is still seen of it.
    """
    if item.box is None or item.elsewhere:
        return 0, 0, height, width
    margin += min(item.missing, MISSING_REACH)
    top, left, bottom, right = (margin + min(speed, LARGEST_SPEED) for speed in item.speeds or (LARGEST_SPEED,) * 4)
    rows, columns = (min(hidden, MOST_HIDDEN) for hidden in item.hidden)
    return fitted(item.box, (top + rows, left + columns, bottom + rows, right + columns), height, width)


def fitted(box: Box, margins: Sides, height: int, width: int) -> Box:
    """A box with margins, in a region of the next greater size within ``height`` and ``width``; its sides are even."""
    top, bottom = _fitted_side(box[0] - margins[0], box[2] + margins[2], height)
    left, right = _fitted_side(box[1] - margins[1], box[3] + margins[3], width)
    return top, left, bottom, right


def _fitted_side(start: int, stop: int, limit: int) -> tuple[int, int]:
    start, stop = max(0, start) // 2 * 2, min(limit, stop)
    size = min(limit, -(-(stop - start) // SIZE_STEP) * SIZE_STEP)
    start = max((start + stop - size) // 4 * 2, -((size - stop) // 2) * 2)  # in the middle, but over the stop
    start = min(max(0, start), limit - size)
    return start, start + size

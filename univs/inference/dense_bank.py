"""What a session remembers for the dense memory: what all objects share of a frame, and the values of each object.

Frames the user made are permanent until forgotten; of the others an object keeps the last one and a few chosen ones, so
that the bank is bounded by its settings, never by the length of the video.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from torch import Tensor

from univs.layers.affinity import RememberedKeys
from univs.modeling.prompt_encoder import VisualTokens

Remembered = tuple[int, bool]  # a frame, and whether it is permanent
Frames = tuple[Remembered, ...]
Box = tuple[int, int, int, int]  # top, left, bottom, right (exclusive) in cells of stride 8
Sides = tuple[int, int, int, int]  # cells by which the sides of a box go outward, in the same order

SIZE_DECAY = 0.99  # per frame, of the size that an object is known to have had


@dataclass(frozen=True)
class BankSettings:
    """Budget of the bank.

    window: how far beyond a tile (`dense_search`), in cells of stride 8, its cells search evictable frames;
    wide_window: the same for permanent frames, from which an object may have moved far, there in every other cell;
    reach: cells that the edges of an object may move in a frame beyond what they moved lately; kept: evictable frames
    kept besides the last one; interval: frames whose number is a multiple of it are kept, the same ones for all
    objects, which then share the similarities to them; other_scene: distance of an object and its surroundings to all
    that is remembered, in the units of the similarities, beyond which it is not there (set for univs_mini's keys).
    """

    window: int = 8
    wide_window: int = 16
    reach: int = 3
    kept: int = 2
    interval: int = 5
    other_scene: float = 7.9

    @property
    def radii(self) -> tuple[int, int]:
        """How far evictable and permanent frames are searched."""
        return self.window, self.wide_window


class SharedFrame(NamedTuple):
    """What all objects share of a remembered frame: keys, and the values [h8, w8, C] where no object is (`blank`)."""

    keys: RememberedKeys
    blank: Tensor


class ObjectValues(NamedTuple):
    """Values [h, w, C] of the cells of a box in which an object is; elsewhere the frame's blank ones hold."""

    box: Box
    values: Tensor

    @property
    def part(self) -> tuple[slice, slice]:
        """The box in a frame."""
        return slice(self.box[0], self.box[2]), slice(self.box[1], self.box[3])


@dataclass
class ObjectMemory:
    """Values of one object by frame, and which of the frames are permanent or kept.

    scattered: permanent frames that show it in pieces far apart. tokens: of its masks in the permanent frames and the
    last one, where the model has queries. speeds: how far each side of its box went outward in a frame lately, None
    until it was followed. largest: the most rows and columns of its box lately. elsewhere: the video went to another
    scene and it was not seen since; nothing is remembered meanwhile, so that its own scene is known when it comes back.
    """

    values: dict[int, ObjectValues] = field(default_factory=dict)
    tokens: dict[int, VisualTokens] = field(default_factory=dict)
    permanent: set[int] = field(default_factory=set)
    scattered: set[int] = field(default_factory=set)
    kept: list[int] = field(default_factory=list)
    last: int | None = None
    box: Box | None = None
    missing: int = 0
    speeds: Sides | None = None
    largest: tuple[float, float] = (0.0, 0.0)
    elsewhere: bool = False

    @property
    def frames(self) -> Frames:
        """All remembered frames, in order of time."""
        return tuple((f, f in self.permanent) for f in sorted(self.values))

    @property
    def hidden(self) -> tuple[int, int]:
        """Rows and columns that its box has fewer than lately."""
        height, width = _size(self.box)
        return int(self.largest[0]) - height, int(self.largest[1]) - width


class DenseBank:
    """What is shared by frame, and objects by id."""

    def __init__(self, settings: BankSettings) -> None:
        self.settings = settings
        self.frames: dict[int, SharedFrame] = {}
        self.objects: dict[int, ObjectMemory] = {}

    def share(self, frame: int, keys: Tensor, blank: Tensor) -> None:
        """Take in what all objects share of a frame that `write` will be given: keys [C', h8, w8], blank values."""
        if frame not in self.frames:
            self.frames[frame] = SharedFrame(RememberedKeys.of(keys), blank)

    def write(self, frame: int, object_id: int, values: ObjectValues, permanent: bool) -> None:
        """Remember an object's values in a frame; drop what is over the budget."""
        item = self.objects.setdefault(object_id, ObjectMemory())
        item.elsewhere &= not values.values.numel()
        if not item.elsewhere or permanent:
            item.values[frame] = values
        if permanent:
            item.permanent.add(frame)
        elif not item.elsewhere:
            self._evict(item, frame)
        self._drop_unused_frames(but=frame)

    def _evict(self, item: ObjectMemory, frame: int) -> None:
        previous, item.last = item.last, frame
        if frame % self.settings.interval == 0:
            item.kept = [*item.kept, frame][-self.settings.kept :] if self.settings.kept else []
        wanted = {*item.permanent, *item.kept, frame}
        if previous is not None and previous not in wanted:
            item.values.pop(previous, None)
        for f in [f for f in item.values if f not in wanted]:
            del item.values[f]

    def write_tokens(self, frame: int, object_id: int, tokens: VisualTokens) -> None:
        """Remember the tokens of an object's mask in a frame that `write` has just been given."""
        item = self.objects[object_id]
        item.tokens[frame] = tokens
        item.tokens = {f: part for f, part in item.tokens.items() if f in item.permanent or f == frame}

    def place(self, object_id: int, box: Box | None) -> None:
        """Say in which cells (`cell_box`) an object was last seen; None when it is not in the frame."""
        item = self.objects[object_id]
        if box is None:
            item.missing += 1
            return
        if item.box is not None:
            outward = (item.box[0] - box[0], item.box[1] - box[1], box[2] - item.box[2], box[3] - item.box[3])
            before = item.speeds or (0, 0, 0, 0)
            item.speeds = tuple(max(now, speed - 1, 0) for now, speed in zip(outward, before, strict=True))
        item.box, item.missing = box, 0
        item.largest = tuple(max(now, SIZE_DECAY * most) for now, most in zip(_size(box), item.largest, strict=True))

    def forget(self, object_ids: Sequence[int] | None = None, frames: Sequence[int] | None = None) -> None:
        """Forget whole objects, some frames of them, or (neither given) everything."""
        for object_id in list(self.objects) if object_ids is None else object_ids:
            item = self.objects.get(object_id)
            if item is None:
                continue
            if frames is None:
                del self.objects[object_id]
                continue
            for f in frames:
                item.values.pop(f, None)
                item.tokens.pop(f, None)
                item.permanent.discard(f)
                item.scattered.discard(f)
                item.kept = [k for k in item.kept if k != f]
                item.last = None if item.last == f else item.last
        self._drop_unused_frames()

    def _drop_unused_frames(self, but: int | None = None) -> None:
        used = {f for item in self.objects.values() for f in item.values} | {but}
        for f in [f for f in self.frames if f not in used]:
            del self.frames[f]

    def report(self) -> dict[str, int]:
        """Frames, objects, and bytes held."""
        tensors = [t for shared in self.frames.values() for t in (*shared.keys, shared.blank)]
        tensors += [stored.values for item in self.objects.values() for stored in item.values.values()]
        parts = [part for item in self.objects.values() for part in item.tokens.values()]
        tensors += [t for part in parts for t in (part.features, part.positions)]
        return {
            "frames": len(self.frames),
            "objects": len(self.objects),
            "bytes": sum(t.numel() * t.element_size() for t in tensors),
        }


def cell_boxes(mask_logits: Tensor, margin: int = 0, above: float = 0.0) -> list[Box | None]:
    """Of each of K masks [K, h4, w4] the cells round what is ``above``, or None."""
    # the greatest of every row and column: ten times faster than to ask whether any is above
    sides = ((mask_logits.amax(side) > above).cpu().numpy() for side in (2, 1))
    rows, columns = (side.reshape(len(side), -1, 2).any(2) for side in sides)
    return [box_round(*pair, margin) for pair in zip(rows, columns, strict=True)]


def box_round(rows: np.ndarray, columns: np.ndarray, margin: int = 0) -> Box | None:
    """The box round the rows [h] and columns [w] that are true, and a margin where there are more; None if none is."""
    if not rows.any():
        return None
    (top, bottom), (left, right) = (side.nonzero()[0][[0, -1]].tolist() for side in (rows, columns))
    height, width = len(rows), len(columns)
    return max(0, top - margin), max(0, left - margin), min(height, bottom + 1 + margin), min(width, right + 1 + margin)


def _size(box: Box) -> tuple[int, int]:
    return box[2] - box[0], box[3] - box[1]

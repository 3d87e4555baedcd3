"""The masks computed so far, by the names of what they follow from.

Answers to prompts are kept by the digest of their user frame, followed masks by the key of their gap. In a gap that is
bounded on both sides the masks of a pass from one side wait, 8 bits per cell, for the pass from the other side; their
probabilities are then mixed linearly in time.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from univs.inference.mask_store import Entry, FrameTable, MaskStore
from univs.inference.soft_mask import SoftMask, decode, encode, fuse
from univs.inference.timeline import Gap, GapKey, Timeline, TrackedObject

NOTHING = Entry(0, 0, 0.0)


@dataclass
class GapMasks:
    """Masks of a gap: final ones, and in a bounded gap those of one pass (1 or -1) that are not fused yet."""

    final: FrameTable
    halves: dict[int, FrameTable] = field(default_factory=dict)

    @property
    def bytes(self) -> int:
        """Memory the tables take."""
        return self.final.bytes + sum(table.bytes for table in self.halves.values())


@dataclass(frozen=True)
class Shown:
    """What is shown of an object in a frame: its stored mask, and whether it follows from the present prompts."""

    entry: Entry
    fresh: bool


class ResultBook:
    """Stored masks of one session on a grid (h4, w4)."""

    def __init__(self, grid: tuple[int, int]) -> None:
        self.grid = grid
        self.store = MaskStore()
        self.answers: dict[str, Entry] = {}
        self.gaps: dict[GapKey, GapMasks] = {}

    def soft(self, entry: Entry) -> SoftMask:
        """The stored mask itself."""
        return decode(self.store.read(entry) if entry.length else b"", self.grid)

    def write(self, logits: np.ndarray, score: float) -> Entry:
        """Store mask logits [h4, w4] with their score; FloatingPointError when one is not finite."""
        if not math.isfinite(score):
            raise FloatingPointError("the model gave a score that is not finite")
        return self.store.write(encode(logits), score)

    def put(self, gap: Gap, direction: int, frame: int, entry: Entry) -> None:
        """Take in the mask that a pass in ``direction`` found in a frame of a gap; the first one written stays."""
        masks = self.gaps.setdefault(gap.key, GapMasks(FrameTable(gap.first)))
        if masks.final.get(frame) is not None:
            return
        if not gap.bounded:
            masks.final.put(frame, entry)
            return
        half = masks.halves.setdefault(direction, FrameTable(gap.first))
        if half.get(frame) is None:
            half.put(frame, entry)
        other = masks.halves.get(-direction)
        if other is not None and other.get(frame) is not None:
            left, right = (masks.halves[side].get(frame) for side in (1, -1))
            masks.final.put(frame, self._fused(left, right, gap.weight(frame)))
        if not len(masks.final.missing(gap.first, gap.last)):
            masks.halves.clear()

    def missing(self, gap: Gap, low: int, high: int, direction: int = 0) -> np.ndarray:
        """Frames of a gap within low..high that lack a final mask, and (direction 1 or -1) that pass's half as well."""
        low = max(low, gap.first)
        high = high if gap.last is None else min(high, gap.last)
        masks = self.gaps.get(gap.key)
        if masks is None:
            return np.arange(low, max(low, high + 1))
        frames = masks.final.missing(low, high)
        if direction and direction in masks.halves and len(frames):
            frames = np.intersect1d(frames, masks.halves[direction].missing(low, high))
        return frames

    def shown(self, item: TrackedObject, frame: int) -> Shown | None:
        """What is known of an object in a frame: the present mask, else one that newer prompts made out of date."""
        user_frame = item.user_frames.get(frame)
        if user_frame is not None:
            entry = self.answers.get(user_frame.digest)
            return None if entry is None else Shown(entry, True)
        gap = item.gap_at(frame)
        keys = ([gap.key] if gap is not None else []) + list(item.replaced)
        for place, key in enumerate(keys):
            entry = self.gaps[key].final.get(frame) if key in self.gaps else None
            if entry is not None:
                return Shown(entry, place == 0 and gap is not None)
        return None

    def prune(self, timelines: Iterable[Timeline]) -> None:
        """Let go of everything that no timeline can show again."""
        timelines = list(timelines)
        keys = set().union(*(timeline.gap_keys for timeline in timelines))
        digests = set().union(*(timeline.digests for timeline in timelines))
        self.gaps = {key: masks for key, masks in self.gaps.items() if key in keys}
        self.answers = {name: entry for name, entry in self.answers.items() if name in digests}

    def clear(self) -> None:
        """Forget all masks; they can be computed again."""
        self.store.close()
        self.store = MaskStore()
        self.answers.clear()
        self.gaps.clear()

    def report(self) -> dict[str, int]:
        """Stored masks and the bytes they take, in the file and in tables."""
        return {
            "masks": len(self.answers) + sum(len(masks.final) for masks in self.gaps.values()),
            "mask_file_bytes": self.store.size,
            "table_bytes": sum(masks.bytes for masks in self.gaps.values()),
        }

    def _fused(self, left: Entry, right: Entry, weight: float) -> Entry:
        score = left.score * (1 - weight) + right.score * weight
        return self.write(fuse(self.soft(left), self.soft(right), weight), score)

"""Numbers of panoptic segments: one per countable object, one per class of the rest."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from univs.inference.clips.overlap import NOBODY
from univs.inference.clips.results import Segment


class SegmentNumbers:
    """Segments of one picture, or of a whole video whose rows are the same objects in every frame.

    things: countable classes (0-based). rows: those rows of the table that first got each segment, in its order.
    """

    def __init__(self, things: Iterable[int]) -> None:
        self.things = frozenset(things)
        self.rows: list[int] = []
        self._segments: list[Segment] = []

    def table(self, classes: Tensor, kept: Tensor) -> Tensor:
        """Number the kept objects 1, 2, ... in their order; stuff of one class is one segment.

        classes: int64 [N]; kept: bool [N]. Returns int64 [N + 1] numbers by row, 0 for what is not kept and, last, for
        -1, nobody.
        """
        numbers = torch.zeros(len(classes) + 1, dtype=torch.int64, device=classes.device)
        stuff: dict[int, int] = {}
        for row, (category, keep) in enumerate(zip(classes.tolist(), kept.tolist(), strict=True)):
            if not keep:
                continue
            is_thing = category in self.things
            if is_thing or category not in stuff:
                self.rows.append(row)
                self._segments.append(Segment(len(self.rows), category, is_thing))
                stuff[category] = len(self.rows)
            numbers[row] = len(self.rows) if is_thing else stuff[category]
        numbers[NOBODY] = 0
        return numbers

    def segments(self, present: Iterable[int]) -> tuple[Segment, ...]:
        """The segments whose ids are among those present."""
        ids = set(present)
        return tuple(segment for segment in self._segments if segment.id in ids)

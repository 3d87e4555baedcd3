"""What can be seen: an object's own mask in a frame, and whole frames in which objects do not overlap."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from univs.errors import UserError
from univs.inference.answering import AnswerDesk, ambiguous, to_array
from univs.inference.geometry import MaskGeometry
from univs.inference.mask_store import Entry
from univs.inference.postprocess import Layer, exact_layer, separate, soft_layer
from univs.inference.results import ResultBook
from univs.inference.soft_mask import decode, encode
from univs.inference.timeline import Timeline, TrackedObject, UserFrame
from univs.structures import FrameResult, ObjectResult


@dataclass(frozen=True)
class Preview:
    """A mask of one object in one frame, boolean [H, W], with its score in 0..1."""

    mask: np.ndarray
    score: float


class Viewer:
    """Reads stored masks; answers prompts that nobody has answered yet."""

    def __init__(self, book: ResultBook, desk: AnswerDesk, geometry: MaskGeometry) -> None:
        self._book = book
        self._desk = desk
        self._geometry = geometry

    def frame(self, timeline: Timeline, index: int) -> FrameResult:
        """All objects that have a mask in a frame, also an empty one."""
        entries = {i: self._entry(item, index) for i, item in timeline.objects.items()}
        entries = {i: entry for i, entry in entries.items() if entry is not None}
        layers = [self._layer(timeline.objects[i], index, entry) for i, entry in entries.items()]
        masks = separate(layers, self._geometry.size)
        return FrameResult(index, [self._result(timeline.objects[i], entries[i], masks[i]) for i in entries])

    def own_mask(self, item: TrackedObject, index: int) -> Preview | None:
        """An object's mask before others are considered; None where it has none."""
        entry = self._entry(item, index)
        if entry is None:
            return None
        layer = self._layer(item, index, entry)
        return Preview(separate([layer], self._geometry.size)[item.object_id], entry.score)

    def previews(self, item: TrackedObject, index: int) -> list[Preview]:
        """The object's mask in a frame, and after it other readings of an ambiguous first click."""
        own = self.own_mask(item, index)
        user_frame = item.user_frames.get(index)
        others = []
        if user_frame is not None and ambiguous(user_frame):
            others = [self._reading(answer) for answer in self._desk.ask(user_frame, alternatives=True)[1:]]
        return ([] if own is None else [own]) + others

    def union(self, items: Sequence[TrackedObject], index: int) -> np.ndarray:
        """Union [H, W] of the present masks of objects in a frame; absent before their first user frame.

        Raises:
            UserError: the mask of one of them is not computed, or out of date.
        """
        out = np.zeros(self._geometry.size, bool)
        for item in items:
            own = self.own_mask(item, index)
            after = bool(item.frames) and index > item.frames[0].frame
            if after and (own is None or self.stale(item, index)):
                raise UserError(f"Object {item.object_id} has no present mask in frame {index}: propagate, then merge.")
            if own is not None:
                out |= own.mask
        return out

    def stale(self, item: TrackedObject, index: int) -> bool:
        """Whether the mask shown in a frame is older than the object's prompts."""
        if index in item.user_frames:
            return False
        shown = self._book.shown(item, index)
        return shown is not None and not shown.fresh

    def _entry(self, item: TrackedObject, index: int) -> Entry | None:
        user_frame = item.user_frames.get(index)
        if user_frame is not None:
            return self._desk.entry(user_frame)
        shown = self._book.shown(item, index)
        return None if shown is None else shown.entry

    def _layer(self, item: TrackedObject, index: int, entry: Entry) -> Layer:
        soft = self._book.soft(entry)
        user_frame: UserFrame | None = item.user_frames.get(index)
        confirmed = user_frame is not None and user_frame.confirmed
        if user_frame is None or user_frame.exact is None:
            return soft_layer(item.object_id, soft, self._geometry, confirmed)
        return exact_layer(item.object_id, user_frame.exact.to_array(), soft, self._geometry, confirmed)

    def _reading(self, answer: object) -> Preview:
        soft = decode(encode(to_array(answer.mask_logits)), self._book.grid)
        layer = soft_layer(0, soft, self._geometry, False)
        return Preview(separate([layer], self._geometry.size)[0], float(answer.score))

    @staticmethod
    def _result(item: TrackedObject, entry: Entry, mask: np.ndarray) -> ObjectResult:
        return ObjectResult(item.object_id, mask, entry.score, item.category, item.name)

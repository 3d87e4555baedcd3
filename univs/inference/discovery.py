"""Finding objects while the video is swept: by category every few frames, and by a sentence until it is found.

What is found becomes an object like any other: its first frame holds the found mask (or the sentence) and can be
corrected.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from univs.inference.answering import AnswerDesk, to_array
from univs.inference.geometry import MaskGeometry
from univs.inference.protocol import Discovery, Segmenter
from univs.inference.results import ResultBook
from univs.inference.settings import SessionSettings
from univs.inference.timeline import CategorySearch, Timeline, TrackedObject, UserFrame
from univs.structures import MaskPrompt


class Finder:
    """Looks for what the timeline asks for in one frame at a time; returns the timeline with what was found."""

    def __init__(
        self,
        segmenter: Segmenter,
        desk: AnswerDesk,
        book: ResultBook,
        geometry: MaskGeometry,
        settings: SessionSettings,
    ) -> None:
        self._segmenter = segmenter
        self._desk = desk
        self._book = book
        self._geometry = geometry
        self._settings = settings

    def sentences(self, timeline: Timeline, frame: int) -> Timeline:
        """Look for the objects that only have sentences so far, each ``text_interval`` frames after the last time."""
        for item in list(timeline.objects.values()):
            if item.sought and item.searched <= frame:
                timeline = timeline.with_object(self._sought(item, frame))
        return timeline

    def categories(self, timeline: Timeline, frame: int) -> Timeline:
        """Search this frame for the categories that are due; new objects take the next free ids, best first."""
        due = [search for search in timeline.searches if search.due(frame)]
        if not due:
            return timeline
        finds = self._finds(frame, tuple(dict.fromkeys(name for search in due for name in search.names)))
        known = {item.object_id: self._inside(item, frame) for item in timeline.objects.values()}
        for find in finds:
            timeline = self._take_in(timeline, known, find, frame)
        found = {find.category for find in finds}
        searches = [_searched(search, frame, found) if search in due else search for search in timeline.searches]
        return replace(timeline, searches=tuple(searches))

    def _sought(self, item: TrackedObject, frame: int) -> TrackedObject:
        found = UserFrame(frame, item.sentences)
        if self._desk.readable(frame) and self._desk.entry(found).score >= self._settings.text_threshold:
            return item.with_frames([found], sentences=())
        return replace(item, searched=frame + self._settings.text_interval)

    def _finds(self, frame: int, names: tuple[str, ...]) -> list[Discovery]:
        if not self._desk.readable(frame):
            return []
        finds = self._segmenter.discover(self._desk.features(frame), self._geometry.size, names)
        finds = [find for find in finds if find.score >= self._settings.discovery_threshold]
        return sorted(finds, key=lambda find: -find.score)

    def _take_in(self, timeline: Timeline, known: dict[int, np.ndarray], find: Discovery, frame: int) -> Timeline:
        logits = to_array(find.mask_logits)
        inside = logits > 0
        same = _same_object(known, inside, self._settings.same_iou)
        if same is not None:
            return self._name_category(timeline, same, find.category)
        mask = self._geometry.enlarge(logits)[0] > 0
        if not mask.any() or _covered(known, inside) >= self._settings.covered_share:
            return timeline
        seed = UserFrame(frame, base=MaskPrompt.from_array(mask))
        item = TrackedObject(
            timeline.next_id, category=find.category, score=find.score, discovered=True, frames=(seed,)
        )
        known[item.object_id] = inside
        return timeline.with_object(item)

    def _inside(self, item: TrackedObject, frame: int) -> np.ndarray:
        """Cells [h4, w4] bool of an object in this frame."""
        user_frame = item.user_frames.get(frame)
        if user_frame is not None:
            return self._book.soft(self._desk.entry(user_frame)).full() > 0
        shown = self._book.shown(item, frame)
        if shown is None:
            return np.zeros(self._book.grid, bool)
        return self._book.soft(shown.entry).full() > 0

    @staticmethod
    def _name_category(timeline: Timeline, object_id: int, category: str) -> Timeline:
        """A user's object that a category search finds again learns its category; its mask stays as it is."""
        item = timeline.objects[object_id]
        if item.category is not None:
            return timeline
        return timeline.with_object(replace(item, category=category))


def _searched(search: CategorySearch, frame: int, found: set[str]) -> CategorySearch:
    """The search with one frame done in which some categories were found."""
    return replace(search, done=search.done | {frame}, found=search.found or not found.isdisjoint(search.names))


def _same_object(known: dict[int, np.ndarray], inside: np.ndarray, least: float) -> int | None:
    """The known object with the greatest IoU, if that is at least ``least``."""
    ious = {i: (mask & inside).sum() / max(int((mask | inside).sum()), 1) for i, mask in known.items()}
    best = max(ious, key=ious.get, default=None)
    return best if best is not None and ious[best] >= least else None


def _covered(known: dict[int, np.ndarray], inside: np.ndarray) -> float:
    """Share of a mask that known objects cover together."""
    if not known or not inside.any():
        return 0.0
    return float((np.any(list(known.values()), axis=0) & inside).sum() / inside.sum())


def not_found(timeline: Timeline, first: int, last: int) -> list[str]:
    """One sentence for every wish that the frames first..last did not fulfil."""
    out = []
    for item in timeline.objects.values():
        if item.sought and item.searched > last:
            text = "; ".join(sentence.text for sentence in item.sentences)
            out.append(f'Object {item.object_id}, "{text}", was not found in the frames 0 to {last}.')
    for search in timeline.searches:
        if not search.found:
            out.append(f"Nothing was found of {', '.join(search.names)} in the frames {first} to {last}.")
    return out

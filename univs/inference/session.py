"""The session: a video, what the user says about it, and every object's mask in every frame.

The rules it keeps, with their reasons, stand in docs/SESSION.md.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from univs.errors import SessionWarning, UserError
from univs.inference import checks, editing, session_file
from univs.inference.canonical import KINDS
from univs.inference.discovery import not_found
from univs.inference.frame_ranges import FrameRanges
from univs.inference.propagation import DIRECTIONS, Direction
from univs.inference.protocol import Segmenter
from univs.inference.results import ResultBook
from univs.inference.session_file import SessionContents
from univs.inference.session_parts import assemble
from univs.inference.session_result import SessionResult
from univs.inference.settings import SessionSettings
from univs.inference.stream import PushedFrames
from univs.inference.timeline import Timeline, TrackedObject
from univs.inference.viewing import Preview
from univs.structures import FrameResult, MaskPrompt, Prompt
from univs.video.source import VideoSource

if TYPE_CHECKING:
    from univs.inference.predictor import VideoPredictor


class VideoSession:
    """Prompts in, masks out, on one video.

    Coordinates are pixels of the video (x to the right, y down, the first pixel's centre at 0.5), frames count from 0,
    object ids are chosen by the caller. All methods may be called from several threads.
    """

    def __init__(
        self,
        segmenter: Segmenter,
        source: VideoSource,
        settings: SessionSettings | None = None,
        origin: str | None = None,
    ) -> None:
        """Begin on an open video; ``origin`` is the path it was opened from, which session files note."""
        self.source = source
        self.segmenter = segmenter
        self.origin = origin
        self.settings = settings or SessionSettings()
        self.finished = FrameRanges()
        self._lock = threading.RLock()
        self._position = 0
        parts = assemble(segmenter, source, self.settings, self._lock)
        self.book = parts.book
        self._history, self._features, self._followers = parts.history, parts.features, parts.followers
        self._propagation, self._viewer = parts.propagation, parts.viewer

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the video in pixels."""
        return self.source.size

    @property
    def length(self) -> int | None:
        """Number of frames; None while a stream runs."""
        return self.source.length

    @property
    def timeline(self) -> Timeline:
        """Everything said so far; immutable."""
        return self._history.present

    @property
    def objects(self) -> dict[int, TrackedObject]:
        """The objects by id, with their prompts; immutable."""
        return dict(self._history.present.objects)

    # ---- saying what is wanted

    def add_click(
        self, object_id: int, frame: int, points: Iterable[Sequence[float]], labels: Iterable[int] | None = None
    ) -> None:
        """Click on an object: ``points`` (x, y) with ``labels`` 1 (on it, the default) or 0 (not on it)."""
        self._add(object_id, frame, checks.points(points, labels, self.size))

    def add_box(self, object_id: int, frame: int, box: Sequence[float]) -> None:
        """Draw a box (x0, y0, x1, y1) round an object; several boxes on one frame count as the box round all."""
        self._add(object_id, frame, checks.box(box, self.size))

    def add_mask(self, object_id: int, frame: int, mask: np.ndarray) -> None:
        """Give an object's mask [H, W], nonzero inside; an empty one says that the object is not visible here."""
        self._add(object_id, frame, checks.mask(mask, self.size))

    def add_id_map(self, frame: int, ids: np.ndarray) -> list[int]:
        """Give the masks of several objects at once as an id map [H, W], 0 = background; returns the ids."""
        ids = np.asarray(ids)
        checks.mask(ids, self.size)
        values = [int(value) for value in np.unique(ids) if value]
        for value in values:
            self.add_mask(value, frame, ids == value)
        return values

    def add_scribble(
        self,
        object_id: int,
        frame: int,
        strokes: Iterable[Iterable[Sequence[float]]],
        labels: Iterable[int] | None = None,
    ) -> None:
        """Draw strokes, each a row of (x, y), on an object (label 1, the default) or beside it (label 0)."""
        self._add(object_id, frame, checks.scribble(strokes, labels, self.size))

    def add_text(self, object_id: int, text: str, frame: int | None = None) -> None:
        """Describe an object. Without a frame it is looked for from frame 0 on, unless it is prompted elsewhere."""
        sentence = checks.text(text)
        if frame is not None:
            self._add(object_id, frame, sentence)
            return
        object_id = checks.object_id(object_id)
        searched = 0 if self.length is not None else self._position
        self._edit(lambda timeline: editing.add_sentence(timeline, object_id, sentence, searched))

    def discover(self, names: Iterable[str], every: int | None = None) -> None:
        """Look for all objects of some categories in every ``every``-th frame; they take the next free ids."""
        interval = self.settings.discovery_interval if every is None else int(every)
        if interval < 1:
            raise UserError(f"Categories cannot be searched every {every} frames; give 1 or more.")
        wanted = checks.categories(names)
        self._edit(lambda timeline: editing.discover(timeline, wanted, interval))

    def rename(self, object_id: int, name: str | None) -> None:
        """Give an object a name (None: none); its id stays."""
        self._edit(lambda timeline: editing.rename(timeline, object_id, name))

    def remove(self, object_id: int) -> None:
        """Remove an object; its id is not given to another one."""
        self._edit(lambda timeline: editing.remove(timeline, object_id))

    def merge(self, keep: int, other: int) -> None:
        """Make one object of two that are one: ``keep`` takes the union of their masks on every prompted frame."""
        if keep == other:
            raise UserError(f"Object {keep} cannot be merged with itself.")
        with self._lock:
            pair = [editing.find(self.timeline, object_id) for object_id in (keep, other)]
            frames = sorted({frame for item in pair for frame in item.user_frames})
            masks = {frame: MaskPrompt.from_array(self._viewer.union(pair, frame)) for frame in frames}
            self._edit(lambda timeline: editing.merge(timeline, keep, other, masks))

    def clear_prompts(self, object_id: int, frame: int | None = None, kind: str | None = None) -> None:
        """Take back an object's prompts, on one frame or all, of one kind or all; the object keeps its id and name."""
        if kind is not None and kind not in KINDS:
            raise UserError(f"There is no kind of prompt {kind!r}; the kinds are {', '.join(KINDS)}.")
        self._edit(lambda timeline: editing.clear(timeline, object_id, frame, kind))

    def choose(self, object_id: int, frame: int, mask: np.ndarray) -> None:
        """Take one of ``preview``'s masks as it is: it takes the place of the object's prompts on this frame."""
        prompt, frame = checks.mask(mask, self.size), self._check_frame(frame)
        self._edit(
            lambda timeline: editing.add_prompt(
                editing.clear(timeline, object_id, frame, None), object_id, frame, prompt, None
            )
        )

    def undo(self) -> bool:
        """Take back the last edit; False when there is none. Masks that were computed before are there again."""
        return self._go(self._history.undo, self._history.redo)

    def redo(self) -> bool:
        """Take back the last undo; False when there is none."""
        return self._go(self._history.redo, self._history.undo)

    def reset(self) -> None:
        """Start over with the same video: no objects, no results. Can be undone (masks are then computed again)."""
        with self._lock:
            self._history.commit(Timeline())
            self.finished = FrameRanges()
            self._drop_masks()
            self._position = 0 if self.length is not None else self._position

    def forget_masks(self) -> None:
        """Drop every computed mask and memory, keep the prompts; propagating again gives the same masks."""
        if self.length is None:
            raise UserError("The masks of a stream cannot be computed again, since its frames are gone; keep them.")
        with self._lock:
            self._drop_masks()

    # ---- seeing what comes of it

    def preview(self, object_id: int, frame: int) -> list[Preview]:
        """The object's mask in one frame, at once; after it, other readings of a single click, best first."""
        with self._lock:
            item = editing.find(self.timeline, object_id)
            previews = self._viewer.previews(item, self._check_frame(frame))
        if not previews:
            raise UserError(f"Object {object_id} has no mask in frame {frame} yet; prompt it there or propagate.")
        return previews

    def frame(self, index: int) -> FrameResult:
        """All objects in one frame as far as they are known; nothing is propagated."""
        with self._lock:
            return self._viewer.frame(self.timeline, self._check_frame(index))

    def stale_frames(self, object_id: int) -> list[int]:
        """Finished frames in which the object's mask is older than its prompts; ``propagate`` renews them."""
        with self._lock:
            item = editing.find(self.timeline, object_id)
            return [frame for frame in self.finished if self._viewer.stale(item, frame)]

    def propagate(
        self,
        start: int | None = None,
        end: int | None = None,
        direction: Direction = "forward",
        cancel: threading.Event | None = None,
        on_step: Callable[[int, int], None] | None = None,
    ) -> Iterator[FrameResult]:
        """Yield the frames start..end (inclusive; the whole video by default) as they are finished.

        Only masks that are missing or out of date are computed. ``forward`` gives ascending frames and follows objects
        from their first prompt on; ``backward`` descending frames, up to their last prompt; ``both`` first the frames
        before every prompt, descending, then the others, ascending. Setting ``cancel`` ends it after the present frame;
        what is finished stays. ``on_step`` is told the steps done and to do in all.
        """
        if direction not in DIRECTIONS:
            raise UserError(f"There is no direction {direction!r}; the directions are {', '.join(DIRECTIONS)}.")
        if not self.timeline.objects and not self.timeline.searches:
            raise UserError("There is nothing to follow: prompt an object or name categories first.")
        if self.length is None:
            if direction != "forward" or start is not None or end is not None:
                raise UserError("A stream goes forward, without a range; for more give a file or a list of frames.")
            return self._follow_stream(cancel)
        first = 0 if start is None else self._check_frame(start)
        last = self.length - 1 if end is None else self._check_frame(end)
        if first > last:
            raise UserError(f"The range from frame {first} to frame {last} is empty; start must not be above end.")
        return self._follow(first, last, direction, cancel, on_step)

    def step(self, pixels: np.ndarray | None = None) -> FrameResult | None:
        """Go one frame on and return it; None at the end. A session of pushed frames is given the next [H, W, 3]."""
        with self._lock:
            if pixels is not None:
                self._push(pixels)
            if not self._arrived(self._position):
                return None
            index = self._position
            for _ in self._propagation.run(index, index, "forward"):
                self._position = index + 1
                self.finished.add(index)
            return self._viewer.frame(self.timeline, index)

    def result(self) -> SessionResult:
        """The finished frames; ``result().save(folder)`` writes masks, an overlay video and JSON."""
        return SessionResult(self)

    def save(self, path: str | Path) -> None:
        """Write prompts, settings and results into one file; ``VideoSession.load`` goes on from there."""
        if self.length is None:
            raise UserError("A stream cannot be saved as a session, since its frames are gone; save its result.")
        with self._lock:
            video = session_file.describe_video(self.origin, self.size, self.length, Path(path))
            contents = SessionContents(
                video, self.segmenter.name, self.settings, self.timeline, self.finished.ranges, self._position
            )
            session_file.write(Path(path), contents, self.book)

    @classmethod
    def load(cls, path: str | Path, predictor: VideoPredictor | None = None, video: Any = None) -> VideoSession:
        """Go on with a saved session, by default with the default model; as ``VideoPredictor.load``."""
        from univs.inference.predictor import VideoPredictor

        return (predictor or VideoPredictor.from_pretrained()).load(path, video)

    def restore(self, contents: SessionContents, fill: Callable[[ResultBook], None]) -> None:
        """Take over the contents of a session file and its masks; the undo history starts anew."""
        with self._lock:
            self._drop_masks()
            self._history.restart(contents.timeline)
            self.finished = FrameRanges(contents.finished)
            self._position = contents.position
            fill(self.book)

    def memory_report(self) -> dict[str, dict[str, int] | int]:
        """What the session holds, in numbers: memories of both directions, cached features, stored masks."""
        with self._lock:
            return {
                "forward": self.segmenter.memory_report(self._followers[1].memory),
                "backward": self.segmenter.memory_report(self._followers[-1].memory),
                "cached_frames": len(self._features.frames),
                "feature_bytes": self._features.bytes,
                **self.book.report(),
            }

    def close(self) -> None:
        """Give back the video, the features and the file of masks."""
        with self._lock:
            self.source.close()
            self._features.clear()
            self.book.store.close()

    def __enter__(self) -> VideoSession:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ---- inner parts

    def _follow(
        self,
        first: int,
        last: int,
        direction: Direction,
        cancel: threading.Event | None,
        on_step: Callable[[int, int], None] | None,
    ) -> Iterator[FrameResult]:
        for index in self._propagation.run(first, last, direction, cancel, on_step):
            with self._lock:
                self.finished.add(index)
                self._position = index + 1 if direction == "forward" else self._position
                result = self._viewer.frame(self.timeline, index)
            yield result
        cancelled = cancel is not None and cancel.is_set()
        for message in () if cancelled else not_found(self.timeline, first, last):
            warnings.warn(message, SessionWarning, stacklevel=3)

    def _follow_stream(self, cancel: threading.Event | None) -> Iterator[FrameResult]:
        while not (cancel is not None and cancel.is_set()):
            result = self.step()
            if result is None:
                return
            yield result

    def _add(self, object_id: int, frame: int, prompt: Prompt) -> None:
        with self._lock:
            object_id, frame = checks.object_id(object_id), self._check_frame(frame)
            item = self.timeline.objects.get(object_id)
            base = None if item is None or frame in item.user_frames else self._viewer.own_mask(item, frame)
            mask = None if base is None or not base.mask.any() else MaskPrompt.from_array(base.mask)
            self._edit(lambda timeline: editing.add_prompt(timeline, object_id, frame, prompt, mask))

    def _edit(self, change: Callable[[Timeline], Timeline]) -> None:
        """Make an edit that can be undone; what is found meanwhile in another thread is not lost."""
        with self._lock:
            timeline = change(self.timeline).showing(self.book.gaps)
            self._check_reachable(timeline)
            self._history.commit(timeline)
            self.book.prune(self._history.all)

    def _go(self, way: Callable[[], bool], back: Callable[[], bool]) -> bool:
        """Undo or redo, unless a stream has gone too far for it."""
        with self._lock:
            moved = way()
            try:
                self._check_reachable(self.timeline)
            except UserError:
                back()
                raise
            return moved

    def _check_reachable(self, timeline: Timeline) -> None:
        """In a stream a pass can only begin at a frame that is still remembered; UserError where it is not."""
        for object_id, item in timeline.objects.items() if self.length is None else ():
            key, anchor = (item.gaps[-1].key, item.gaps[-1].left) if item.frames else (None, None)
            if anchor is not None and anchor.frame < self._position:
                if self._followers[1].next_frame(object_id, key) is None:
                    self.source.receive(anchor.frame)

    def _drop_masks(self) -> None:
        self.book.clear()
        self._history.amend(replace(self.timeline, objects=dict(self.timeline.objects)))  # runs are planned anew
        for follower in self._followers.values():
            follower.reset()

    def _check_frame(self, frame: int) -> int:
        return checks.frame(frame, self.length, self._position)

    def _push(self, pixels: np.ndarray) -> None:
        if not isinstance(self.source, PushedFrames):
            raise UserError("This session reads its own video; call step() without a frame.")
        self.source.push(pixels)

    def _arrived(self, index: int) -> bool:
        if self.length is not None:
            return index < self.length
        return self.source.receive(index) is not None

"""Passes: objects followed from their user frames through a gap, in one direction of time.

All passes of one direction share one memory and one set of features per frame. A pass that was interrupted goes on
where it stopped as long as nothing it depends on has changed; else it starts again at its user frame, so that what it
finds never depends on the interruption.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from univs.inference.answering import AnswerDesk, to_array
from univs.inference.feature_cache import FeatureCache
from univs.inference.protocol import Segmenter
from univs.inference.results import NOTHING, ResultBook
from univs.inference.timeline import Gap, GapKey, Timeline, UserFrame


@dataclass(frozen=True)
class Run:
    """Work for one pass: follow an object through frames start..stop of a gap (inclusive, in the pass's direction)."""

    object_id: int
    gap: Gap
    direction: int
    start: int
    stop: int

    @property
    def begin(self) -> int:
        """The frame of the gap with which a pass begins."""
        return self.gap.first if self.direction > 0 else self.gap.last

    def holds(self, frame: int) -> bool:
        """Whether the frame is part of the work."""
        return min(self.start, self.stop) <= frame <= max(self.start, self.stop)


@dataclass
class LivePass:
    """Where a pass stands: the gap, the next frame, and how many frames in a row the object was not seen."""

    key: GapKey
    next_frame: int
    unseen: int = 0


class Follower:
    """All passes of one direction (1 or -1)."""

    def __init__(
        self, segmenter: Segmenter, features: FeatureCache, desk: AnswerDesk, direction: int, expire_frames: int
    ) -> None:
        self.direction = direction
        self.memory = segmenter.start()
        self._segmenter = segmenter
        self._features = features
        self._desk = desk
        self._expire_frames = expire_frames
        self._live: dict[int, LivePass] = {}

    def next_frame(self, object_id: int, key: GapKey) -> int | None:
        """The frame with which the pass through this gap can go on, or None if it has to start."""
        live = self._live.get(object_id)
        return live.next_frame if live is not None and live.key == key else None

    def in_step(self, frame: int, runs: Sequence[Run]) -> bool:
        """Whether all runs that hold this frame begin with it or stand before it; else they have to be planned anew."""
        held = [run for run in runs if run.holds(frame)]
        return all(frame in (run.begin, self.next_frame(run.object_id, run.gap.key)) for run in held)

    def advance(self, frame: int, runs: Sequence[Run], book: ResultBook) -> None:
        """Follow the objects of all runs that hold this frame into it, and store what is found; see ``in_step``."""
        runs = [run for run in runs if run.holds(frame)]
        self._begin([run for run in runs if self.next_frame(run.object_id, run.gap.key) != frame])
        masks = self._masks(frame, [run for run in runs if not self._expired(run)])
        for run in runs:
            logits, score = masks.get(run.object_id, (None, 0.0))
            entry = NOTHING if logits is None else book.write(logits, score)
            book.put(run.gap, self.direction, frame, entry)
            self._note(run, frame, seen=logits is not None and bool((logits > 0).any()))

    def keep_only(self, timeline: Timeline) -> None:
        """Forget objects that are gone and passes through gaps that are gone."""
        keys = {i: {gap.key for gap in item.gaps} for i, item in timeline.objects.items()}
        gone = [i for i, live in self._live.items() if live.key not in keys.get(i, ())]
        self._forget(gone)

    def reset(self) -> None:
        """Forget everything."""
        self._live.clear()
        self.memory = self._segmenter.start()

    def _begin(self, runs: list[Run]) -> None:
        self._forget([run.object_id for run in runs])
        for run in runs:
            self._live[run.object_id] = LivePass(run.gap.key, run.start)
        for side in (-self.direction, self.direction):  # where the pass starts comes last: the object is there now
            self._remember({run.object_id: bound for run in runs if (bound := run.gap.anchor(side)) is not None})

    def _remember(self, bounds: dict[int, UserFrame]) -> None:
        masks: dict[int, dict[int, Tensor]] = {}
        for object_id, bound in bounds.items():
            masks.setdefault(bound.frame, {})[object_id] = self._desk.logits(bound)
        for frame, logits in sorted(masks.items()):
            self._segmenter.remember(self.memory, frame, self._desk.features(frame), logits, permanent=True)

    def _masks(self, frame: int, runs: list[Run]) -> dict[int, tuple[np.ndarray, float]]:
        """Mask logits [h4, w4] and scores by object id; nothing where the frame cannot be read."""
        features = self._features.get(frame) if runs else None
        if features is None:
            return {}
        answers = self._segmenter.follow(self.memory, frame, features, [run.object_id for run in runs])
        logits = {object_id: answer.mask_logits for object_id, answer in answers.items()}
        self._segmenter.remember(self.memory, frame, features, logits, permanent=False)
        arrays = to_array(torch.stack(list(logits.values())))
        return {i: (array, answers[i].score) for i, array in zip(logits, arrays, strict=True)}

    def _note(self, run: Run, frame: int, seen: bool) -> None:
        live = self._live[run.object_id]
        live.next_frame = frame + self.direction
        live.unseen = 0 if seen else live.unseen + 1
        if self._expired(run):
            self._segmenter.forget(self.memory, [run.object_id])

    def _expired(self, run: Run) -> bool:
        return run.gap.key.expires and self._live[run.object_id].unseen >= self._expire_frames

    def _forget(self, object_ids: list[int]) -> None:
        for object_id in object_ids:
            self._live.pop(object_id, None)
        if object_ids:
            self._segmenter.forget(self.memory, object_ids)


def plan(
    timeline: Timeline, book: ResultBook, follower: Follower, low: int, high: int, halves: bool, ends: bool
) -> list[Run]:
    """Runs of one direction that give the frames low..high (inclusive) the masks they lack.

    Gaps bounded on both sides are run wholly when ``halves`` (the first of the two passes), else up to the last frame
    asked for; open ends are run when ``ends``.
    """
    runs = []
    for object_id, item in timeline.objects.items():
        for gap in item.gaps:
            if gap.anchor(follower.direction) is not None and (gap.bounded or ends):
                run = _run(object_id, gap, book, follower, low, high, halves)
                runs.extend([] if run is None else [run])
    return runs


def _run(
    object_id: int, gap: Gap, book: ResultBook, follower: Follower, low: int, high: int, halves: bool
) -> Run | None:
    missing = book.missing(gap, low, high)
    if halves and gap.bounded and len(missing):
        missing = book.missing(gap, gap.first, gap.last, follower.direction)
    if not len(missing):
        return None
    direction = follower.direction
    near, far = (int(missing[0]), int(missing[-1]))[::direction]
    run = Run(object_id, gap, direction, near, far)
    going = follower.next_frame(object_id, gap.key)
    goes_on = going is not None and (near - going) * direction >= 0
    return replace(run, start=going if goes_on else run.begin)

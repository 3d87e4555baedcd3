"""Sweeps over the video that give every frame the masks it lacks.

Plain case: one sweep forwards from the user's frame, every frame encoded once. Where an object was prompted on several
frames, a first sweep from the other side leaves half the masks of each gap between them, and the second sweep fuses.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Literal

from univs.inference.discovery import Finder
from univs.inference.following import Follower, Run, plan
from univs.inference.results import ResultBook
from univs.inference.timeline import History

Direction = Literal["forward", "backward", "both"]
DIRECTIONS = ("forward", "backward", "both")


@dataclass(frozen=True)
class Sweep:
    """One way through the video.

    direction: 1 or -1. low, high: frames that shall have masks afterwards. first, last: frames given out, in the
    sweep's direction (first beyond last: none). halves: leave halves in bounded gaps, for the other direction to fuse.
    ends: also follow objects before their first or after their last user frame. finds: look for new objects.
    """

    direction: int
    low: int
    high: int
    first: int
    last: int
    halves: bool
    ends: bool
    finds: bool

    def outputs(self, output: int | None = None) -> int:
        """Frames that are still to be given out when ``output`` is the next one."""
        return max((self.last - (self.first if output is None else output)) * self.direction + 1, 0)


class Propagation:
    """Runs sweeps; every step holds the lock, so that prompts may come from another thread between two frames."""

    def __init__(
        self,
        history: History,
        book: ResultBook,
        followers: dict[int, Follower],
        finder: Finder,
        lock: threading.RLock,
    ) -> None:
        self._history = history
        self._book = book
        self._followers = followers
        self._finder = finder
        self._lock = lock

    def run(
        self,
        low: int,
        high: int,
        direction: Direction,
        cancel: threading.Event | None = None,
        on_step: Callable[[int, int], None] | None = None,
    ) -> Iterator[int]:
        """Yield the frames low..high (inclusive) in the order in which they are finished.

        on_step: called after every frame of every sweep with the number of such steps done and to do in all.
        """
        counter = _Counter(on_step)
        if direction != "forward":
            self._look_ahead(high, cancel)
        sweeps = self._sweeps(low, high, direction)
        for place, sweep in enumerate(sweeps):
            counter.later = sum(other.outputs() for other in sweeps[place + 1 :])
            yield from self._sweep(sweep, cancel, counter)

    def _sweeps(self, low: int, high: int, direction: Direction) -> list[Sweep]:
        forward = Sweep(1, low, high, low, high, halves=False, ends=True, finds=True)
        backward = Sweep(-1, low, high, high, low, halves=False, ends=True, finds=True)
        if direction != "both":
            return [forward if direction == "forward" else backward]
        middle = self._first_user_frame(low, high)
        return [replace(backward, first=middle - 1, halves=True), replace(forward, first=middle)]

    def _first_user_frame(self, low: int, high: int) -> int:
        firsts = [item.frames[0].frame for item in self._history.present.objects.values() if item.frames]
        return min(max(min(firsts, default=low), low), high)

    def _sweep(self, sweep: Sweep, cancel: threading.Event | None, counter: _Counter) -> Iterator[int]:
        position = output = sweep.first
        runs: list[Run] = []
        planned: dict | None = None
        while not (cancel is not None and cancel.is_set()):
            if self._history.present.objects is not planned:
                planned = self._history.present.objects
                yield from self._prepare(sweep, output, cancel, counter)
                with self._lock:
                    runs, position = self._plan(sweep, output)
                counter.expect(self._remaining(sweep, runs, position, output))
            if not self._remaining(sweep, runs, position, output):
                return
            with self._lock:
                if not self._followers[sweep.direction].in_step(position, runs):
                    planned = None  # another propagation or an edit moved the passes meanwhile
                    continue
                self._visit(sweep, position, runs)
            counter.step()
            if position == output and sweep.outputs(output):
                yield position
                output += sweep.direction
            position += sweep.direction

    def _prepare(self, sweep: Sweep, output: int, cancel: threading.Event | None, counter: _Counter) -> Iterator[int]:
        """Let the other direction leave its halves first; gives out no frame."""
        if sweep.halves:
            return
        other, low, high = -sweep.direction, sweep.low, sweep.high
        with self._lock:
            runs = plan(self._history.present, self._book, self._followers[other], low, high, halves=True, ends=False)
        if runs:
            none_out = (high + 1, high) if other > 0 else (low - 1, low)
            later, counter.later = counter.later, counter.later + sweep.outputs(output)
            yield from self._sweep(Sweep(other, low, high, *none_out, True, False, False), cancel, counter)
            counter.later = later

    def _plan(self, sweep: Sweep, output: int) -> tuple[list[Run], int]:
        """Runs of a sweep as the timeline is now, and the frame with which to begin."""
        timeline, follower = self._history.present, self._followers[sweep.direction]
        for each in self._followers.values():
            each.keep_only(timeline)
        runs = plan(timeline, self._book, follower, sweep.low, sweep.high, sweep.halves, sweep.ends)
        starts = [run.start for run in runs]
        if sweep.outputs(output):
            starts.append(output)
        if sweep.finds and sweep.direction > 0:
            starts.extend(item.searched for item in timeline.objects.values() if item.sought)
        return runs, min(starts, key=lambda frame: frame * sweep.direction, default=sweep.last + sweep.direction)

    @staticmethod
    def _remaining(sweep: Sweep, runs: list[Run], position: int, output: int) -> int:
        """Frames still to be visited, the one at ``position`` included."""
        stops = [run.stop for run in runs] + ([sweep.last] if sweep.outputs(output) else [])
        return max([0] + [(stop - position) * sweep.direction + 1 for stop in stops])

    def _visit(self, sweep: Sweep, frame: int, runs: list[Run]) -> None:
        self._followers[sweep.direction].advance(frame, runs, self._book)
        if sweep.finds:
            self._find(frame, sentences=sweep.direction > 0, categories=sweep.low <= frame <= sweep.high)

    def _find(self, frame: int, sentences: bool, categories: bool) -> None:
        before = timeline = self._history.present
        if sentences:
            timeline = self._finder.sentences(timeline, frame)
        if categories:
            timeline = self._finder.categories(timeline, frame)
        if timeline is not before:
            self._history.amend(timeline)

    def _look_ahead(self, high: int, cancel: threading.Event | None) -> None:
        """Look for sentences from frame 0 on, before sweeps that do not come past in that order."""
        frame = 0
        while any(item.sought for item in self._history.present.objects.values()) and frame <= high:
            if cancel is not None and cancel.is_set():
                return
            with self._lock:
                self._find(frame, sentences=True, categories=False)
            frame += 1


class _Counter:
    """Steps done and to do, told to whoever asked. ``later``: steps that come after the sweep that is running."""

    def __init__(self, on_step: Callable[[int, int], None] | None) -> None:
        self.later = 0
        self._done = 0
        self._total = 0
        self._on_step = on_step

    def expect(self, remaining: int) -> None:
        """So many steps are left of the sweep that is running."""
        self._total = self._done + remaining + self.later

    def step(self) -> None:
        """One more step is done."""
        self._done += 1
        if self._on_step is not None:
            self._on_step(self._done, max(self._total, self._done))

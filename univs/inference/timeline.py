"""What the user has said so far, as immutable data: objects, the frames where each was prompted, category searches.

Between two neighbouring user frames of an object lies a gap. A gap is named by the contents of the user frames that
bound it, and the object's masks in it depend on nothing else; so a gap that comes back (after an undo) finds its masks
again.
"""

from __future__ import annotations

from collections.abc import Container, Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import NamedTuple

from univs.inference.canonical import VISUAL_KINDS, canonical, digest, to_plain
from univs.structures import MaskPrompt, Prompt, TextPrompt


@dataclass(frozen=True)
class UserFrame:
    """All prompts of one object on one frame, in canonical form.

    base: the mask that the object had there before the first of them, or the mask that a category search or a merge put
    there. Without prompts the base is the mask.
    """

    frame: int
    prompts: tuple[Prompt, ...] = ()
    base: MaskPrompt | None = None

    @cached_property
    def digest(self) -> str:
        """Name of the contents."""
        base = None if self.base is None else to_plain(self.base)
        return digest(self.frame, [to_plain(prompt) for prompt in self.prompts], base)

    @property
    def confirmed(self) -> bool:
        """Whether the user pointed at something here (a sentence alone or a found mask is no confirmation)."""
        return any(prompt.kind in VISUAL_KINDS for prompt in self.prompts)

    @property
    def exact(self) -> MaskPrompt | None:
        """The mask that was given whole, pixel by pixel, or None where a model answers."""
        if not self.prompts:
            return self.base
        only = self.prompts[0] if len(self.prompts) == 1 else None
        return only if isinstance(only, MaskPrompt) else None

    def adding(self, prompt: Prompt) -> UserFrame:
        """The same frame with one prompt more."""
        return replace(self, prompts=canonical((*self.prompts, prompt)))


class GapKey(NamedTuple):
    """Name of a gap: digests of the user frames left and right of it (None: open), whether its object may expire."""

    left: str | None
    right: str | None
    expires: bool


@dataclass(frozen=True)
class Gap:
    """The frames first..last (inclusive; last None: to the end) between two user frames of an object."""

    key: GapKey
    left: UserFrame | None
    right: UserFrame | None

    @property
    def first(self) -> int:
        """First frame of the gap."""
        return 0 if self.left is None else self.left.frame + 1

    @property
    def last(self) -> int | None:
        """Last frame of the gap; None when it is open."""
        return None if self.right is None else self.right.frame - 1

    @property
    def bounded(self) -> bool:
        """Whether there is a user frame on both sides."""
        return self.left is not None and self.right is not None

    def anchor(self, direction: int) -> UserFrame | None:
        """The user frame from which a pass in ``direction`` (1 or -1) starts."""
        return self.left if direction > 0 else self.right

    def weight(self, frame: int) -> float:
        """Share of the right side in a frame of a bounded gap, linear in time."""
        return (frame - self.left.frame) / (self.right.frame - self.left.frame)


@dataclass(frozen=True)
class TrackedObject:
    """One object.

    frames: its user frames in order of time. sentences: texts that have no frame yet. searched: the first
    frame in which the sentences were not looked for yet. replaced: gaps that newer prompts divided, newest first;
    their masks are shown until new ones are computed. discovered: found by a category search, with ``score``.
    """

    object_id: int
    name: str | None = None
    category: str | None = None
    score: float | None = None
    discovered: bool = False
    frames: tuple[UserFrame, ...] = ()
    sentences: tuple[TextPrompt, ...] = ()
    searched: int = 0
    replaced: tuple[GapKey, ...] = ()

    @cached_property
    def user_frames(self) -> dict[int, UserFrame]:
        """User frames by number; sentences without a frame belong to the first one."""
        out = {item.frame: item for item in self.frames}
        if self.frames and self.sentences:
            first = self.frames[0]
            out[first.frame] = replace(first, prompts=canonical((*first.prompts, *self.sentences)))
        return out

    @property
    def sought(self) -> bool:
        """Whether only sentences without a frame are known, which have to be looked for."""
        return bool(self.sentences) and not self.frames

    @cached_property
    def gaps(self) -> tuple[Gap, ...]:
        """Gaps between user frames that have at least one frame, in order of time."""
        bounds = [None, *self.user_frames.values(), None]
        pairs = zip(bounds, bounds[1:], strict=False)
        gaps = (Gap(self._key(a, b), a, b) for a, b in pairs if a is not None or b is not None)
        return tuple(gap for gap in gaps if gap.last is None or gap.first <= gap.last)

    def gap_at(self, frame: int) -> Gap | None:
        """The gap that holds a frame, None at user frames and for objects without any."""
        for gap in self.gaps:
            if gap.first <= frame and (gap.last is None or frame <= gap.last):
                return gap
        return None

    def with_frames(self, frames: Iterable[UserFrame], **changes: object) -> TrackedObject:
        """The object with other user frames; gaps that exist no more are noted as replaced."""
        out = replace(self, frames=tuple(sorted(frames, key=lambda item: item.frame)), **changes)
        present = {gap.key for gap in out.gaps}
        vanished = [gap.key for gap in self.gaps if gap.key not in present]
        older = [key for key in self.replaced if key not in present]
        return replace(out, replaced=tuple(dict.fromkeys((*vanished, *older))))

    def with_frame(self, item: UserFrame) -> TrackedObject:
        """The object with one user frame added or changed."""
        return self.with_frames([*(other for other in self.frames if other.frame != item.frame), item])

    def _key(self, left: UserFrame | None, right: UserFrame | None) -> GapKey:
        return GapKey(left and left.digest, right and right.digest, self.discovered)


@dataclass(frozen=True)
class CategorySearch:
    """A wish to find all objects of some categories in the first frame that comes and in every ``every``-th one.

    done: frames searched already. found: whether any was ever seen.
    """

    names: tuple[str, ...]
    every: int
    done: frozenset[int] = frozenset()
    found: bool = False

    def due(self, frame: int) -> bool:
        """Whether this frame has to be searched."""
        return not self.done or (frame % self.every == 0 and frame not in self.done)


@dataclass(frozen=True)
class Timeline:
    """Everything the user said: objects by id, category searches, and the next free id (ids are never used twice)."""

    objects: dict[int, TrackedObject] = field(default_factory=dict)
    searches: tuple[CategorySearch, ...] = ()
    next_id: int = 1

    def with_object(self, item: TrackedObject) -> Timeline:
        """With one object added or changed."""
        objects = dict(sorted({**self.objects, item.object_id: item}.items()))
        return replace(self, objects=objects, next_id=max(self.next_id, item.object_id + 1))

    def without_object(self, object_id: int) -> Timeline:
        """Without one object."""
        return replace(self, objects={i: item for i, item in self.objects.items() if i != object_id})

    def showing(self, gaps: Container[GapKey]) -> Timeline:
        """The timeline without replaced gaps that are not among ``gaps``: there is nothing to show of them."""
        objects = dict(self.objects)
        for object_id, item in self.objects.items():
            shown = tuple(key for key in item.replaced if key in gaps)
            if shown != item.replaced:
                objects[object_id] = replace(item, replaced=shown)
        return replace(self, objects=objects)

    @property
    def gap_keys(self) -> set[GapKey]:
        """Names of all gaps that are or were shown."""
        items = self.objects.values()
        return {gap.key for item in items for gap in item.gaps} | {key for item in items for key in item.replaced}

    @property
    def digests(self) -> set[str]:
        """Names of all user frames."""
        return {frame.digest for item in self.objects.values() for frame in item.user_frames.values()}


class History:
    """The present timeline with the ones before it (undo) and after it (redo)."""

    def __init__(self, limit: int) -> None:
        self.present = Timeline()
        self._limit = limit
        self._past: list[Timeline] = []
        self._future: list[Timeline] = []

    def commit(self, timeline: Timeline) -> None:
        """Make a user's edit the present; it can be undone."""
        self._past = [*self._past, self.present][-self._limit :]
        self.present, self._future = timeline, []

    def amend(self, timeline: Timeline) -> None:
        """Change the present by what was found while propagating; this is no step of its own."""
        self.present = timeline

    def restart(self, timeline: Timeline) -> None:
        """Begin with another timeline; nothing before it can be undone."""
        self.present, self._past, self._future = timeline, [], []

    def undo(self) -> bool:
        """Go one edit back; False if there is none."""
        if not self._past:
            return False
        self._future.append(self.present)
        self.present = self._past.pop()
        return True

    def redo(self) -> bool:
        """Take back the last undo; False if there is none."""
        if not self._future:
            return False
        self._past.append(self.present)
        self.present = self._future.pop()
        return True

    @property
    def all(self) -> list[Timeline]:
        """Every timeline that can still become the present."""
        return [*self._past, self.present, *self._future]

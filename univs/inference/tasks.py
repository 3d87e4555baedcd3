"""Tasks as data: what starts an object, how the session is set, what is written. All else is the same for all."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from univs.errors import UserError
from univs.inference.settings import SessionSettings


@dataclass(frozen=True)
class Task:
    """One task.

    seeds: kinds of prompt that start objects ("category" for a category search). changes: session settings that differ
    from the defaults. single_frame: only one frame is asked for. tracks: the results are wanted as tracks, too.
    clips: only models that see clips, such as the published ones, do it.
    """

    name: str
    title: str
    seeds: frozenset[str]
    changes: dict[str, float] = field(default_factory=dict)
    single_frame: bool = False
    tracks: bool = False
    clips: bool = False

    def settings(self, base: SessionSettings | None = None) -> SessionSettings:
        """The session settings of the task."""
        return replace(base or SessionSettings(), **self.changes)

    def check(self, kinds: Iterable[str]) -> None:
        """Whether objects can start from these kinds of prompt; UserError when none of them fits."""
        if not self.seeds & set(kinds):
            raise UserError(
                f"The task {self.name} ({self.title}) starts from {_listed(self.seeds)}; give at least one."
            )


_VISUAL = frozenset({"point", "box", "mask", "scribble"})
_ALL = _VISUAL | {"text", "category"}

TASKS = {
    task.name: task
    for task in (
        Task("any", "whatever is prompted", _ALL),
        Task("interactive", "clicks, boxes and scribbles, in rounds", _VISUAL),
        Task("vos", "follow given masks", frozenset({"mask"})),
        Task("rvos", "follow what sentences describe", frozenset({"text"})),
        Task("vis", "find and follow all objects of some categories", frozenset({"category"}), tracks=True),
        Task("pvos", "follow given masks of things and surfaces", frozenset({"mask"}), clips=True),
        Task("vps", "divide every frame into things and surfaces", frozenset({"category"}), clips=True),
        Task("vss", "give every pixel a category", frozenset({"category"}), clips=True),
        Task("image", "one frame", _ALL, {"text_interval": 1, "discovery_interval": 1}, single_frame=True),
    )
}


def find_task(name: str) -> Task:
    """The task of a name; UserError when there is none."""
    if name not in TASKS:
        raise UserError(f"There is no task {name!r}; the tasks are {_listed(TASKS)}.")
    return TASKS[name]


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))

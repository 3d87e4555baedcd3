"""What is wrong with a submission, said once per kind of mistake however often it was made."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

SHOWN_PER_KIND = 3
SHOWN_NAMES = 4


@dataclass(frozen=True)
class Problem:
    """One mistake: which kind, where and what was expected, and how to mend it (the same for all of a kind).

    note: the servers may take it as it is.
    """

    kind: str
    text: str
    mend: str
    note: bool = False


def lines_of(problems: Iterable[Problem]) -> Iterator[str]:
    """The problems as lines: the first of each kind, how many more there are, and how to mend them."""
    kinds: dict[str, list[Problem]] = {}
    for problem in problems:
        kinds.setdefault(problem.kind, []).append(problem)
    for kind, same in kinds.items():
        yield f"{'note' if same[0].note else 'wrong'}: {kind} ({len(same)})"
        yield from (f"  {problem.text}" for problem in same[:SHOWN_PER_KIND])
        if len(same) > SHOWN_PER_KIND:
            yield f"  ... and {len(same) - SHOWN_PER_KIND} more"
        yield f"  to mend it: {same[0].mend}"


def some_of(names: Sequence[object]) -> str:
    """The first few names, and how many more there are."""
    shown = ", ".join(map(str, names[:SHOWN_NAMES]))
    return shown + (f" and {len(names) - SHOWN_NAMES} more" if len(names) > SHOWN_NAMES else "")

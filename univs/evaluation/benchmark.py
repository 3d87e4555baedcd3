"""What a benchmark is to the scorer: a list of sequences, figures of each, and a summary over all of them.

The parts of a sequence are plain data (arrays, numbers, texts), so that they travel between processes, are kept on
disk while a long scoring runs, and give the same summary bit for bit whoever computed them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

Parts: TypeAlias = dict[str, "np.ndarray | float | int | str | list | dict | None"]


class BrokenSequence(ValueError):
    """A sequence whose files cannot be scored: one sentence with file, frame and what was expected there.

    The scorer names and counts such a sequence and goes on with the next.
    """


@dataclass(frozen=True)
class Summary:
    """What a benchmark says in the end.

    ``figures`` holds every number under the names that the official program gives it (nested as there; NaN where the
    official program divides 0 by 0); ``corrected`` the values that the official program gets plainly wrong, under
    names of their own; ``table`` is the benchmark's own short table as (name, value) in its units; ``objects`` one row
    of figures per sequence and object (or category).
    """

    figures: dict[str, Any]
    table: list[tuple[str, float]]
    corrected: dict[str, Any] = field(default_factory=dict)
    objects: list[dict[str, Any]] = field(default_factory=list)


class Scoring(ABC):
    """One set of predictions against one ground truth. Instances are picklable and cheap to make.

    each_alone: a table over one sequence alone says something and costs little; not so for pictures by the thousand.
    """

    each_alone: bool = True

    @abstractmethod
    def sequences(self) -> list[str]:
        """Names of the sequences that the ground truth expects, in the benchmark's order."""

    def own_files(self, sequence: str) -> Sequence[Path]:
        """Files, and folders with all that is in them, that concern single sequences and this one among them.

        What no sequence calls its own concerns all of them: if it changes, an interrupted scoring starts anew.
        """
        return ()

    @abstractmethod
    def measure(self, sequence: str) -> Parts:
        """Everything that the summary needs of one sequence; depends on that sequence's files alone.

        Raises BrokenSequence.
        """

    @abstractmethod
    def summarise(self, measured: Mapping[str, Parts]) -> Summary:
        """Figures over the measured sequences, in the order of ``sequences()`` whatever the order of the mapping."""


class Benchmark(ABC):
    """An entry of ``univs score --list``."""

    name: str
    summary: str
    predictions_layout: str
    truth_layout: str
    official: str  # the official evaluator that is followed
    options: Mapping[str, Any] = {}  # option name -> default value; documented in ``option_help``
    option_help: Mapping[str, str] = {}

    @abstractmethod
    def open(self, predictions: Path, truth: Path, options: Mapping[str, Any]) -> Scoring:
        """Look at both (folders or files; archives are unpacked before). ``options`` holds every option.

        Raises UserError where a layout is not the benchmark's.
        """

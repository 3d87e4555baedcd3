"""Score a whole layout as the scorer does, sequences that cannot be scored set aside with what is said of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from univs.errors import UserError
from univs.evaluation.benchmark import Benchmark, BrokenSequence, Summary


def attempt(
    benchmark: Benchmark, predictions: Path, truth: Path, **options: Any
) -> tuple[Summary | None, dict[str, str]]:
    """The summary over the sequences that can be scored (None without any), and the others with their reasons."""
    scoring = benchmark.open(predictions, truth, {**benchmark.options, **options})
    measured, broken = {}, {}
    for sequence in scoring.sequences():
        try:
            measured[sequence] = scoring.measure(sequence)
        except BrokenSequence as error:
            broken[sequence] = str(error)
    return (scoring.summarise(measured) if measured else None), broken


def reasons(benchmark: Benchmark, predictions: Path, truth: Path, **options: Any) -> list[str]:
    """What is said of a layout, or of its sequences, that cannot be scored; nothing where all can."""
    try:
        return list(attempt(benchmark, predictions, truth, **options)[1].values())
    except UserError as error:
        return [str(error)]

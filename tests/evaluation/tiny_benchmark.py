"""A benchmark that one sees through: a sequence is a text file of numbers, its score the mean of their errors."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from univs.errors import UserError
from univs.evaluation.benchmark import Benchmark, BrokenSequence, Parts, Scoring, Summary


class NumberScoring(Scoring):
    def __init__(self, predictions: Path, truth: Path, weight: float) -> None:
        self.predictions, self.truth, self.weight = predictions, truth, weight

    def sequences(self) -> list[str]:
        return sorted(path.stem for path in self.truth.glob("*.txt"))

    def own_files(self, sequence: str) -> Sequence[Path]:
        return self.predictions / f"{sequence}.txt", self.truth / f"{sequence}.txt"

    def measure(self, sequence: str) -> Parts:
        text = self._text(sequence)
        if text == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if text == "bug":
            raise ZeroDivisionError("nobody thought of this")
        if text == "package":
            raise ModuleNotFoundError("no such package", name="a-package")
        if text == "mistake":
            raise UserError("all.json is no JSON.")
        found = np.array([float(word) for word in text.split()])
        right = np.array([float(word) for word in (self.truth / f"{sequence}.txt").read_text().split()])
        if found.shape != right.shape:
            raise BrokenSequence(f"{sequence}.txt has {len(found)} numbers; {len(right)} are expected.")
        return {"errors": (found - right) * self.weight, "count": len(right), "by frame": {0: found[0], 1: None}}

    def _text(self, sequence: str) -> str:
        path = self.predictions / f"{sequence}.txt"
        if not path.exists():
            raise BrokenSequence(f"{path.name} is missing; one file per sequence is expected.")
        return path.read_text().strip()

    def summarise(self, measured: Mapping[str, Parts]) -> Summary:
        names = [name for name in self.sequences() if name in measured]
        errors = np.concatenate([measured[name]["errors"] for name in names])
        figures = {"mean": float(np.mean(errors)), "none": float("nan"), "first": measured[names[0]]["by frame"][0]}
        rows = [{"sequence": name, "count": measured[name]["count"], "gap": float("nan")} for name in names]
        return Summary(figures, [("mean", figures["mean"])], {"mean as it should be": 0.5}, rows)


class Numbers(Benchmark):
    name = "numbers"
    summary = "Numbers in text files."
    predictions_layout = "<sequence>.txt"
    truth_layout = "<sequence>.txt, too"
    official = "none, this is a test"
    options = {"weight": 1.0, "strict": False, "windows": (1, 2), "names": []}
    option_help = {"weight": "what errors are multiplied with"}

    def open(self, predictions: Path, truth: Path, options: Mapping[str, Any]) -> NumberScoring:
        if not truth.is_dir():
            raise UserError(f"{truth} is no folder.")
        return NumberScoring(predictions, truth, options["weight"])


def write_numbers(folder: Path, count: int = 6) -> tuple[Path, Path]:
    """Predictions and truth of ``count`` sequences under ``folder``."""
    generator = np.random.default_rng(0)
    for kind in ("predictions", "truth"):
        (folder / kind).mkdir(parents=True)
        for index in range(count):
            numbers = generator.standard_normal(index + 2)
            (folder / kind / f"s{index}.txt").write_text(" ".join(map(repr, map(float, numbers))))
    return folder / "predictions", folder / "truth"

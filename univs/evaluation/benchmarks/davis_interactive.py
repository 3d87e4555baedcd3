"""DAVIS interactive: quality over time from the report of a session."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from univs.errors import UserError
from univs.evaluation.annotations import member
from univs.evaluation.benchmark import Benchmark, BrokenSequence, Parts, Scoring, Summary
from univs.evaluation.layouts import json_file
from univs.evaluation.metrics.interactive_curve import COLUMNS, InteractiveCurve, Limits, Sample

KEYS = ("scribble_idx", "interaction", "object_id")
REPORT, SEQUENCES = "report.csv", "sequences.json"
MOST = 1000
"""Scribbles, interactions or objects of a sequence."""


@lru_cache(maxsize=2)
def _rows_of(report: Path, changed: int) -> dict[str, list[tuple[int, dict[str, str]]]]:
    """Rows of a report by sequence, with their line numbers."""
    with report.open(newline="") as file:
        reader = csv.DictReader(file)
        missing = {"sequence", *KEYS, *COLUMNS} - set(reader.fieldnames or ())
        if missing:
            raise UserError(f"{report} has no column {', '.join(sorted(missing))}; expected the report of a session.")
        found: dict[str, list[tuple[int, dict[str, str]]]] = {}
        for row in reader:
            found.setdefault(row["sequence"], []).append((reader.line_num, row))
    return found


class SessionReport(Scoring):
    """The rows of a report: one per sequence, scribbles, interaction, object and frame."""

    each_alone = False

    def __init__(self, report: Path, sequences: Path, limits: Limits) -> None:
        self.report, self.list, self.limits = report, sequences, limits
        unknown = set(self._rows()) - set(self.sequences())
        if unknown:
            raise UserError(f"{report} has rows of {', '.join(sorted(unknown))}, which {sequences} does not list.")

    def _rows(self) -> dict[str, list[tuple[int, dict[str, str]]]]:
        try:
            return _rows_of(self.report, self.report.stat().st_mtime_ns)
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise UserError(f"{self.report} cannot be read as a CSV table: {error}.") from error

    def sequences(self) -> list[str]:
        """The sequences that a session goes through."""
        return list(json_file(self.list))

    def measure(self, sequence: str) -> Parts:
        """Keys [K, 3] and values [K, 4] of the rows; none where the session did not come to the sequence.

        Raises:
            BrokenSequence: a cell that is no number, or none from 1 on.
        """
        keys, values = [], []
        for line, row in self._rows().get(sequence, ()):
            try:
                keys.append([int(row[name]) for name in KEYS])
                values.append([float(row[name]) for name in COLUMNS])
                sound = all(math.isfinite(value) for value in values[-1])
            except (TypeError, ValueError):
                sound = False
            if not sound:
                frame = row.get("frame")
                raise BrokenSequence(
                    f"Line {line} of {self.report} (frame {frame}) has a cell that is no number, {row}."
                )
            for name, number in zip(KEYS, keys[-1], strict=True):
                if not 0 < number <= MOST:
                    raise BrokenSequence(
                        f"Line {line} of {self.report} has {name} = {number} where 1 to {MOST} are expected."
                    )
        return {"keys": np.array(keys, np.int64).reshape(-1, 3), "values": np.array(values).reshape(-1, len(COLUMNS))}

    def summarise(self, measured: Mapping[str, Parts]) -> Summary:
        """The curves of J&F, J and F, the areas under them, and the quality at the threshold."""
        present = [sequence for sequence in self.sequences() if sequence in measured]
        metric = InteractiveCurve({sequence: self._sample(sequence) for sequence in present}, self.limits)
        for sequence in present:
            metric.update(sequence, measured[sequence]["keys"], measured[sequence]["values"])
        figures = metric.compute()
        forward = metric.areas_forward_in_time()
        threshold = f"{self.limits.threshold:g} s"
        table = [(f"AUC {name}", own["auc"]) for name, own in figures.items()]
        table += [(f"{name} at {threshold}", own["metric_at_threshold"][name]) for name, own in figures.items()]
        return Summary(figures, table, {"auc_forward_in_time": forward})

    def _sample(self, sequence: str) -> Sample:
        where = f"{sequence} in {self.list}"
        entry = json_file(self.list)[sequence]
        numbers = {name: member(entry, name, int, where) for name in ("num_scribbles", "num_objects")}
        for name, number in numbers.items():
            if not 0 < number <= MOST:
                raise UserError(f"{where} has {name} = {number} where 1 to {MOST} are expected.")
        return Sample(*numbers.values())


class DavisInteractive(Benchmark):
    """Objects marked by a robot that scribbles where the result is worst."""

    name = "davis-interactive"
    summary = "DAVIS interactive: area under the curve of J&F over time and J&F at 60 s, from a session's report"
    predictions_layout = "report.csv of the session (or a folder with it)"
    truth_layout = 'sequences.json: {SEQUENCE: {"num_scribbles": ..., "num_objects": ...}} (or a folder with it)'
    official = "albertomontesg/davis-interactive EvaluationService.summarize_report (1fdb0c8)"
    options: Mapping[str, Any] = {"interactions": 0, "seconds_per_object": 0.0, "threshold": 60.0}
    option_help = {
        "interactions": "most interactions per sample; 0: as many as the report has",
        "seconds_per_object": "time limit per object and sample; 0: none",
        "threshold": "seconds at which the quality is read from the curve",
    }

    def open(self, predictions: Path, truth: Path, options: Mapping[str, Any]) -> SessionReport:
        """A scoring of the report. Raises UserError where a file is missing or no report."""
        report = predictions / REPORT if predictions.is_dir() else predictions
        sequences = truth / SEQUENCES if truth.is_dir() else truth
        limits = Limits(options["interactions"] or None, options["seconds_per_object"] or None, options["threshold"])
        return SessionReport(report, sequences, limits)

"""What a scoring says: a table on the screen, results.json, and tables per sequence and per object as CSV."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from univs.evaluation.fingerprints import versions
from univs.evaluation.scoring import Outcome
from univs.video.files import written_whole

FORMAT = "univs-scores"
VERSION = 1
WIDEST_TABLE = 110
MOST_NAMED = 20
"""Broken sequences that are named on the screen; results.json has all of them."""


def write_report(outcome: Outcome) -> dict[str, Path]:
    """Write results.json, sequences.csv and objects.csv (where there are objects); returns their paths by name.

    Raises:
        UserError: a file cannot be written.
    """
    folder = outcome.request.output
    paths = {"results": folder / "results.json", "sequences": folder / "sequences.csv"}
    rows = outcome.summary.objects if outcome.summary else []
    write_csv(paths["sequences"], sequence_rows(outcome))
    if rows:
        paths["objects"] = folder / "objects.csv"
        write_csv(paths["objects"], rows)
    else:
        (folder / "objects.csv").unlink(missing_ok=True)  # an earlier scoring's
    with written_whole(paths["results"]) as partial:
        partial.write_text(json.dumps(record_of(outcome), ensure_ascii=False, indent=1, allow_nan=False) + "\n")
    return paths


def record_of(outcome: Outcome) -> dict[str, Any]:
    """The content of results.json: plain JSON, null where a figure is not a number."""
    request, summary = outcome.request, outcome.summary
    record = {
        "format": FORMAT,
        "version": VERSION,
        "benchmark": request.benchmark.name,
        "official": request.benchmark.official,
        "predictions": str(request.predictions),
        "truth": str(request.truth),
        "options": outcome.options,
        "complete": outcome.complete,
        "sequences": {
            "expected": len(outcome.expected),
            "scored": len(outcome.expected) - len(outcome.broken),
            "broken": outcome.broken,
        },
        "table": dict(summary.table) if summary else None,
        "corrected": summary.corrected if summary else None,
        "figures": summary.figures if summary else None,
        "versions": versions(),
    }
    return plain(record)


def plain(value: Any) -> Any:
    """A value as JSON: keys are texts, arrays lists, and what is not a finite number null."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, bool | int | str) else str(value)


def sequence_rows(outcome: Outcome) -> Iterator[dict[str, Any]]:
    """One row per expected sequence: whether it was scored, the benchmark's table over it alone, or what is wrong."""
    for sequence in outcome.expected:
        problem = outcome.broken.get(sequence)
        row = {"sequence": sequence, "status": "broken" if problem else "scored"}
        yield row | dict(outcome.own_tables.get(sequence, ())) | ({"problem": problem} if problem else {})


def write_csv(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write rows under all column names that occur, in the order in which they do; NaN is an empty field.

    Raises:
        UserError: the file cannot be written.
    """
    rows = [plain(row) for row in rows]
    columns = list(dict.fromkeys(name for row in rows for name in row))
    with written_whole(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)


def text_of(outcome: Outcome) -> Iterator[str]:
    """Lines for the screen: the table, the corrected figures, and how much was scored."""
    expected, scored = len(outcome.expected), len(outcome.expected) - len(outcome.broken)
    yield f"{outcome.request.benchmark.name}: {scored} of {expected} sequences"
    if outcome.summary is None:
        return
    yield from table_lines(outcome.summary.table)
    corrected = outcome.summary.corrected
    numbers = [(name, value) for name, value in corrected.items() if isinstance(value, int | float | np.number)]
    others = [name for name, value in corrected.items() if isinstance(value, Mapping)]
    if corrected:
        yield "Corrected, where the official program is plainly wrong:"
        yield from table_lines(numbers)
        yield from (f"  {name}: many figures, see results.json" for name in others)


def problem_lines(outcome: Outcome) -> Iterator[str]:
    """One line for each of the first broken sequences, with the reason."""
    for sequence, problem in list(outcome.broken.items())[:MOST_NAMED]:
        yield f"{sequence}: {problem}"
    if len(outcome.broken) > MOST_NAMED:
        yield f"... and {len(outcome.broken) - MOST_NAMED} more, see results.json"


def table_lines(table: Sequence[tuple[str, float]]) -> list[str]:
    """A table in two lines, names over values; one line per value where it would be too wide."""
    if not table:
        return []
    digits = 4 if all(abs(value) <= 1 for _, value in table if not math.isnan(value)) else 2
    pairs = [(name, str(value) if isinstance(value, int) else f"{value:.{digits}f}") for name, value in table]
    widths = [max(map(len, pair)) for pair in pairs]
    if sum(widths) + 2 * len(widths) > WIDEST_TABLE:
        wide = max(len(name) for name, _ in pairs)
        return [f"  {name:<{wide}}  {value:>8}" for name, value in pairs]
    return ["".join(f"  {pair[line]:>{wide}}" for pair, wide in zip(pairs, widths, strict=True)) for line in (0, 1)]

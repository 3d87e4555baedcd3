"""The work of ``univs score``: look the benchmark up, score, report."""

from __future__ import annotations

import argparse
import sys
import textwrap
from pathlib import Path

from univs.cli.progress import Progress
from univs.errors import UserError
from univs.evaluation.benchmark import Benchmark
from univs.evaluation.benchmarks import benchmark_names, find_benchmark
from univs.evaluation.report import problem_lines, text_of, write_report
from univs.evaluation.scoring import Outcome, Request, parse_options, score

WRITTEN = {
    "results": "all figures, options and versions as JSON",
    "sequences": "one line per sequence",
    "objects": "one line per object or category",
}


def score_predictions(arguments: argparse.Namespace) -> int:
    """Score the predictions; returns the exit code."""
    request = _request(arguments)
    with Progress("Scoring", "sequences") as progress:
        try:
            outcome = score(request, progress)
        except KeyboardInterrupt:
            progress.close()
            print("univs: what is measured is kept; the same command goes on there.", file=sys.stderr)
            raise
    _report(outcome)
    return outcome.exit_code(arguments.allow_missing)


def _request(arguments: argparse.Namespace) -> Request:
    if arguments.benchmark is None:
        raise UserError(f"Name a benchmark: {', '.join(benchmark_names())}.")
    benchmark = find_benchmark(arguments.benchmark)
    for name in ("predictions", "truth"):
        if getattr(arguments, name) is None:
            raise UserError(f"--{name} PATH is missing: {getattr(benchmark, f'{name}_layout')}")
    if arguments.jobs < 1:
        raise UserError(f"--jobs {arguments.jobs} is not a number of processes; give 1 or more.")
    return Request(
        benchmark,
        Path(arguments.predictions),
        Path(arguments.truth),
        Path(arguments.output or Path("output") / f"score-{benchmark.name}"),
        parse_options(benchmark, arguments.option),
        arguments.jobs,
    )


def _report(outcome: Outcome) -> None:
    """Print the table, what is broken and what was written."""
    if outcome.resumed:
        print(f"{outcome.resumed} sequences had been measured before.")
    for line in problem_lines(outcome):
        print(f"univs: not scored: {line}", file=sys.stderr)
    for line in text_of(outcome):
        print(line)
    paths = write_report(outcome)
    print(f"Wrote to {outcome.request.output}:")
    for what, path in paths.items():
        print(f"  {path.name:<14} {WRITTEN[what]}")


def list_benchmarks(name: str | None) -> int:
    """Print what the benchmarks (or one of them) want and give."""
    names = [name] if name else benchmark_names()
    print("\n\n".join(describe(find_benchmark(each)) for each in names))
    return 0


def describe(benchmark: Benchmark) -> str:
    """What a benchmark wants and gives, in a few lines."""
    rows = [
        ("predictions", benchmark.predictions_layout),
        ("truth", benchmark.truth_layout),
        ("official", benchmark.official),
        *(
            ("option", f"{option}={_written(value)}: {benchmark.option_help.get(option, '')}")
            for option, value in benchmark.options.items()
        ),
    ]
    lines = [f"{benchmark.name}: {benchmark.summary}"]
    for label, text in rows:
        lines += textwrap.wrap(text, 116, initial_indent=f"  {label:<13}", subsequent_indent=" " * 15)
    return "\n".join(lines)


def _written(value: object) -> str:
    """A default value as it is written on the command line."""
    if isinstance(value, bool):
        return str(value).lower()
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)

"""``univs score``: score predictions of any program as the benchmark does.

Nothing heavy is imported here, so that ``--help`` answers at once; the work is done in ``scoring.py``.
"""

from __future__ import annotations

import argparse

SUMMARY = "Score predictions, whoever made them, with the figures of the benchmark's official evaluator."
EXAMPLES = """examples:
  univs score --list
  univs score BENCHMARK --predictions results.zip --truth annotations/
  univs score BENCHMARK --predictions results/ --truth annotations/ --jobs 8 --output output/scores
  univs score BENCHMARK --predictions results/ --truth annotations/ --option NAME=VALUE --allow-missing

Predictions are a folder, a file or a zip file in the benchmark's own layout, which --list BENCHMARK describes. The
output folder gets results.json (all figures, versions, options), sequences.csv and objects.csv. A sequence that cannot
be scored is named, and the exit code is 1. Interrupted, the same command goes on at the next sequence."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("benchmark", nargs="?", metavar="BENCHMARK", help="name of the benchmark, see --list")
    parser.add_argument("--list", action="store_true", help="say what each benchmark (or BENCHMARK) wants and gives")
    parser.add_argument("--predictions", metavar="PATH", help="predictions in the benchmark's layout")
    parser.add_argument("--truth", metavar="PATH", help="ground truth as the benchmark publishes it")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="processes that measure (default: 1)")
    parser.add_argument("--output", metavar="DIR", help="folder of the report (default: output/score-<benchmark>)")
    parser.add_argument("--allow-missing", action="store_true", help="exit with 0 though sequences cannot be scored")
    parser.add_argument(
        "--option", action="append", default=[], metavar="NAME=VALUE", help="option of the benchmark; may be repeated"
    )


def run(arguments: argparse.Namespace) -> int:
    """Score, or list the benchmarks; returns the exit code, 1 where a sequence could not be scored."""
    from univs.cli.scoring import list_benchmarks, score_predictions

    return list_benchmarks(arguments.benchmark) if arguments.list else score_predictions(arguments)

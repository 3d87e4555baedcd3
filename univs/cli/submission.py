"""``univs submission``: pack results for a benchmark's server, and check a submission before it is uploaded.

Nothing heavy is imported here, so that ``--help`` answers at once; the work is done in ``submitting.py``.
"""

from __future__ import annotations

import argparse

SUMMARY = "Pack results for a benchmark's server, or check a submission before it is uploaded."
EXAMPLES = """examples:
  univs submission check results.zip --benchmark BENCHMARK --truth-list valid/meta.json
  univs submission check results/ --benchmark BENCHMARK
  univs submission pack output/ --benchmark BENCHMARK --output results.zip --truth-list valid/meta.json
  univs submission list

The list of videos says what is expected: the benchmark's own JSON, a text file with one name per line, or a folder of
frames or masks. What is wrong is said with how to mend it; the exit code is then 1."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    check = actions.add_parser("check", help="say what is wrong with a submission")
    check.add_argument("file", metavar="FILE", help="zip file, folder, or JSON file")
    pack = actions.add_parser("pack", help="make a submission from result folders of `univs demo`")
    pack.add_argument("folders", nargs="+", metavar="DIR", help="result folder, named like its video, or one of many")
    pack.add_argument("--output", required=True, metavar="FILE", help="zip file to write")
    pack.add_argument("--categories", metavar="FILE", help="numbers of the categories, where the list has none")
    for action in (check, pack):
        action.add_argument("--benchmark", required=True, metavar="NAME", help="see `univs submission list`")
        action.add_argument("--truth-list", metavar="PATH", help="videos, frames, ids and categories that are expected")
    actions.add_parser("list", help="name the benchmarks and the layouts of their submissions")


def run(arguments: argparse.Namespace) -> int:
    """Check, pack or list; returns the exit code, 1 where a submission is wrong."""
    from univs.cli import submitting

    return {"check": submitting.check, "pack": submitting.pack, "list": submitting.list_layouts}[arguments.action](
        arguments
    )

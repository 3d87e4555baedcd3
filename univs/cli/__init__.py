"""The command ``univs``: one subcommand per file of this package.

A user's mistake is one sentence on the error stream and exit code 2, never a stack trace.
"""

from __future__ import annotations

import argparse
import functools
import os
import sys
import warnings
from collections.abc import Callable, Sequence

from tqdm import tqdm

from univs import __version__
from univs.cli import demo, score, submission
from univs.errors import UserError
from univs.runtime import sleep_while_waiting

COMMANDS = {"demo": demo, "score": score, "submission": submission}
INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run a subcommand; returns the exit code."""
    sleep_while_waiting()
    parser = argparse.ArgumentParser(
        prog="univs", description="Video segmentation from clicks, boxes, masks, scribbles, sentences and categories."
    )
    parser.add_argument("--version", action="version", version=f"univs {__version__}")
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, command in COMMANDS.items():
        command.add_arguments(
            subparsers.add_parser(
                name,
                help=command.SUMMARY,
                description=command.SUMMARY,
                epilog=command.EXAMPLES,
                formatter_class=argparse.RawDescriptionHelpFormatter,
            )
        )
    arguments = parser.parse_args(argv)
    return guarded(lambda: COMMANDS[arguments.command].run(arguments))


def guarded(work: Callable[[], int], program: str = "univs") -> int:
    """Do the work of a program; mistakes and warnings of the user's become one line each. Returns the exit code."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.showwarning = functools.partial(_show_warning, program)
        try:
            return work()
        except UserError as error:
            print(f"{program}: {error}", file=sys.stderr)
            return 2
        except BrokenPipeError:
            # Whoever reads the output, such as `head`, has seen enough; what Python still wants to print goes nowhere.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0
        except KeyboardInterrupt:
            print(f"{program}: interrupted.", file=sys.stderr)
            return INTERRUPTED


def _show_warning(program: str, message: Warning | str, category: type[Warning], *_: object, **__: object) -> None:
    """Warnings for users (all that are UserWarnings) as one line; others are for developers and are left out."""
    if issubclass(category, UserWarning):
        tqdm.write(f"{program}: note: {message}", file=sys.stderr)  # above a progress bar, if there is one

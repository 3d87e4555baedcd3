"""How the measuring programs of accuracy end: a JSON line if it is wanted, one sentence for a user's mistake."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping
from typing import Any

from univs.errors import UserError


def exit_code_of(
    run: Callable[[argparse.Namespace], Mapping[str, Any]], name: str, arguments: argparse.Namespace
) -> int:
    """Run a program; with ``arguments.json`` print its figures as the last line. 2 for a user's mistake, else 0."""
    try:
        figures = run(arguments)
    except UserError as error:
        print(f"{name}: {error}", file=sys.stderr)
        return 2
    if arguments.json:
        print(json.dumps(figures))
    return 0

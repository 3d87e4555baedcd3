"""The benchmarks by name; a benchmark's own module is imported when it is asked for."""

from __future__ import annotations

import difflib
from importlib import import_module

from univs.errors import UserError
from univs.evaluation.benchmark import Benchmark

BENCHMARKS: dict[str, str] = {}
"""Name of a benchmark -> ``module:class``."""

LIBRARIES = ("numpy", "scipy", "pillow", "opencv-python-headless", "opencv-python", "pycocotools", "lvis")
"""Packages whose versions figures may depend on."""


def benchmark_names() -> list[str]:
    """Names of all benchmarks."""
    return list(BENCHMARKS)


def find_benchmark(name: str) -> Benchmark:
    """The benchmark of a name.

    Raises:
        UserError: there is none; the message names the nearest ones.
    """
    if name not in BENCHMARKS:
        near = difflib.get_close_matches(name, BENCHMARKS, n=3) or list(BENCHMARKS)
        raise UserError(f"There is no benchmark {name!r}; did you mean: {', '.join(near)}?")
    module, _, attribute = BENCHMARKS[name].partition(":")
    return getattr(import_module(module), attribute)()

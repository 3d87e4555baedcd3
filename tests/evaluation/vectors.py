"""Small ground truths and predictions with the numbers that the official evaluators give on them.

A case is a folder FAMILY/CASE: ``case.json`` (what is in it, the evaluator, its options), ``gt/`` and ``pred/`` in the
benchmark's own layout or input files of a single function, and ``expected.json``. The tests read all of it from there.

The folder comes from the environment variable UNIVS_EVAL_VECTORS (several with ":" between them); without it the
project's own archives ``tests/eval_vectors/*.tar.xz`` are unpacked into a temporary folder.
"""

from __future__ import annotations

import functools
import hashlib
import json
import math
import numbers
import os
import shutil
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ARCHIVES = Path(__file__).parents[1] / "eval_vectors"
TOLERANCE = 1e-6


class Case:
    """One stored case."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.family = path.parent.name
        self.name = f"{self.family}/{path.name}"

    @functools.cached_property
    def json(self) -> dict[str, Any]:
        return self.read("case.json")

    @functools.cached_property
    def expected(self) -> Any:
        return self.read("expected.json")

    @property
    def options(self) -> dict[str, Any]:
        """Options of the official evaluator."""
        return self.json.get("options", {})

    @property
    def truth(self) -> Path:
        return self.path / "gt"

    @property
    def predictions(self) -> Path:
        return self.path / "pred"

    @property
    def stops(self) -> bool:
        """Whether the official program stops on this input."""
        return isinstance(self.expected, dict) and "error" in self.expected

    def read(self, name: str) -> Any:
        """Content of a JSON file of the case."""
        return json.loads((self.path / name).read_text())

    def arrays(self, name: str) -> dict[str, np.ndarray]:
        """Content of a .npz file of the case."""
        with np.load(self.path / name, allow_pickle=False) as file:
            return {key: file[key] for key in file.files}

    def check(self, result: Any, expected: Any = None, tolerance: float = TOLERANCE) -> None:
        """Assert that ``result`` agrees with every leaf of ``expected`` (of the whole expected.json if not given)."""
        found = list(differences(self.expected if expected is None else expected, result, tolerance))
        assert not found, f"{self.name}: {len(found)} differ: " + "; ".join(found[:8])

    def __repr__(self) -> str:
        return f"Case({self.name})"


def differences(expected: Any, result: Any, tolerance: float = TOLERANCE, place: str = "") -> Iterator[str]:
    """Where ``result`` differs from ``expected``; None stands for NaN, and keys that only the result has are passed."""
    if isinstance(expected, dict):
        if not isinstance(result, dict):
            yield f"{place or 'all'}: a dictionary is expected, found {result!r}"
            return
        result = {str(key): value for key, value in result.items()}
        for key, value in expected.items():
            if key in result:
                yield from differences(value, result[key], tolerance, f"{place}/{key}")
            else:
                yield f"{place}/{key}: missing"
    elif isinstance(expected, list):
        found = list(result) if isinstance(result, list | tuple | np.ndarray) else None
        if found is None or len(found) != len(expected):
            yield f"{place}: a list of {len(expected)} is expected, found {result!r}"
            return
        for index, (one, other) in enumerate(zip(expected, found, strict=True)):
            yield from differences(one, other, tolerance, f"{place}[{index}]")
    elif not _same(expected, result, tolerance):
        yield f"{place}: {expected!r} is expected, found {result!r}"


def _same(expected: Any, result: Any, tolerance: float) -> bool:
    number = isinstance(result, numbers.Real) and not isinstance(result, bool | np.bool_)
    if expected is None:
        return result is None or (number and math.isnan(result))
    if isinstance(expected, numbers.Real) and not isinstance(expected, bool):
        return number and (float(result) == expected or abs(float(result) - expected) <= tolerance)
    return expected == result


def unpack_bits(packed: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Boolean mask [H, W] of row-major packed bits."""
    height, width = size
    return np.unpackbits(packed)[: height * width].reshape(height, width).astype(bool)


def cases(family: str, which: Callable[[Case], bool] = lambda case: True) -> list:
    """Parameters for pytest: the cases of ``family`` for which ``which(case)`` is true.

    Where there is none, one parameter that is skipped with that reason.
    """
    found = [pytest.param(case, id=case.name) for case in all_cases() if case.family == family and which(case)]
    reason = f"no such case of the family '{family}' in the folder of evaluation vectors"
    return found or [pytest.param(None, id=f"{family}-absent", marks=pytest.mark.skip(reason=reason))]


@functools.cache
def all_cases() -> tuple[Case, ...]:
    """Every case of every folder, by name."""
    paths = [path.parent for folder in folders() for path in folder.glob("*/*/expected.json")]
    return tuple(Case(path) for path in sorted(paths) if (path / "case.json").exists())


def folders() -> list[Path]:
    """The folders that hold families of cases."""
    given = os.environ.get("UNIVS_EVAL_VECTORS")
    if given:
        return [Path(folder) for folder in given.split(":") if folder]
    return [_unpacked(archive) for archive in sorted(ARCHIVES.glob("*.tar.xz"))]


def _unpacked(archive: Path) -> Path:
    """Folder with the unpacked archive, made once per content of the archive."""
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()[:16]
    target = Path(tempfile.gettempdir()) / f"univs-eval-vectors-{os.getuid()}" / digest
    if not target.is_dir():
        target.parent.mkdir(mode=0o700, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(dir=target.parent))
        with tarfile.open(archive) as file:
            file.extractall(scratch, filter="data")
        try:
            scratch.rename(target)
        except OSError:  # another process was faster
            shutil.rmtree(scratch)
    return target

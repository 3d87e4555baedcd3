"""Names of what is scored, with what and how: they change with any file, option, version or line of the metrics."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from univs import __version__
from univs.evaluation.benchmarks import LIBRARIES


@dataclass(frozen=True)
class Fingerprint:
    """common: of everything that concerns all sequences. own: of the files that concern single ones, by sequence."""

    common: str
    own: Mapping[str, str]


def versions() -> dict[str, str]:
    """Versions of everything that figures depend on."""
    found = {"univs": __version__, "python": platform.python_version()}
    for name in LIBRARIES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def fingerprint(
    benchmark: str, options: Mapping[str, Any], roots: Sequence[Path], output: Path, own: Mapping[str, Sequence[Path]]
) -> Fingerprint:
    """What a scoring depends on.

    Args:
        benchmark: its name.
        options: all of them.
        roots: files, or folders with all that is in them but ``output``.
        own: files and folders of each sequence; what is in none of them concerns all sequences.
    """
    about = {
        "benchmark": benchmark,
        "options": {name: repr(value) for name, value in sorted(options.items())},
        "versions": versions(),
        "roots": [os.path.abspath(root) for root in roots],
        "code": [path.read_text(encoding="utf-8") for path in sorted(Path(__file__).parent.rglob("*.py"))],
    }
    common = hashlib.sha256(json.dumps(about, sort_keys=True).encode())
    digests = {sequence: hashlib.sha256() for sequence in own}
    owners: dict[str, list[str]] = {}
    for sequence, paths in own.items():
        for path in paths:
            owners.setdefault(os.path.abspath(path), []).append(sequence)
    for root in roots:
        for place, names in _files_under(root, output.resolve(), owners):
            line = repr((place, *_size_and_time(place))).encode()
            for digest in [digests[name] for name in names] or [common]:
                digest.update(line)
    return Fingerprint(common.hexdigest(), {sequence: digest.hexdigest() for sequence, digest in digests.items()})


def _files_under(root: Path, output: Path, owners: Mapping[str, Sequence[str]]) -> Iterator[tuple[str, list[str]]]:
    """All files in order, each with the sequences that own it or a folder in which it is."""
    start = os.path.abspath(root)
    if os.path.isfile(start):
        yield start, list(owners.get(start, ()))
    inherited: dict[str, list[str]] = {start: []}
    for folder, subfolders, names in os.walk(start, followlinks=True):
        here = [*inherited.pop(folder), *owners.get(folder, ())]
        subfolders[:] = sorted(name for name in subfolders if Path(folder, name).resolve() != output)
        inherited |= {os.path.join(folder, name): here for name in subfolders}
        for name in sorted(names):
            place = os.path.join(folder, name)
            yield place, [*here, *owners.get(place, ())]


def _size_and_time(place: str) -> tuple[int, int]:
    try:
        status = os.stat(place)
    except OSError:  # a link to nowhere; whoever needs it will say so
        return -1, -1
    return status.st_size, status.st_mtime_ns

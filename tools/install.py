"""Make or reuse the environment in .venv, so that the Makefile's other targets can run.

The packages lie in a folder of the user's cache that is named by the content of the lock files, so that a second
clone finds them there; .venv is a small virtual environment on top of it that also knows this clone. What is installed
is pinned and hash-checked; nothing is compiled. A PyTorch and a Detectron2 that the Python which runs this file can
import already are kept and used.

environment variables:
  VENV          the environment to make (.venv); an existing one that is not ours is completed in place
  UNIVS_CACHE   folder for the shared packages (the user's cache folder); empty: install into VENV itself
  TORCH_SPEC    another PyTorch, for example "torch==2.6.0 torchvision==0.21.0"; later calls keep it
  PIP_...       pip's own variables, such as PIP_INDEX_URL, PIP_EXTRA_INDEX_URL and PIP_PROXY
"""

# An old Python, too, must be able to read this file, to say what is wrong: no newer syntax, no future import here.
import argparse
import errno
import os
import sys
from pathlib import Path

OLDEST_PYTHON = (3, 10)


def python_fault(version: tuple) -> "str | None":
    """One sentence on a Python ``version`` (major, minor) that is too old, or None."""
    if tuple(version) >= OLDEST_PYTHON:
        return None
    template = (
        "UniVS needs Python 3.10 to 3.13, and {} is Python {}.{}; name another one, for example "
        "`make install PYTHON=python3.11`."
    )
    return template.format(sys.executable, *version)


def system_fault(error: OSError) -> str:
    """One sentence on an OSError that the installation met."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return (
            "The disk is full: free some space, or point UNIVS_CACHE to a folder on another disk, and run this again."
        )
    where = error.filename or "the installation's folders"
    reason = error.strerror or error
    return f"The installation cannot use {where}: {reason}; change its owner or point VENV and UNIVS_CACHE elsewhere."


def main() -> int:
    """Run the installation; returns the exit code: 0 ready, 1 failed, 2 wrong Python, 130 stopped by the user."""
    fault = python_fault(sys.version_info[:2])
    if fault:
        sys.stderr.write(fault + "\n")
        return 2
    from install_environment import clear_cache, install, leave_own_environment
    from install_packages import ROOT
    from install_process import InstallError

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clear-cache", action="store_true", help="remove the shared packages of all clones, and stop")
    arguments = parser.parse_args()
    leave_own_environment()
    try:
        if arguments.clear_cache:
            clear_cache()
        else:
            install(Path(os.path.abspath(os.environ.get("VENV") or str(ROOT / ".venv"))))
    except InstallError as error:
        fault = str(error)
    except OSError as error:
        fault = system_fault(error)
    except KeyboardInterrupt:
        sys.stderr.write("\nStopped; run this again to go on.\n")
        return 130
    if fault:
        sys.stderr.write("\n" + fault + "\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

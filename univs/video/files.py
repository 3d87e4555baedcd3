"""Writing so that a reader never sees half a file, and a user's file system troubles are one sentence."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from univs.errors import UserError

UNSAFE = re.compile(r'[\x00-\x1f<>:"/\\|?*]')
"""Characters that are separators or forbidden in a file name on some system."""

MAX_NAME_BYTES = 200


def safe_name(name: str) -> str:
    """A file name made of ``name`` that stays in its folder on every system."""
    plain = UNSAFE.sub("_", name).strip(". ") or "_"
    return plain.encode()[:MAX_NAME_BYTES].decode(errors="ignore")


def subfolder(folder: Path, name: str) -> Path:
    """Create ``folder/name`` if need be and return it.

    Raises:
        UserError: it cannot be created, or it is a link that leads out of the folder.
    """
    path = folder / name
    with file_errors(path):
        path.mkdir(parents=True, exist_ok=True)
    if not path.resolve().is_relative_to(folder.resolve()):
        raise UserError(f"{path} leads out of the output folder; remove the link or choose another folder.")
    return path


@contextmanager
def file_errors(path: Path) -> Iterator[None]:
    """Say in one sentence what went wrong with the file system.

    Raises:
        UserError: instead of any OSError.
    """
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            reason = "the disk is full; free some space or choose another output folder"
        else:
            reason = f"{error.strerror or error}; choose another output folder"
        raise UserError(f"{path} cannot be written: {reason}.") from error


def partial_path(path: Path) -> Path:
    """Where a file is written until it is whole: hidden, beside the final one, with the same ending."""
    return path.with_name(f".{path.stem}.part-{os.getpid()}{path.suffix}")


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Give a temporary path that takes the place of ``path`` when the block ends well, and vanishes otherwise.

    The folder is made if it is not there.

    Raises:
        UserError: the file cannot be written.
    """
    partial = partial_path(path)
    with file_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield partial
            os.replace(partial, path)
        finally:
            partial.unlink(missing_ok=True)

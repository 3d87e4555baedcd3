"""Zip files of predictions, unpacked so that nothing lands outside the folder meant for it and no disk is filled."""

from __future__ import annotations

import re
import shutil
import stat
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from tempfile import gettempdir, mkdtemp

from univs.errors import UserError
from univs.video.files import file_errors

MOST_MEMBERS = 2_000_000
MOST_MEMBER_BYTES = 8 << 30
MOST_EXPANSION = 1000
"""A member that would grow more than this (and is no small one) is a trap, not a prediction: masks of one value
compress well, and a frame of 8K that holds nothing grows a thousandfold."""

SMALL_MEMBER_BYTES = 64 << 20
CLUTTER = re.compile(r"(?:^|/)(?:__MACOSX/|\.DS_Store$|Thumbs\.db$|\._)")
"""What file managers add to archives."""


@contextmanager
def unpacked(path: Path, beside: Path | None = None) -> Iterator[Path]:
    """Give the folder (or the only file) that a zip file holds; a path that is no zip file is given as it is.

    beside: folder in which it is unpacked, for as long as the block runs; the system's temporary folder if not given.

    Raises:
        UserError: a damaged or locked archive, or one that is not safe to unpack.
    """
    if not (path.is_file() and path.suffix.lower() == ".zip"):
        yield path
        return
    with file_errors(beside or Path(gettempdir())):
        if beside is not None:
            beside.mkdir(parents=True, exist_ok=True)
        folder = Path(mkdtemp(prefix=".unpacked-", dir=beside))
    try:
        with file_errors(folder), opened(path) as archive:
            unpack(archive, path, folder)
        yield content_of(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def opened(path: Path) -> Iterator[zipfile.ZipFile]:
    """Open a zip file; what is wrong with it, then or while it is read, is one sentence.

    Raises:
        UserError: damaged, locked with a password, or packed in an unknown way.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except (zipfile.BadZipFile, EOFError, zlib.error) as error:
        raise UserError(f"{path} is a damaged zip file ({error}); pack or download it again.") from error
    except (NotImplementedError, RuntimeError) as error:
        raise UserError(f"{path} cannot be unpacked ({error}); pack it as a plain zip file.") from error


def members_of(archive: zipfile.ZipFile, path: Path) -> list[zipfile.ZipInfo]:
    """The files of an archive, without what file managers add, after a look at names and sizes.

    Raises:
        UserError: a name that leads out of the folder, a name that comes twice, too many or too large files.
    """
    members = [member for member in archive.infolist() if not member.is_dir() and not CLUTTER.search(member.filename)]
    if len(members) > MOST_MEMBERS:
        raise UserError(f"{path} holds {len(members)} files; at most {MOST_MEMBERS} are unpacked.")
    names = set()
    for member in members:
        _check_member(member, path)
        if member.filename in names:
            raise UserError(f"{path} holds {member.filename!r} twice; pack every file once.")
        names.add(member.filename)
    return members


def _check_member(member: zipfile.ZipInfo, path: Path) -> None:
    name = PurePosixPath(member.filename)
    if name.is_absolute() or ".." in name.parts or "\\" in member.filename or ":" in name.parts[0]:
        raise UserError(f"{path} holds {member.filename!r}, which leads out of the folder; pack relative names only.")
    if stat.S_ISLNK(member.external_attr >> 16):
        raise UserError(f"{path} holds {member.filename!r}, which is a link; pack the file itself.")
    grown = member.file_size > max(SMALL_MEMBER_BYTES, MOST_EXPANSION * member.compress_size)
    if grown or member.file_size > MOST_MEMBER_BYTES:
        raise UserError(
            f"{path}: {member.filename!r} would take {member.file_size >> 20} MiB unpacked, more than a file of "
            "predictions has; unpack it yourself if you trust it, and give the folder."
        )


def unpack(archive: zipfile.ZipFile, path: Path, folder: Path) -> None:
    """Unpack an archive into a folder of its own.

    Raises:
        UserError: it is not safe to unpack, or the disk has no room for it.
    """
    members = members_of(archive, path)
    needed, free = sum(member.file_size for member in members), shutil.disk_usage(folder).free
    if needed > free:
        raise UserError(
            f"{path} takes {needed >> 20} MiB unpacked and {folder.parent} has {free >> 20} MiB left; free some space "
            "or choose another output folder."
        )
    for member in members:
        archive.extract(member, folder)


def content_of(folder: Path) -> Path:
    """The folder of an unpacked archive, or the only file in it."""
    entries = list(folder.iterdir())
    return entries[0] if len(entries) == 1 and entries[0].is_file() else folder

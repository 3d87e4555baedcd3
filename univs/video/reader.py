"""Open anything that is a video."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from univs.errors import UserError
from univs.video.arrays import ArraySource, StreamSource
from univs.video.images import DAMAGE, PictureSource, is_picture, natural_key, open_picture, pictures_in
from univs.video.opencv import CameraSource, OpenCVSource
from univs.video.source import VideoSource

CAMERA = re.compile(r"camera:(\d+)")
TEXT_PROBE_BYTES = 1024


def open_video(source: Any, rate: float | None = None) -> VideoSource:
    """Open a video; frames are decoded only when they are asked for.

    Args:
        source: path of a video file or of one picture, a folder of frames, a glob such as ``"frames/*.png"`` or a
            list of picture paths; a sequence of arrays [H, W, 3] uint8 RGB, an array [T, H, W, 3], or an iterator of
            frames; a camera as a number or ``"camera:0"``; or an open ``VideoSource``, which is returned.
        rate: frames per second of frames that carry no times (pictures and arrays); video files have their own.

    Raises:
        UserError: there is no such video, or it cannot be read.
    """
    if rate is not None and not 0 < rate <= 1000:
        raise UserError(f"A frame rate of {rate} is not possible; give frames per second between 0 and 1000.")
    timing = {} if rate is None else {"rate": rate}
    if isinstance(source, VideoSource):
        return source
    if isinstance(source, int):
        return CameraSource(source)
    if isinstance(source, (str, os.PathLike)):
        return _open_path(os.fspath(source), timing)
    if isinstance(source, np.ndarray) and source.ndim == 3:
        return ArraySource(source[None], **timing)
    if isinstance(source, (Sequence, np.ndarray)):
        return _open_sequence(source, timing)
    if isinstance(source, Iterable):
        return StreamSource(source, **timing)
    raise UserError(
        f"A {type(source).__name__} is not a video; give a path, a list of arrays, an iterator or a camera."
    )


def _open_sequence(source: Sequence | np.ndarray, timing: dict[str, float]) -> VideoSource:
    if len(source) and all(isinstance(item, (str, os.PathLike)) for item in source):
        paths = [Path(item) for item in source]
        missing = next((path for path in paths if not path.is_file()), None)
        if missing:
            raise UserError(f"There is no picture {missing}; check the path.")
        return PictureSource(paths, "The list of pictures", **timing)
    return ArraySource(source, **timing)


def _open_path(name: str, timing: dict[str, float]) -> VideoSource:
    camera = CAMERA.fullmatch(name)
    if camera:
        return CameraSource(int(camera.group(1)))
    path = Path(name)
    if path.is_dir():
        return PictureSource(pictures_in(path), name, **timing)
    if path.exists():
        return _open_file(path, timing)
    if glob.has_magic(name):
        return _open_glob(name, timing)
    raise UserError(f"There is no video {name}; check the path.")


def _open_glob(pattern: str, timing: dict[str, float]) -> VideoSource:
    paths = sorted(map(Path, glob.glob(pattern, recursive=True)), key=lambda path: natural_key(str(path)))
    paths = [path for path in paths if path.is_file()]
    if len(paths) == 1:
        return _open_file(paths[0], timing)
    pictures = [path for path in paths if is_picture(path)]
    if not pictures:
        raise UserError(
            f"No picture matches {pattern}; check the pattern (in quotes, so that the shell leaves it alone)."
        )
    return PictureSource(pictures, pattern, **timing)


def _open_file(path: Path, timing: dict[str, float]) -> VideoSource:
    if not path.is_file():
        raise UserError(f"{path} is not a file or a folder of frames; give one of them.")
    _refuse_text(path)
    if is_picture(path) and not _moves(path):
        return PictureSource([path], str(path), **timing)
    return open_video_file(path)


def open_video_file(path: Path) -> VideoSource:
    """Open a video file with PyAV, or with OpenCV where PyAV is not installed.

    Raises:
        UserError: it cannot be read.
    """
    try:
        from univs.video.container import ContainerSource
    except ImportError:
        return OpenCVSource(path)
    return ContainerSource(path)


def _moves(path: Path) -> bool:
    """Whether a picture file is an animation (GIF, animated PNG), which is read as a video."""
    try:
        with open_picture(path) as image:
            moves = getattr(image, "is_animated", False) and image.format in ("GIF", "PNG", "WEBP")
            kind = image.format
    except UserError:
        raise
    except DAMAGE:
        return False
    if moves and kind == "WEBP":
        raise UserError(f"{path} is an animated WebP, which cannot be read as a video; convert it to MP4 or GIF.")
    return moves


def _refuse_text(path: Path) -> None:
    """Playlists are text; some readers would follow them to other files and to the network."""
    try:
        with path.open("rb") as file:
            head = file.read(TEXT_PROBE_BYTES)
    except OSError as error:
        raise UserError(f"{path} cannot be opened: {error.strerror}.") from error
    if not head:
        raise UserError(f"{path} is empty; give another video.")
    if all(byte in b"\t\n\r" or 32 <= byte < 127 for byte in head):
        raise UserError(f"{path} is a text file, not a video; give the video itself.")

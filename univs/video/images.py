"""Pictures as frames: folders, globs, lists of files. A single picture is a video of one frame."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageOps

from univs.errors import UserError
from univs.video.pixels import check_size, to_rgb
from univs.video.source import FrameReader, LostFrameError, VideoSource

SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".png", ".webp", ".bmp", ".tif", ".tiff", ".ppm", ".pgm", ".pnm", ".gif"}
)
"""File names that count as pictures in a folder."""

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "PPM", "GIF")
"""What Pillow may open; the others (PostScript) start programs."""

DEFAULT_RATE = 24.0
"""Frames per second of pictures, which carry no times."""

DAMAGE = (OSError, SyntaxError, ValueError)
"""What Pillow raises on files that are no pictures, cut off or damaged."""

TURNED_ORIENTATIONS = (5, 6, 7, 8)
"""EXIF orientations that swap height and width."""


def natural_key(name: str) -> list[tuple[int, int | str]]:
    """Sort key by which ``frame2`` comes before ``frame10``."""
    parts = re.split(r"(\d+)", name)
    return [(0, int(part)) if part.isdecimal() else (1, part.casefold()) for part in parts if part] + [(-1, name)]


def is_picture(path: Path) -> bool:
    """Whether a file's name says that it is a picture (hidden files never are)."""
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".")


def pictures_in(folder: Path) -> list[Path]:
    """The pictures of a folder in natural order.

    Raises:
        UserError: there are none.
    """
    paths = [path for path in folder.iterdir() if is_picture(path) and path.is_file()]
    if not paths:
        raise UserError(
            f"{folder} holds no pictures ({', '.join(sorted(SUFFIXES))}); give a folder of frames or a video."
        )
    return sorted(paths, key=lambda path: natural_key(path.name))


def open_picture(path: Path, formats: Sequence[str] = FORMATS) -> Image.Image:
    """Open a picture file and read its header only.

    Raises:
        UserError: an absurd size. Pillow's own errors, DAMAGE, where it is no sound picture.
    """
    try:
        image = Image.open(path, formats=formats)
    except Image.DecompressionBombError as error:
        raise UserError(f"{path} has more pixels than can be read ({error}); scale it down first.") from error
    try:
        check_size(image.height, image.width, str(path))
    except UserError:
        image.close()
        raise
    return image


def read_picture(path: Path) -> np.ndarray:
    """A picture as RGB uint8 [H, W, 3]: turned as its EXIF data ask, transparency over black, 16 bits by upper byte.

    Raises:
        UserError: damaged, not a picture, or absurdly large.
    """
    try:
        with open_picture(path) as image:
            return to_rgb(_pixels(ImageOps.exif_transpose(image)), str(path))
    except UserError:
        raise
    except DAMAGE as error:
        raise UserError(f"{path} cannot be read as a picture: it is damaged or of an unknown kind.") from error


def picture_size(path: Path) -> tuple[int, int] | None:
    """(height, width) after EXIF rotation from the file's header alone, or None when it is damaged.

    Raises:
        UserError: an absurd size.
    """
    try:
        with open_picture(path) as image:
            width, height = image.size
            turned = image.getexif().get(ExifTags.Base.Orientation) in TURNED_ORIENTATIONS
    except UserError:
        raise
    except DAMAGE:
        return None
    return (width, height) if turned else (height, width)


def _pixels(image: Image.Image) -> np.ndarray:
    if image.mode in ("I", "I;16", "I;16B", "I;16L", "I;16N"):
        return np.asarray(image).clip(0, 65535).astype(np.uint16)
    if image.mode == "F":
        raise UserError("Pictures of floating-point numbers cannot be frames; convert them to 8 bits per colour.")
    transparent = "A" in image.getbands() or "transparency" in image.info
    return np.asarray(image.convert("RGBA" if transparent else "RGB"))


class PictureSource(VideoSource):
    """A list of pictures of one size; each file is opened when its frame is asked for."""

    def __init__(self, paths: Sequence[Path], label: str, rate: float = DEFAULT_RATE) -> None:
        super().__init__(label, common_size(paths), rate, len(paths))
        self._paths = list(paths)
        self._names = unique_names(self._paths)

    def name(self, index: int) -> str:
        """The file's name without its ending; with it where two files differ in nothing else."""
        return self._names[index]

    def open_reader(self) -> FrameReader:
        """A reader of the files."""
        return PictureReader(self._paths, self.size)


class PictureReader(FrameReader):
    """Decodes one file per frame."""

    def __init__(self, paths: list[Path], size: tuple[int, int]) -> None:
        super().__init__()
        self._paths = paths
        self._size = size

    def decode(self, index: int) -> np.ndarray:
        """Picture ``index`` as RGB uint8 [H, W, 3]."""
        try:
            pixels = read_picture(self._paths[index])
        except UserError as error:
            raise LostFrameError(index, f"Frame {index} is lost: {error}") from error
        if pixels.shape[:2] != self._size:
            raise LostFrameError(index, f"Frame {index} is lost: {self._paths[index]} has changed its size.")
        return pixels


def common_size(paths: Sequence[Path]) -> tuple[int, int]:
    """(height, width) that all pictures share; damaged ones have no say.

    Raises:
        UserError: two sizes, or nothing can be read.
    """
    first: tuple[Path, tuple[int, int]] | None = None
    for path in paths:
        size = picture_size(path)
        first = first or (size and (path, size))
        if first and size and size != first[1]:
            raise UserError(
                f"The frames differ in size: {first[0]} has {first[1][1]}x{first[1][0]} pixels and {path} has "
                f"{size[1]}x{size[0]}; give frames of one size."
            )
    if first is None:
        raise UserError(f"None of the {len(paths)} pictures can be read ({paths[0]}, ...): damaged, or no pictures.")
    return first[1]


def unique_names(paths: Sequence[Path]) -> list[str]:
    """One name per picture for its result files: the stem, else the whole file name, else its number."""
    for names in ([path.stem for path in paths], [path.name for path in paths]):
        # Some file systems do not tell upper from lower case.
        if max(Counter(name.casefold() for name in names).values()) == 1:
            return names
    return [f"{index:05d}" for index in range(len(paths))]

"""Pictures whose pixels are ids: palette indices or grey values, or R + 256 G + 65536 B of colours.

What cannot be scored is said in one sentence with the file, the frame and what was expected.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from univs.errors import UserError
from univs.evaluation.benchmark import BrokenSequence
from univs.evaluation.plain_png import decoded
from univs.video.images import DAMAGE, open_picture

LABEL_MODES = ("P", "L", "1", "I", "I;16", "I;16B", "I;16L", "I;16N")
"""Kinds of pictures with one whole number per pixel."""

KINDS = {"L": "grey", "P": "palette", "RGBA": "RGB with transparency", "1": "1-bit"}
EIGHT_BIT_IDS = "one id of 8 bits per pixel, as a palette or grey PNG"
IDS = "one object id per pixel, as a palette or grey PNG"
COLOURS = "an RGB picture whose colours are ids"


def read_labels(path: Path, size: tuple[int, int] | None = None) -> np.ndarray:
    """A label picture [H, W] as it is stored: palette indices or grey values, whatever their colours.

    Args:
        path: the PNG of one frame.
        size: (height, width) that it must have.

    Raises:
        BrokenSequence: missing, damaged, cut off, in colours without palette, not of whole numbers, or another size.
    """
    return _read_labels(path, IDS, size)[0]


def read_label_map(path: Path, size: tuple[int, int] | None = None) -> np.ndarray:
    """A label picture [H, W] uint8, as ``read_labels`` reads it.

    Raises:
        BrokenSequence: as there, or more than 8 bits per pixel.
    """
    return _in_eight_bits(path, *_read_labels(path, EIGHT_BIT_IDS, size))


def read_foreground(path: Path) -> np.ndarray:
    """Pixels [H, W] of a picture that are not black in grey, whether it has a palette or not.

    Raises:
        BrokenSequence: missing, damaged, or neither a palette nor an 8-bit grey picture.
    """
    pixels, mode = _read_labels(path, EIGHT_BIT_IDS)
    labels = _in_eight_bits(path, pixels, mode)
    if mode != "P":
        return labels != 0
    with Image.open(path) as image:
        colours = np.array(image.convert("P").getpalette("RGB") or [], np.uint8).reshape(1, -1, 3)
    bright = np.zeros(256, bool)
    bright[: colours.shape[1]] = cv2.cvtColor(colours, cv2.COLOR_RGB2GRAY)[0] > 0
    return bright[labels]


def read_segment_map(path: Path, size: tuple[int, int] | None = None) -> np.ndarray:
    """An id picture [H, W, 3] uint8, without its transparency if it has one.

    Raises:
        BrokenSequence: missing, cut off, damaged, no colour picture, or another size than (height, width).
    """
    pixels, mode = _read(path, COLOURS)
    if mode not in ("RGB", "RGBA"):
        raise _another_kind(path, mode, COLOURS)
    _check_size(path, pixels, size)
    return pixels[..., :3]


def _read_labels(path: Path, expected: str, size: tuple[int, int] | None = None) -> tuple[np.ndarray, str]:
    pixels, mode = _read(path, expected)
    if mode not in LABEL_MODES:
        raise _another_kind(path, mode, expected)
    _check_size(path, pixels, size)
    if pixels.dtype == bool:  # Pillow stores true as 255
        pixels = (pixels.view(np.uint8) > 0).view(np.uint8)
    return pixels, mode


def _in_eight_bits(path: Path, labels: np.ndarray, mode: str) -> np.ndarray:
    if labels.dtype != np.uint8:
        raise _another_kind(path, mode, EIGHT_BIT_IDS)
    return labels


def _check_size(path: Path, pixels: np.ndarray, size: tuple[int, int] | None) -> None:
    if size is not None and pixels.shape[:2] != tuple(size):
        raise BrokenSequence(
            f"{path} (frame {path.stem}) has {pixels.shape[1]}x{pixels.shape[0]} pixels; expected {size[1]}x{size[0]} "
            "as in the ground truth."
        )


def _another_kind(path: Path, mode: str, expected: str) -> BrokenSequence:
    kind = "16-bit grey" if mode.startswith("I") else KINDS.get(mode, mode)
    return BrokenSequence(f"{path} (frame {path.stem}) is a {kind} picture; expected {expected}.")


def _read(path: Path, expected: str) -> tuple[np.ndarray, str]:
    """Values and mode of a PNG."""
    try:
        found = decoded(path.read_bytes(), str(path))
        if found is not None:
            return found
        with open_picture(path, ("PNG",)) as image:
            return np.asarray(image), image.mode
    except FileNotFoundError as error:
        raise BrokenSequence(f"{path} is missing; expected the picture of frame {path.stem}: {expected}.") from error
    except UserError as error:
        raise BrokenSequence(str(error)) from error
    except DAMAGE as error:
        raise BrokenSequence(
            f"{path} (frame {path.stem}) is damaged or cut off ({error}); expected a whole PNG, {expected}."
        ) from error

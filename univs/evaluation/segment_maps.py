"""Pictures whose pixels are ids: R + 256 G + 65536 B of panoptic pictures, or one byte of label pictures."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

from univs.errors import UserError
from univs.evaluation.benchmark import BrokenSequence
from univs.video.images import DAMAGE, open_picture

MODES = {
    "L": "grey",
    "P": "palette",
    "RGB": "RGB",
    "RGBA": "RGB with transparency",
    "I;16": "16-bit grey",
    "1": "1-bit",
}


def read_segment_map(path: Path) -> np.ndarray:
    """An id picture [H, W, 3] uint8, without its transparency if it has one.

    Raises:
        BrokenSequence: missing, cut off, damaged, or no colour picture.
    """
    return _read(path, ("RGB", "RGBA"), "an RGB picture whose colours are ids")[..., :3]


def read_label_map(path: Path) -> np.ndarray:
    """A label picture [H, W] uint8: the bytes of a grey picture, the indices of a palette picture.

    Raises:
        BrokenSequence: missing, cut off, damaged, or neither a grey nor a palette picture.
    """
    return _read(path, ("L", "P"), "a grey or palette picture whose values are labels")


def _read(path: Path, modes: tuple[str, ...], expected: str) -> np.ndarray:
    try:
        with open_picture(path, ("PNG",)) as image:
            if image.mode not in modes:
                found = MODES.get(image.mode, image.mode)
                raise BrokenSequence(f"{path} is a {found} picture; {expected} is expected.")
            return np.asarray(image)
    except FileNotFoundError as error:
        raise BrokenSequence(f"{path} is missing; {expected} is expected there.") from error
    except BrokenSequence:
        raise
    except UserError as error:
        raise BrokenSequence(str(error)) from error
    except (*DAMAGE, struct.error) as error:
        raise BrokenSequence(f"{path} is cut off or no PNG ({error}); {expected} is expected.") from error


def check_size(picture: np.ndarray, other: np.ndarray, path: Path) -> None:
    """See that a prediction has the size of its ground truth.

    Raises:
        BrokenSequence: it has another.
    """
    if picture.shape[:2] != other.shape[:2]:
        (height, width), (rows, columns) = picture.shape[:2], other.shape[:2]
        raise BrokenSequence(f"{path} is {width} x {height} pixels; the ground truth is {columns} x {rows}.")

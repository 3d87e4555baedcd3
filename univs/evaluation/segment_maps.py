"""Pictures whose pixels are ids: R + 256 G + 65536 B of panoptic pictures, or one byte of label pictures."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Collection
from pathlib import Path

import cv2
import numpy as np

from univs.errors import UserError
from univs.evaluation.benchmark import BrokenSequence
from univs.video.images import DAMAGE, open_picture
from univs.video.pixels import check_size as check_pixel_count

MODES = {
    "L": "grey",
    "P": "palette",
    "RGB": "RGB",
    "RGBA": "RGB with transparency",
    "I;16": "16-bit grey",
    "1": "1-bit",
}
SIGNATURE = b"\x89PNG\r\n\x1a\n"
HEADER = struct.Struct(">IIBBBBB")
GREY, COLOUR, PALETTE = 0, 2, 3
"""Colour types of PNG."""


def read_segment_map(path: Path) -> np.ndarray:
    """An id picture [H, W, 3] uint8, without its transparency if it has one.

    Raises:
        BrokenSequence: missing, cut off, damaged, or no colour picture.
    """
    return _read(path, (COLOUR,), ("RGB", "RGBA"), "an RGB picture whose colours are ids")[..., :3]


def read_label_map(path: Path) -> np.ndarray:
    """A label picture [H, W] uint8: the bytes of a grey picture, the indices of a palette picture.

    Raises:
        BrokenSequence: missing, cut off, damaged, or neither a grey nor a palette picture.
    """
    return _read(path, (GREY, PALETTE), ("L", "P"), "a grey or palette picture whose values are labels")


def check_size(picture: np.ndarray, other: np.ndarray, path: Path) -> None:
    """See that a prediction has the size of its ground truth.

    Raises:
        BrokenSequence: it has another.
    """
    if picture.shape[:2] != other.shape[:2]:
        (height, width), (rows, columns) = picture.shape[:2], other.shape[:2]
        raise BrokenSequence(f"{path} is {width} x {height} pixels; the ground truth is {columns} x {rows}.")


def _read(path: Path, colour_types: Collection[int], modes: Collection[str], expected: str) -> np.ndarray:
    try:
        content = path.read_bytes()
        chunks = _chunks(content)
        picture = _fast(content, chunks, colour_types)
        return picture if picture is not None else _any(path, modes, expected)
    except FileNotFoundError as error:
        raise BrokenSequence(f"{path} is missing; {expected} is expected there.") from error
    except BrokenSequence:
        raise
    except UserError as error:
        raise BrokenSequence(str(error)) from error
    except (*DAMAGE, struct.error) as error:
        raise BrokenSequence(f"{path} is cut off, damaged or no PNG ({error}); {expected} is expected.") from error


def _chunks(content: bytes) -> dict[bytes, bytes]:
    """The chunks of a PNG by kind, those of one kind joined, once they are all seen to be whole.

    Raises:
        ValueError: it is not.
    """
    if not content.startswith(SIGNATURE):
        raise ValueError("it does not begin as a PNG does")
    chunks: dict[bytes, list[bytes]] = {}
    place, kind = len(SIGNATURE), b""
    while kind != b"IEND":
        head = content[place : place + 8]
        size, kind = int.from_bytes(head[:4], "big"), head[4:]
        body, check = content[place + 8 : place + 8 + size], content[place + 8 + size : place + 12 + size]
        if len(check) < 4:
            raise ValueError("it ends too early")
        if zlib.crc32(body, zlib.crc32(kind)) != int.from_bytes(check, "big"):
            raise ValueError("a check sum is wrong")
        chunks.setdefault(kind, []).append(body)
        place += 12 + size
    return {kind: b"".join(bodies) for kind, bodies in chunks.items()}


def _fast(content: bytes, chunks: dict[bytes, bytes], colour_types: Collection[int]) -> np.ndarray | None:
    """A plain picture of 8 bits by OpenCV, indices of a palette as they are; None for any other."""
    width, height, bits, colour_type, *rest = HEADER.unpack(chunks[b"IHDR"])
    if bits != 8 or colour_type not in colour_types or any(rest):
        return None
    check_pixel_count(height, width, "A picture")
    if colour_type == PALETTE or not chunks.keys() <= {b"IHDR", b"IDAT", b"IEND"}:
        header = HEADER.pack(width, height, bits, COLOUR if colour_type == COLOUR else GREY, *rest)
        content = _plain(header, chunks.get(b"IDAT", b""))
    flag = cv2.IMREAD_COLOR_RGB if colour_type == COLOUR else cv2.IMREAD_UNCHANGED
    return cv2.imdecode(np.frombuffer(content, np.uint8), flag)


def _plain(header: bytes, pixels: bytes) -> bytes:
    """A PNG of the header and the pixels alone: no colour is corrected, and no palette applied."""
    parts = ((b"IHDR", header), (b"IDAT", pixels), (b"IEND", b""))
    return SIGNATURE + b"".join(
        len(body).to_bytes(4, "big") + kind + body + zlib.crc32(body, zlib.crc32(kind)).to_bytes(4, "big")
        for kind, body in parts
    )


def _any(path: Path, modes: Collection[str], expected: str) -> np.ndarray:
    with open_picture(path, ("PNG",)) as image:
        if image.mode not in modes:
            found = MODES.get(image.mode, image.mode)
            raise BrokenSequence(f"{path} is a {found} picture; {expected} is expected.")
        return np.asarray(image)

"""PNG files of labels, read several times faster than the usual readers do.

Label pictures are long repetitions, which libdeflate copies many bytes at a time; what PNG's row filters leave of them
is undone by FFmpeg's vector code, which is handed the rows in a PNG that is not compressed.
"""

from __future__ import annotations

import struct
import threading
import zlib
from collections.abc import Callable

import av
import numpy as np

from univs.video.pixels import check_size


def inflated(content: bytes, size: int) -> bytes:
    """What the standard library inflates, one byte more than ``size`` where there is more."""
    return zlib.decompressobj().decompress(content, size + 1)


try:
    from deflate import DeflateError, zlib_decompress
except ImportError:  # an environment of the user's own; the same pictures, more slowly
    DeflateError, zlib_decompress = zlib.error, inflated

SIGNATURE = b"\x89PNG\r\n\x1a\n"
HEADER = struct.Struct(">IIBBBBB")
MODES = {0: ("L", 1), 2: ("RGB", 3), 3: ("P", 1), 6: ("RGBA", 4)}
"""Colour type -> mode in Pillow's words, and bytes per pixel."""

COLOUR_TYPES = {1: 0, 3: 2, 4: 6}
"""Bytes per pixel -> a colour type that no palette changes."""

FILTERS = 5
STORED = struct.Struct("<BHH")
LONGEST_STORED = 65535
NO_CHECK_SUM = bytes(4)
BEGIN = SIGNATURE + HEADER.size.to_bytes(4, "big") + b"IHDR"
END = NO_CHECK_SUM + bytes(4) + b"IEND" + NO_CHECK_SUM

_kept = threading.local()


def decoded(content: bytes, name: str) -> tuple[np.ndarray, str] | None:
    """Pixels [H, W] or [H, W, C] uint8 of a PNG of 8 bits that is not interlaced, palette indices as they are, and the
    mode in Pillow's words; None for a PNG of another kind.

    Raises:
        ValueError: it is cut off, damaged or no PNG. UserError: an absurd size; ``name`` is the
            file's.
    """
    chunks = chunks_of(content)
    width, height, bits, colour_type, *rest = HEADER.unpack(chunks[b"IHDR"])
    if bits != 8 or colour_type not in MODES or any(rest):
        return None
    check_size(height, width, name)
    mode, channels = MODES[colour_type]
    try:
        rows = zlib_decompress(chunks.get(b"IDAT", b""), height * (width * channels + 1))
    except DeflateError as error:
        raise ValueError("its pixels are damaged") from error
    if len(rows) != height * (width * channels + 1) or max(rows[:: width * channels + 1]) >= FILTERS:
        raise ValueError("its pixels are damaged")
    pixels = _unfiltered(rows, height, width, channels)
    return (pixels if channels > 1 else pixels[..., 0]), mode


def chunks_of(content: bytes) -> dict[bytes, bytes]:
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
    found = {kind: b"".join(bodies) for kind, bodies in chunks.items()}
    if len(found.get(b"IHDR", b"")) != HEADER.size:
        raise ValueError("it does not say its size")
    return found


def _unfiltered(rows: bytes, height: int, width: int, channels: int) -> np.ndarray:
    """Pixels [H, W, C] of filtered rows, each behind the byte that names its filter."""
    packet = _uncompressed(rows, HEADER.pack(width, height, 8, COLOUR_TYPES[channels], 0, 0, 0))
    packet.is_keyframe = True  # any other would be added to the picture before it
    plane = _decoder()(packet)[0].planes[0]
    padded = np.frombuffer(plane, np.uint8).reshape(height, plane.line_size)
    return np.ascontiguousarray(padded[:, : width * channels]).reshape(height, width, channels)


def _decoder() -> Callable[[av.Packet], list[av.VideoFrame]]:
    """FFmpeg's decoder of this thread."""
    if not hasattr(_kept, "decoder"):
        _kept.decoder = av.CodecContext.create("png", "r")
        _kept.decoder.thread_count = 1
    return _kept.decoder.decode


def _uncompressed(rows: bytes, header: bytes) -> av.Packet:
    """A PNG whose rows are stored as they are. FFmpeg needs none of the check sums, so they are left out."""
    whole, left = divmod(len(rows), LONGEST_STORED)
    size = 2 + len(rows) + (whole + 1) * STORED.size
    begin = b"".join((BEGIN, header, NO_CHECK_SUM, size.to_bytes(4, "big"), b"IDAT\x78\x01"))
    end = STORED.pack(1, left, LONGEST_STORED - left) + rows[len(rows) - left :] + END
    packet = av.Packet(len(begin) + whole * (STORED.size + LONGEST_STORED) + len(end))
    target = np.frombuffer(packet, np.uint8)
    target[: len(begin)] = np.frombuffer(begin, np.uint8)
    target[-len(end) :] = np.frombuffer(end, np.uint8)
    blocks = target[len(begin) : -len(end)].reshape(whole, STORED.size + LONGEST_STORED)
    blocks[:, : STORED.size] = np.frombuffer(STORED.pack(0, LONGEST_STORED, 0), np.uint8)
    blocks[:, STORED.size :] = np.frombuffer(rows, np.uint8, whole * LONGEST_STORED).reshape(whole, LONGEST_STORED)
    return packet

"""Small media files that the tests make for themselves: every frame shows its own number."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

BITS = 6
SIZE = (48, 64)


def picture(number: int, height: int = SIZE[0], width: int = SIZE[1]) -> np.ndarray:
    """A frame [H, W, 3]: blue, a yellow square that moves, and the number as black and white blocks at the bottom."""
    frame = np.empty((height, width, 3), np.uint8)
    frame[...] = (40, 80, 120)
    left = number % max(width - width // 4, 1)
    frame[height // 8 : height // 2, left : left + width // 4] = (220, 180, 30)
    for bit in range(BITS):
        frame[-(height // 4) :, bit * width // BITS : (bit + 1) * width // BITS] = 255 if number >> bit & 1 else 0
    return frame


def number_of(frame: np.ndarray) -> int:
    """The number that a frame [H, W, 3] shows."""
    height, width = frame.shape[:2]
    row = frame[-(height // 8), :, :].mean(axis=1)
    return sum(1 << bit for bit in range(BITS) if row[(2 * bit + 1) * width // (2 * BITS)] > 128)


def write_video(
    path: Path,
    codec: str = "libx264",
    pixels: str = "yuv420p",
    numbers: Iterable[int] = range(12),
    times: Callable[[int], float] | None = None,
    options: dict[str, str] | None = None,
    draw: Callable[[int], np.ndarray] = picture,
    muxer: dict[str, str] | None = None,
    title: str = "",
) -> Path:
    """Write a video at 25 frames per second, or with frame n at ``times(n)`` seconds; key frames every 5 frames."""
    with av.open(str(path), "w", options=muxer or {}) as container:
        container.metadata["title"] = title
        stream = container.add_stream(codec, rate=25, options={"g": "5", **(options or {})})
        stream.pix_fmt = pixels
        if times:
            stream.codec_context.time_base = Fraction(1, 1000)
        for place, number in enumerate(numbers):
            drawn = draw(number)
            if place == 0:
                stream.height, stream.width = drawn.shape[:2]
            frame = av.VideoFrame.from_ndarray(drawn, format="rgba" if drawn.shape[2] == 4 else "rgb24")
            frame = frame.reformat(format=pixels)
            if times:
                frame.pts, frame.time_base = round(times(place) * 1000), Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def write_sound(path: Path) -> Path:
    """Write a file with sound and no picture."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=8000, layout="mono")
        for _ in range(4):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            frame.sample_rate = 8000
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def turn_on_its_side(path: Path) -> None:
    """Give an MP4 the metadata of a telephone that was held upright: to be shown turned clockwise by 90 degrees."""
    data = bytearray(path.read_bytes())
    matrix = data.index(b"tkhd") + 4 + 40
    values = (0, 1 << 16, 0, -(1 << 16), 0, 0, SIZE[0] << 16, 0, 1 << 30)
    data[matrix : matrix + 36] = b"".join(value.to_bytes(4, "big", signed=True) for value in values)
    path.write_bytes(data)


def packets_of(path: Path) -> list[tuple[int, int]]:
    """(position, size) in bytes of the packets of a file, in the order in which they are decoded."""
    with av.open(str(path)) as container:
        return [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]


def spoil(path: Path, packet: int) -> None:
    """Overwrite most of a packet with noise."""
    position, size = packets_of(path)[packet]
    data = bytearray(path.read_bytes())
    noise = np.random.default_rng(packet).integers(0, 256, size, np.uint8).tobytes()
    data[position + 5 : position + size] = noise[5:]
    path.write_bytes(data)


def can_encode(codec: str) -> bool:
    """Whether this FFmpeg has an encoder."""
    return codec in av.codecs_available

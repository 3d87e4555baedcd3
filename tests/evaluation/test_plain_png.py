"""Pictures of labels, read by libdeflate and FFmpeg: the same pixels as by Pillow, and damage is found."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from univs.errors import UserError
from univs.evaluation import plain_png
from univs.evaluation.benchmark import BrokenSequence
from univs.evaluation.label_pictures import read_labels, read_segment_map
from univs.evaluation.plain_png import SIGNATURE, decoded

CHANNELS = {0: 1, 2: 3, 3: 1, 6: 4}
MODES = {0: "L", 2: "RGB", 3: "P", 6: "RGBA"}


def chunk(kind: bytes, body: bytes) -> bytes:
    return len(body).to_bytes(4, "big") + kind + body + zlib.crc32(kind + body).to_bytes(4, "big")


def png(rows: bytes, width: int, height: int, colour_type: int, interlaced: int = 0, parts: int = 1) -> bytes:
    """A PNG of filtered rows, its pixels in several chunks."""
    pixels = zlib.compress(rows)
    step = -(-len(pixels) // parts)
    chunks = [chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, colour_type, 0, 0, interlaced))]
    chunks += [chunk(b"PLTE", bytes(range(256)) * 3)] if colour_type == 3 else []
    chunks += [chunk(b"IDAT", pixels[place : place + step]) for place in range(0, len(pixels), step)]
    return SIGNATURE + b"".join(chunks) + chunk(b"IEND", b"")


def filtered_rows(width: int, height: int, channels: int, seed: int = 0, runs: bool = False) -> bytes:
    """Rows with every kind of filter in turn; what they stand for is up to the reader."""
    generator = np.random.default_rng(seed)
    rows = generator.integers(0, 256, (height, 1 + width * channels), np.uint8)
    rows[:, 1:] *= generator.random((height, width * channels)) < (0.05 if runs else 1)
    rows[:, 0] = (np.arange(height) + seed) % 5
    return rows.tobytes()


@pytest.mark.parametrize("colour_type", CHANNELS)
@pytest.mark.parametrize(("width", "height"), [(1, 1), (7, 5), (64, 11), (333, 700)])
@pytest.mark.parametrize("runs", [False, True])
def test_every_filter_is_undone_as_by_pillow(colour_type: int, width: int, height: int, runs: bool) -> None:
    for seed in range(3):
        rows = filtered_rows(width, height, CHANNELS[colour_type], seed, runs)
        content = png(rows, width, height, colour_type, parts=1 + seed)
        pixels, mode = decoded(content, "a.png")
        with Image.open(io.BytesIO(content)) as image:
            assert mode == image.mode == MODES[colour_type]
            assert (pixels == np.asarray(image)).all()


def test_environments_without_libdeflate_read_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    content = png(filtered_rows(90, 80, 3), 90, 80, 2)
    expected = decoded(content, "a.png")[0]
    monkeypatch.setattr(plain_png, "zlib_decompress", plain_png.inflated)
    monkeypatch.setattr(plain_png, "DeflateError", zlib.error)
    assert (decoded(content, "a.png")[0] == expected).all()
    with pytest.raises(ValueError, match="its pixels are damaged"):
        decoded(png(filtered_rows(90, 79, 3), 90, 80, 2), "a.png")


def test_kinds_that_are_left_to_pillow(tmp_path: Path) -> None:
    labels = np.arange(12, dtype=np.uint8).reshape(3, 4) % 2
    Image.fromarray(labels * 255).convert("1").save(tmp_path / "bits.png")
    assert decoded((tmp_path / "bits.png").read_bytes(), "bits.png") is None
    assert (read_labels(tmp_path / "bits.png") == labels).all()
    interlaced = png(filtered_rows(1, 1, 1), 1, 1, 0, interlaced=1)
    assert decoded(interlaced, "a.png") is None
    (tmp_path / "a.png").write_bytes(interlaced)
    assert read_labels(tmp_path / "a.png").shape == (1, 1)


ROWS = filtered_rows(30, 20, 3)
WHOLE = png(ROWS, 30, 20, 2)
DAMAGE = {
    "no picture": b"GIF89a",
    "nothing": b"",
    "cut in a chunk": WHOLE[:200],
    "without its end": WHOLE[:-12],
    "flipped bit": WHOLE[:100] + bytes([WHOLE[100] ^ 4]) + WHOLE[101:],
    "unknown filter": png(b"\x07" + ROWS[1:], 30, 20, 2),
    "too few rows": png(ROWS[: 91 * 19], 30, 20, 2),
    "too many rows": png(ROWS + ROWS[:91], 30, 20, 2),
    "no pixels": SIGNATURE + WHOLE[8:33] + WHOLE[-12:],
    "no header": SIGNATURE + WHOLE[33:],
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_damage_is_found(kind: str, tmp_path: Path) -> None:
    (tmp_path / "00003.png").write_bytes(DAMAGE[kind])
    with pytest.raises(BrokenSequence, match=r"00003.png .frame 00003. is damaged or cut off .*expected a whole PNG"):
        read_segment_map(tmp_path / "00003.png")


def test_absurd_sizes_take_no_memory() -> None:
    with pytest.raises(UserError, match="a.png has frames of 100000x100000"):
        decoded(png(b"", 100_000, 100_000, 0), "a.png")
    with pytest.raises(ValueError, match="its pixels are damaged"):
        decoded(png(bytes(1000), 8000, 8000, 2), "a.png")

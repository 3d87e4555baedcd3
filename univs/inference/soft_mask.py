"""Masks as the session stores them: 8-bit logits of the part of the grid that matters, compressed.

A logit x becomes x / (1 + |x|) in steps of 1/127: fine (0.008) near the outline, coarse where the model is sure, never
saturated, so that of two confident objects the more confident one is still known. Cells far outside the object are set
to one value, which makes a stored mask one or two kilobytes.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

import numpy as np

ABSENT = -14.875  # logit of all cells outside the stored part: step -119 of the code below
_HEADER = struct.Struct("<4H")
_STEPS = 127
_NEAR = -2.0  # cells above this logit, and their neighbours, keep their values
_COMPRESSION = 1


@dataclass(frozen=True)
class SoftMask:
    """Logits ``values`` [h, w] float32 of the part of a grid that begins at cell (top, left); ABSENT elsewhere."""

    grid: tuple[int, int]
    top: int
    left: int
    values: np.ndarray

    @property
    def empty(self) -> bool:
        """Whether no cell is inside the object."""
        return not (self.values > 0).any()

    def full(self) -> np.ndarray:
        """Logits of the whole grid [h4, w4] float32."""
        out = np.full(self.grid, ABSENT, np.float32)
        height, width = self.values.shape
        out[self.top : self.top + height, self.left : self.left + width] = self.values
        return out


def encode(logits: np.ndarray) -> bytes:
    """Compressed bytes of mask logits [h4, w4], none if the object is nowhere; FloatingPointError if not finite."""
    if not np.isfinite(logits).all():
        raise FloatingPointError("the model gave mask logits that are not finite")
    near = logits > _NEAR
    rows, columns = np.flatnonzero(near.any(1)), np.flatnonzero(near.any(0))
    if not len(rows):
        return b""
    top, left = max(rows[0] - 1, 0), max(columns[0] - 1, 0)
    part = (slice(top, rows[-1] + 2), slice(left, columns[-1] + 2))
    steps = np.where(_grown(near[part]), _to_steps(logits[part]), _to_steps(np.float32(ABSENT)))
    return _HEADER.pack(top, left, *steps.shape) + zlib.compress(steps.tobytes(), _COMPRESSION)


def decode(code: bytes, grid: tuple[int, int]) -> SoftMask:
    """The mask of compressed bytes on a grid (h4, w4); ValueError when they are not such bytes."""
    if not code:
        return SoftMask(grid, 0, 0, np.zeros((0, 0), np.float32))
    try:
        top, left, height, width = _HEADER.unpack_from(code)
        raw = zlib.decompressobj().decompress(code[_HEADER.size :], height * width + 1)
    except (struct.error, zlib.error) as error:
        raise ValueError(f"not a stored mask: {error}") from error
    if len(raw) != height * width or not raw or top + height > grid[0] or left + width > grid[1]:
        raise ValueError("not a stored mask: its size is wrong")
    steps = np.frombuffer(raw, np.int8).reshape(height, width).astype(np.float32) / _STEPS
    return SoftMask(grid, top, left, steps / (1 - np.abs(steps)))


def fuse(first: SoftMask, second: SoftMask, weight: float) -> np.ndarray:
    """Logits [h4, w4] of the mean of two masks' probabilities, ``weight`` (0..1) being the second's."""
    mean = _probability(first.full()) * (1 - weight) + _probability(second.full()) * weight
    mean = np.clip(mean, 1e-7, 1 - 1e-7)
    return np.log(mean) - np.log1p(-mean)


def _to_steps(logits: np.ndarray) -> np.ndarray:
    steps = np.rint(logits / (1 + np.abs(logits)) * _STEPS)
    return np.clip(steps, 1 - _STEPS, _STEPS - 1).astype(np.int8)


def _grown(mask: np.ndarray) -> np.ndarray:
    """A boolean mask and the eight neighbours of its cells."""
    tall = mask.copy()
    tall[1:] |= mask[:-1]
    tall[:-1] |= mask[1:]
    out = tall.copy()
    out[:, 1:] |= tall[:, :-1]
    out[:, :-1] |= tall[:, 1:]
    return out


def _probability(logits: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-logits))

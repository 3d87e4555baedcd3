"""From whatever pixels a medium holds to the one form the library works on: RGB, 8 bit, [H, W, 3].

Transparent pixels are laid over black, 16-bit values keep their upper byte, grey is repeated over the three channels.
"""

from __future__ import annotations

import numpy as np

from univs.errors import UserError

MAX_SIDE = 16384
"""Longest side of a frame in pixels; media are untrusted, and one frame must fit in memory."""

MAX_PIXELS = 64 * 1024 * 1024
"""Largest area of a frame in pixels (8K video has half of it)."""


def check_size(height: int, width: int, what: str) -> None:
    """Refuse sizes in pixels that no honest video has; ``what`` names the medium in the message.

    Raises:
        UserError: a side is zero or above MAX_SIDE, or the area is above MAX_PIXELS.
    """
    if height < 1 or width < 1:
        raise UserError(f"{what} has a size of {width}x{height} pixels: there is nothing to see; give another video.")
    if max(height, width) > MAX_SIDE or height * width > MAX_PIXELS:
        raise UserError(
            f"{what} has frames of {width}x{height} pixels; at most {MAX_SIDE} on a side and {MAX_PIXELS >> 20} "
            "megapixels can be read: scale it down first."
        )


def to_rgb(pixels: np.ndarray, what: str = "the frame") -> np.ndarray:
    """Turn grey [H, W] or [H, W, 1], RGB [H, W, 3] or RGBA [H, W, 4] of uint8, uint16 or bool into RGB uint8 [H, W, 3].

    The result shares memory with the input where nothing has to change.

    Raises:
        UserError: another shape or type (``what`` names the frame in the message).
    """
    pixels = np.asarray(pixels)
    if pixels.ndim == 2:
        pixels = pixels[:, :, None]
    if pixels.ndim != 3 or pixels.shape[2] not in (1, 3, 4):
        raise UserError(f"{what} has the shape {list(pixels.shape)}; give [height, width, 3] (RGB).")
    check_size(pixels.shape[0], pixels.shape[1], what)
    pixels = _to_bytes(pixels, what)
    if pixels.shape[2] == 4:
        pixels = over_black(pixels)
    if pixels.shape[2] == 1:
        pixels = np.repeat(pixels, 3, axis=2)
    return np.ascontiguousarray(pixels)


def over_black(rgba: np.ndarray) -> np.ndarray:
    """Lay RGBA [H, W, 4] uint8 with straight alpha over black: RGB [H, W, 3] uint8."""
    alpha = rgba[:, :, 3:].astype(np.uint16)
    return ((rgba[:, :, :3] * alpha + 127) // 255).astype(np.uint8)


def turn(pixels: np.ndarray, degrees: int) -> np.ndarray:
    """Turn a frame [H, W, C] counter-clockwise by a multiple of 90 degrees, as rotation metadata asks."""
    quarters = (degrees // 90) % 4
    return np.ascontiguousarray(np.rot90(pixels, quarters)) if quarters else pixels


def _to_bytes(pixels: np.ndarray, what: str) -> np.ndarray:
    if pixels.dtype == np.uint8:
        return pixels
    if pixels.dtype == np.uint16:
        return (pixels >> 8).astype(np.uint8)
    if pixels.dtype == bool:
        return pixels.astype(np.uint8) * 255
    raise UserError(f"{what} holds values of type {pixels.dtype}; give uint8 values from 0 to 255.")

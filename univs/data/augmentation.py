"""Geometry and colour of training pictures: crops, smooth motion over time, elastic fields, mild colour changes.

Every random choice takes a NumPy generator. Matrices are 2x3 and map source pixels to output pixels, with the centre
of the top-left pixel at (0, 0) as OpenCV has it. Pictures are [H, W, 3] uint8 RGB, id maps [H, W] uint8.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass

import cv2
import numpy as np

IGNORE = 255
"""Value of an id map where nothing is known: outside the picture, or a group of things under one id."""


@dataclass(frozen=True)
class MotionSettings:
    """Strength of random motion, as standard deviations per frame step.

    shift: fraction of the output's longer side; turn: degrees; zoom: natural logarithm of the scale; shear: as a
    slope; bend: the largest displacement of the elastic field over the clip as a fraction of the longer side.
    """

    shift: float = 0.03
    turn: float = 2.5
    zoom: float = 0.025
    shear: float = 0.01
    bend: float = 0.015

    def scaled(self, factor: float) -> MotionSettings:
        """The same kind of motion, ``factor`` times as strong."""
        return MotionSettings(*(factor * value for value in astuple(self)))


def chain(outer: np.ndarray, inner: np.ndarray) -> np.ndarray:
    """The 2x3 matrix that applies ``inner`` first, then ``outer``."""
    linear = outer[:, :2] @ inner[:, :2]
    return np.concatenate([linear, outer[:, :2] @ inner[:, 2:] + outer[:, 2:]], axis=1)


def crop_matrix(
    centre: tuple[float, float], scale: float, size: tuple[int, int], flip: bool = False, turn_degrees: float = 0.0
) -> np.ndarray:
    """Matrix [2, 3] that brings source point ``centre`` (x, y) to the middle of an output of ``size`` (H, W)."""
    height, width = size
    angle = np.deg2rad(turn_degrees)
    linear = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    if flip:
        linear[0] *= -1
    middle = np.array([(width - 1) / 2, (height - 1) / 2])
    return np.concatenate([linear, (middle - linear @ np.asarray(centre, float))[:, None]], axis=1)


def smooth_motion(
    rng: np.random.Generator, frames: int, pivot: tuple[float, float], extent: float, settings: MotionSettings
) -> np.ndarray:
    """Matrices [T, 2, 3] of a camera or object that moves smoothly; the first is the identity.

    Velocity and acceleration are drawn for shift, turn, zoom and shear; all turn and zoom about ``pivot`` (x, y),
    which itself travels. ``extent`` is the length in pixels that ``settings.shift`` is a fraction of.
    """
    sigma = np.array([settings.shift * extent] * 2 + [settings.turn, settings.zoom, settings.shear])
    steps = np.arange(frames, dtype=float)[:, None]
    velocity = rng.normal(0.0, 1.0, 5) * sigma
    acceleration = rng.normal(0.0, 0.35, 5) * sigma / max(1, frames - 1)
    tremor = rng.normal(0.0, 0.15, (frames, 5)) * sigma
    tremor[0] = 0.0
    values = velocity * steps + acceleration * steps**2 + tremor
    return np.stack([_about(pivot, *row) for row in values])


def _about(pivot: tuple[float, float], shift_x, shift_y, turn: float, zoom: float, shear: float) -> np.ndarray:
    angle, scale = np.deg2rad(turn), np.exp(np.clip(zoom, -0.7, 0.7))
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    linear = scale * rotation @ np.array([[1.0, shear], [0.0, 1.0]])
    point = np.asarray(pivot, float)
    return np.concatenate([linear, (point + (shift_x, shift_y) - linear @ point)[:, None]], axis=1)


def elastic_motion(rng: np.random.Generator, frames: int, amplitude: float, grid: int = 4) -> np.ndarray:
    """Displacements [T, grid, grid, 2] in pixels that grow smoothly from zero in the first frame.

    Two random fields are mixed, so that the bend changes direction during a clip. ``amplitude``: standard deviation
    in pixels at the end of the clip.
    """
    fields = rng.normal(0.0, amplitude, (2, grid, grid, 2)).astype(np.float32)
    steps = np.arange(frames, dtype=np.float32) / max(1, frames - 1)
    growth = np.stack([steps, steps * (1 - steps) * 2])
    return np.einsum("kt,kxyc->txyc", growth, fields)


def warp(
    image: np.ndarray,
    mask: np.ndarray,
    matrix: np.ndarray,
    size: tuple[int, int],
    displacement: np.ndarray | None = None,
    outside: int = IGNORE,
) -> tuple[np.ndarray, np.ndarray]:
    """Picture [h, w, 3] and id map [h, w] seen through ``matrix`` and an optional elastic ``displacement`` [g, g, 2].

    The picture is mirrored beyond its borders, the id map is ``outside`` there. Returns arrays of ``size`` (H, W).
    """
    height, width = size
    inverse = cv2.invertAffineTransform(matrix.astype(np.float64))
    if displacement is None:
        flags = cv2.WARP_INVERSE_MAP
        seen = cv2.warpAffine(image, inverse, (width, height), flags=flags | cv2.INTER_LINEAR, borderMode=_MIRROR)
        ids = cv2.warpAffine(
            mask, inverse, (width, height), flags=flags | cv2.INTER_NEAREST, borderMode=_FILL, borderValue=outside
        )
        return seen, ids
    places = _pixel_grid(height, width) + cv2.resize(displacement, (width, height), interpolation=cv2.INTER_LINEAR)
    places = cv2.transform(places, inverse.astype(np.float32))
    seen = cv2.remap(image, places, None, cv2.INTER_LINEAR, borderMode=_MIRROR)
    return seen, cv2.remap(mask, places, None, cv2.INTER_NEAREST, borderMode=_FILL, borderValue=outside)


_MIRROR = cv2.BORDER_REFLECT_101
_FILL = cv2.BORDER_CONSTANT
_GRIDS: dict[tuple[int, int], np.ndarray] = {}


def _pixel_grid(height: int, width: int) -> np.ndarray:
    """Pixel places [H, W, 2] as (x, y); kept, because a loader asks for the same few sizes again and again."""
    grid = _GRIDS.get((height, width))
    if grid is None:
        if len(_GRIDS) > 64:
            _GRIDS.clear()
        grid = np.stack(np.meshgrid(np.arange(width), np.arange(height)), axis=-1).astype(np.float32)
        _GRIDS[(height, width)] = grid
    return grid


def colour_change(rng: np.random.Generator, frames: int, strength: float = 1.0) -> np.ndarray:
    """Colour matrices [T, 3, 4] (RGB and offset): contrast, saturation, tint and brightness of a clip.

    One change per clip and a much smaller one per frame, as an automatic exposure makes it.
    """
    contrast = np.exp(rng.normal(0.0, 0.12 * strength))
    saturation = np.clip(np.exp(rng.normal(0.0, 0.2 * strength)), 0.0, 2.0)
    tint = np.exp(rng.normal(0.0, 0.04 * strength, 3))
    brightness = rng.normal(0.0, 12.0 * strength)
    grey = np.tile([0.299, 0.587, 0.114], (3, 1))
    linear = np.diag(tint) @ (saturation * np.eye(3) + (1 - saturation) * grey) * contrast
    gains = np.exp(rng.normal(0.0, 0.02 * strength, frames))
    offset = np.full((3, 1), brightness + 118.0 * (1 - contrast))
    return np.stack([np.concatenate([linear * gain, offset], axis=1) for gain in gains]).astype(np.float32)


def recolour(image: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Apply a colour matrix [3, 4] to a picture [H, W, 3] uint8, saturating at 0 and 255."""
    return cv2.transform(image, matrix)


def clamp_centre(centre: np.ndarray, scale: float, size: tuple[int, int], picture: tuple[int, int]) -> np.ndarray:
    """Move a crop's centre (x, y) so that the crop of ``size`` (H, W) at ``scale`` lies in the picture (h, w)."""
    half = np.array([size[1], size[0]]) / (2 * scale)
    limit = np.array([picture[1], picture[0]], float)
    low, high = np.minimum(half, limit / 2), np.maximum(limit - half, limit / 2)
    return np.clip(centre, low, high) - 0.5

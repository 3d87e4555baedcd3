"""Large scale jitter: the augmentation of the published training, as one matrix per frame.

A frame is mirrored, turned, scaled and cropped; composing the steps to one matrix resamples it once. Matrices are 2x3
and map source to output pixels, the centre of the top-left pixel at (0, 0).
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from .augmentation import chain


@dataclass(frozen=True)
class JitterSettings:
    """Settings of the jitter; sizes in pixels.

    square: crop or pad to image_size x image_size after a random scale; otherwise the shorter side becomes one of
    ``short_sides``, but no more than lets the longer side be ``longest_side``. min_scale, max_scale: of the size that
    just fits the square. rotation: largest angle in degrees. drift: how far the crop moves within a clip, as a
    fraction of the square.
    """

    image_size: int = 1024
    min_scale: float = 0.25
    max_scale: float = 4.0
    square: bool = True
    rotation: float = 15.0
    flip: bool = True
    drift: float = 0.1
    short_sides: tuple[int, ...] = (512, 544, 576, 608, 640, 672, 704, 736, 768, 800)
    longest_side: int = 1333


@dataclass
class ClipViews:
    """matrices: [T, 2, 3]; size: (H, W) of every output frame; flipped: whether left is right."""

    matrices: np.ndarray
    size: tuple[int, int]
    flipped: bool


def draw_views(rng: np.random.Generator, shape: tuple[int, int], frames: int, settings: JitterSettings) -> ClipViews:
    """Views of the frames of one clip of pictures of ``shape`` (h, w).

    Per clip: mirrored or not, the middle of the rotation, the way of the crop. Per frame: the angle (growing or
    falling through the clip) and, for square crops, the scale.
    """
    flipped = bool(settings.flip and rng.random() < 0.5)
    turns = _turns(rng, shape, frames, settings.rotation)
    mirror = np.array([[-1.0, 0.0, shape[1] - 1.0], [0.0, 1.0, 0.0]]) if flipped else np.eye(2, 3)
    if settings.square:
        size, crops = (settings.image_size,) * 2, _square_crops(rng, shape, frames, settings)
    else:
        size = _resized(rng, shape, settings)
        crops = [_scaling(shape, size)] * frames
    matrices = [chain(crop, chain(turn, mirror)) for crop, turn in zip(crops, turns, strict=True)]
    return ClipViews(np.stack(matrices), size, flipped)


def look(image: np.ndarray, matrix: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Picture [h, w, 3] uint8 seen through ``matrix`` at ``size`` (H, W), black beyond its borders.

    Where it becomes less than half as large, pixels are averaged first, as sampling alone would alias.
    """
    scale = np.sqrt(abs(np.linalg.det(matrix[:, :2])))
    step = int(1 / max(scale, 1e-3))
    if step > 1 and min(image.shape[:2]) > step:
        small = (max(1, round(image.shape[0] / step)), max(1, round(image.shape[1] / step)))
        matrix = chain(matrix, _scaling(small, image.shape[:2]))
        image = cv2.resize(image, small[::-1], interpolation=cv2.INTER_AREA)
    return cv2.warpAffine(image, matrix, size[::-1], flags=cv2.INTER_LINEAR)


def look_at_mask(mask: np.ndarray, matrix: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Boolean mask [h, w] seen through ``matrix`` at ``size`` (H, W), False beyond the picture's borders."""
    return cv2.warpAffine(mask.view(np.uint8), matrix, size[::-1], flags=cv2.INTER_NEAREST).view(bool)


def _turns(rng: np.random.Generator, shape: tuple[int, int], frames: int, largest: float) -> list[np.ndarray]:
    angles = np.sort(rng.uniform(-largest, largest, frames))
    if rng.random() < 0.5:
        angles = angles[::-1]
    middle = rng.uniform(0.4, 0.6, 2) * (shape[1] - 1, shape[0] - 1)
    return [cv2.getRotationMatrix2D(tuple(middle), float(angle), 1.0) for angle in angles]


def _scaling(shape: tuple[int, int], size: tuple[int, int]) -> np.ndarray:
    """Matrix that stretches a picture of ``shape`` to ``size``, borders to borders."""
    y, x = size[0] / shape[0], size[1] / shape[1]
    return np.array([[x, 0.0, (x - 1) / 2], [0.0, y, (y - 1) / 2]])


def _square_crops(
    rng: np.random.Generator, shape: tuple[int, int], frames: int, settings: JitterSettings
) -> list[np.ndarray]:
    side = settings.image_size
    fit = min(side / shape[0], side / shape[1])
    place = rng.random()
    crops, offset = [], None
    for _ in range(frames):
        scale = fit * rng.uniform(settings.min_scale, settings.max_scale)
        scaled = (max(1, round(shape[0] * scale)), max(1, round(shape[1] * scale)))
        spare = np.maximum(np.array(scaled) - side, 0)
        moved = place * spare if offset is None else offset + rng.uniform(-1, 1, 2) * settings.drift * side
        offset = np.clip(moved, 0, spare)
        crop = _scaling(shape, scaled)
        crop[:, 2] -= offset[::-1]
        crops.append(crop)
    return crops


def _resized(rng: np.random.Generator, shape: tuple[int, int], settings: JitterSettings) -> tuple[int, int]:
    short = settings.short_sides[rng.integers(len(settings.short_sides))]
    scale = min(short / min(shape), settings.longest_side / max(shape))
    return round(shape[0] * scale), round(shape[1] * scale)

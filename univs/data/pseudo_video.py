"""Cut-out objects that move over the frames of a clip: pseudo-video from stills."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from .augmentation import warp


@dataclass
class Layer:
    """One cut-out object that moves.

    image: [h, w, 3] uint8 RGB. mask: [h, w] uint8, 255 on the object and 0 beside it. matrices: [T, 2, 3], source to
    canvas. bends: [T, g, g, 2] displacements in canvas pixels, or None. label: the id that it writes.
    """

    image: np.ndarray
    mask: np.ndarray
    matrices: np.ndarray
    bends: np.ndarray | None
    label: int


def paste_layers(images: list[np.ndarray], ids: list[np.ndarray], layers: list[Layer]) -> None:
    """Draw ``layers`` into frames [H, W, 3] and id maps [H, W] in place; a later layer hides the earlier ones."""
    for time, (image, id_map) in enumerate(zip(images, ids, strict=True)):
        for layer in layers:
            _paste(image, id_map, layer, time)


def _paste(image: np.ndarray, ids: np.ndarray, layer: Layer, time: int) -> None:
    """Draw frame ``time`` of a cut-out into ``image`` and ``ids`` in place, with an outline softened over a pixel."""
    matrix = layer.matrices[time]
    x0, y0, x1, y1 = _reach(layer.mask.shape, matrix, ids.shape)
    if x1 - x0 < 2 or y1 - y0 < 2:
        return
    moved = matrix.copy()
    moved[:, 2] -= (x0, y0)
    bend = None if layer.bends is None else layer.bends[time]
    paint, opaque = warp(layer.image, layer.mask, moved, (y1 - y0, x1 - x0), bend, outside=0)
    alpha = cv2.blur(opaque, (3, 3)).astype(np.float32) / 255.0
    region = image[y0:y1, x0:x1]
    region[:] = cv2.blendLinear(paint, np.ascontiguousarray(region), alpha, 1.0 - alpha)
    ids[y0:y1, x0:x1][opaque > 127] = layer.label


def _reach(shape: tuple[int, int], matrix: np.ndarray, canvas: tuple[int, int]) -> tuple[int, int, int, int]:
    """Box (x0, y0, x1, y1) of the canvas that a source of ``shape`` can touch, with a margin for bends."""
    height, width = shape
    corners = np.array([[0, 0], [width, 0], [0, height], [width, height]], float)
    places = corners @ matrix[:, :2].T + matrix[:, 2]
    margin = 2 + 0.05 * float(np.ptp(places, axis=0).max())
    low = np.floor(places.min(axis=0) - margin).astype(int)
    high = np.ceil(places.max(axis=0) + margin).astype(int)
    return max(0, low[0]), max(0, low[1]), min(canvas[1], high[0]), min(canvas[0], high[1])

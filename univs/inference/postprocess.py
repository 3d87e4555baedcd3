"""From the objects' own masks to one frame in which they do not overlap.

Where masks overlap, objects that the user pointed at in this frame come first, then the larger logit, then the lower
id. Work is done in the region of each object only.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from univs.inference.geometry import MaskGeometry
from univs.inference.soft_mask import SoftMask

_SURE = np.float32(np.inf)
_LEAST = np.float32(1e-6)


@dataclass(frozen=True)
class Layer:
    """One object in one frame: logits [h, w] of the region whose first video pixel is (top, left); outside: absent."""

    object_id: int
    top: int
    left: int
    logits: np.ndarray
    confirmed: bool

    @property
    def region(self) -> tuple[slice, slice]:
        """The region in the frame."""
        height, width = self.logits.shape
        return slice(self.top, self.top + height), slice(self.left, self.left + width)


def soft_layer(object_id: int, mask: SoftMask, geometry: MaskGeometry, confirmed: bool) -> Layer:
    """The layer of a stored mask."""
    if not mask.values.size:
        return Layer(object_id, 0, 0, np.zeros((0, 0), np.float32), confirmed)
    logits, top, left = geometry.enlarge(mask.values, mask.top, mask.left)
    return Layer(object_id, top, left, logits, confirmed)


def exact_layer(object_id: int, mask: np.ndarray, soft: SoftMask, geometry: MaskGeometry, confirmed: bool) -> Layer:
    """The layer of a boolean mask [H, W] that holds pixel by pixel.

    A mask that the user drew is beyond doubt; one that was found is as sure as the model's logits.
    """
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return Layer(object_id, 0, 0, np.zeros((0, 0), np.float32), confirmed)
    part = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    inside = _SURE if confirmed else np.maximum(geometry.enlarge(soft.full())[0][part], _LEAST)
    logits = np.where(mask[part], inside, -_SURE)
    return Layer(object_id, int(rows[0]), int(columns[0]), logits, confirmed)


def separate(layers: list[Layer], size: tuple[int, int]) -> dict[int, np.ndarray]:
    """Boolean masks [H, W] by object id, no pixel in two of them."""
    if not _any_meet(layers):
        return {layer.object_id: _placed(layer, layer.logits > 0, size) for layer in layers}
    owner = np.full(size, -1, np.int32)
    best = np.zeros(size, np.float32)
    in_order = sorted(layers, key=lambda item: item.object_id)
    confirmed = [layer for layer in in_order if layer.confirmed]
    for layer in confirmed:
        _claim(layer, owner, best)
    if confirmed:
        best[owner >= 0] = _SURE
    for layer in in_order:
        if not layer.confirmed:
            _claim(layer, owner, best)
    return {layer.object_id: _placed(layer, owner[layer.region] == layer.object_id, size) for layer in layers}


def _claim(layer: Layer, owner: np.ndarray, best: np.ndarray) -> None:
    """Give an object the pixels of its region in which its logit is above the best so far (at least 0)."""
    won = layer.logits > best[layer.region]
    np.copyto(best[layer.region], layer.logits, where=won)
    owner[layer.region][won] = layer.object_id


def _any_meet(layers: list[Layer]) -> bool:
    """Whether two regions have a pixel in common."""
    regions = [layer.region for layer in layers]
    top, bottom = (np.array([getattr(rows, end) for rows, _ in regions]) for end in ("start", "stop"))
    left, right = (np.array([getattr(columns, end) for _, columns in regions]) for end in ("start", "stop"))
    high = (top[:, None] < bottom) & (top < bottom[:, None])
    wide = (left[:, None] < right) & (left < right[:, None])
    return bool(np.triu(high & wide, 1).any())


def _placed(layer: Layer, part: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    mask = np.zeros(size, bool)
    mask[layer.region] = part
    return mask

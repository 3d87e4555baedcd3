"""Rules of the stored cases of whole videos: weights whose masks are small and decided, frames, given masks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tests import rule

# The masks of rule-made weights cover most of a picture; the mask embedding is scaled and moved, the mask features are
# moved against it.
SCALE, FORWARD, BACK = np.float32(4.0), np.float32(5.0), np.float32(-2.0)
EMBEDDING = "sem_seg_head.predictor.mask_embed.layers.2."
FEATURES = "sem_seg_head.pixel_decoder.mask_features.bias"


def weight(tag: str, name: str, shape: Sequence[int]) -> np.ndarray:
    """Weight of a published key."""
    value = rule.weight(tag, name, shape)
    if name.startswith(EMBEDDING):
        value = value * SCALE
    if name == EMBEDDING + "bias":
        value = value + FORWARD * _direction(tag)
    if name == FEATURES:
        value = value + BACK * _direction(tag)
    return value.astype(np.float32)


def _direction(tag: str) -> np.ndarray:
    offset = rule.normal(tag + "/mask_offset", (256,))
    return (offset / np.sqrt((offset**2).sum())).astype(np.float32)


def frames(inputs: Mapping[str, Any]) -> np.ndarray:
    """The video, uint8 [T, 3, H, W]."""
    count = inputs.get("n_img", inputs.get("n", 4))
    return rule.image(inputs["video_tag"], inputs["T"], inputs["H"], inputs["W"], n=count)


def given_masks(inputs: Mapping[str, Any]) -> list[list[tuple[int, np.ndarray]]]:
    """Per frame the (number of the object, mask) of the objects given there; a pixel belongs to the first of them."""
    masks = rule.masks(inputs["video_tag"], inputs["n"], inputs["T"], inputs["H"], inputs["W"]).astype(bool)
    before = np.cumsum(masks, 0) - masks
    masks = masks & (before == 0)
    return [
        [
            (row, masks[row, frame])
            for row in range(len(masks))
            if inputs["start"][row] == frame and masks[row, frame].any()
        ]
        for frame in range(inputs["T"])
    ]


def unpack(bits: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """Boolean array that was stored as packed bits."""
    shape = tuple(int(side) for side in shape)
    return np.unpackbits(bits)[: int(np.prod(shape))].reshape(shape).astype(bool)

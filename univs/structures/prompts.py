"""What a user can say about an object.

Coordinates are pixels of the original video: x to the right, y down, the centre of the top-left
pixel is (0.5, 0.5), boxes are (x0, y0, x1, y1) with exclusive right and bottom edges. Every prompt is
immutable and hashable, so that a session can compare, sort, store and replay it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from pycocotools import mask as coco_mask


@dataclass(frozen=True)
class PointPrompt:
    """Clicks: ``points`` (x, y) with ``labels`` 1 (on the object) or 0 (not on the object)."""

    points: tuple[tuple[float, float], ...]
    labels: tuple[int, ...]

    kind = "point"


@dataclass(frozen=True)
class BoxPrompt:
    """A box (x0, y0, x1, y1) round the object."""

    box: tuple[float, float, float, float]

    kind = "box"


@dataclass(frozen=True)
class MaskPrompt:
    """A mask, kept as compressed COCO run-length code of ``size`` (height, width)."""

    size: tuple[int, int]
    counts: bytes

    kind = "mask"

    @classmethod
    def from_array(cls, mask: np.ndarray) -> MaskPrompt:
        """Encode a boolean mask [H, W]."""
        code = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
        return cls(size=(int(mask.shape[0]), int(mask.shape[1])), counts=code["counts"])

    def to_array(self) -> np.ndarray:
        """Decode to a boolean mask [H, W]."""
        return coco_mask.decode({"size": list(self.size), "counts": self.counts}).astype(bool)


@dataclass(frozen=True)
class ScribblePrompt:
    """Strokes: each a polyline of (x, y); ``labels`` 1 or 0 per stroke as for clicks."""

    strokes: tuple[tuple[tuple[float, float], ...], ...]
    labels: tuple[int, ...]

    kind = "scribble"


@dataclass(frozen=True)
class TextPrompt:
    """A sentence that names one object."""

    text: str

    kind = "text"


@dataclass(frozen=True)
class CategoryPrompt:
    """Category names; every instance of any of them is wanted."""

    names: tuple[str, ...]

    kind = "category"


Prompt = PointPrompt | BoxPrompt | MaskPrompt | ScribblePrompt | TextPrompt | CategoryPrompt

"""What a session gives back."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass
class ObjectResult:
    """One object in one frame: boolean mask [H, W] at the video's own size, score in 0..1, category or None."""

    object_id: int
    mask: np.ndarray
    score: float
    category: str | None = None
    name: str | None = None


@dataclass
class FrameResult:
    """All objects of one frame; masks of different objects do not overlap."""

    index: int
    objects: list[ObjectResult]

    @property
    def masks(self) -> dict[int, np.ndarray]:
        """Boolean masks [H, W] by object id."""
        return {item.object_id: item.mask for item in self.objects}

    @property
    def scores(self) -> dict[int, float]:
        """Scores by object id."""
        return {item.object_id: item.score for item in self.objects}

    @property
    def categories(self) -> dict[int, str | None]:
        """Category names by object id."""
        return {item.object_id: item.category for item in self.objects}

    def palette(self, height: int, width: int) -> np.ndarray:
        """Id map [height, width] uint8, 0 = background (uint16 when an id passes 255)."""
        top = max((item.object_id for item in self.objects), default=0)
        out = np.zeros((height, width), np.uint8 if top < 256 else np.uint16)
        for item in self.objects:
            out[item.mask] = item.object_id
        return out

"""A stand-in for a model: it knows where the shapes are, so that what remains is the cost of the session itself."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from benchmarks.shapes import MovingShapes
from univs.inference.geometry import MaskGeometry
from univs.inference.protocol import Answer, Discovery
from univs.structures import FrameFeatures, Prompt

STRIDE = 4


class KnowingSegmenter:
    """Answers with the true shapes: object id n is shape n - 1."""

    name = "stand-in"

    def __init__(self, shapes: MovingShapes) -> None:
        self._shapes = shapes
        self._geometry = self.geometry(shapes.size)

    def geometry(self, size: tuple[int, int]) -> MaskGeometry:
        """A grid of stride 4 on the frame itself."""
        padded = tuple(-(-side // STRIDE) * STRIDE for side in size)
        return MaskGeometry.of_network(size, size, padded, STRIDE)

    def encode(self, frame: np.ndarray) -> FrameFeatures:
        """Nothing to compute."""
        return FrameFeatures([], torch.zeros(1), frame.shape[:2], frame.shape[:2])

    def answer(
        self,
        features: FrameFeatures,
        size: tuple[int, int],
        prompts: Sequence[Prompt],
        base: np.ndarray | None,
        alternatives: bool = False,
    ) -> list[Answer]:
        """The given mask."""
        mask = self._geometry.shrink(prompts[0].to_array())
        return [Answer(torch.from_numpy(np.where(mask, 6, -6).astype(np.float32)), 1.0)]

    def start(self) -> None:
        """No memory."""

    def remember(
        self, memory: None, frame_index: int, features: FrameFeatures, logits: dict[int, Tensor], permanent: bool
    ) -> None:
        """Nothing to remember."""

    def forget(
        self, memory: None, object_ids: Sequence[int] | None = None, frames: Sequence[int] | None = None
    ) -> None:
        """Nothing to forget."""

    def follow(
        self, memory: None, frame_index: int, features: FrameFeatures, object_ids: Sequence[int]
    ) -> dict[int, Answer]:
        """Logits that fall off with the distance from each ellipse."""
        height, width = self._geometry.grid
        y, x = ((torch.arange(side) + 0.5) * STRIDE for side in (height, width))
        centres, radii = self._shapes.centres(frame_index), self._shapes.radii
        out = {}
        for object_id in object_ids:
            (cy, cx), (ry, rx) = centres[object_id - 1], radii[object_id - 1]
            far = (((y - cy) / ry) ** 2)[:, None] + ((x - cx) / rx) ** 2
            out[object_id] = Answer((8 * (1 - far)).clamp(min=-10).float(), 0.9)
        return out

    def discover(self, features: FrameFeatures, size: tuple[int, int], names: Sequence[str]) -> list[Discovery]:
        """Finds nothing new."""
        return []

    def memory_report(self, memory: None) -> dict[str, int]:
        """Nothing is held."""
        return {"frames": 0, "objects": 0, "bytes": 0}

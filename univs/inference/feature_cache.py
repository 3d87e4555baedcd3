"""Features of frames: computed when first asked for, the last few kept."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import is_dataclass

import numpy as np
from torch import Tensor

from univs.inference.protocol import Segmenter
from univs.structures import FrameFeatures
from univs.video.source import LostFrameError, VideoSource


class FeatureCache:
    """Features by frame number; ``capacity`` frames are held."""

    def __init__(self, segmenter: Segmenter, source: VideoSource, capacity: int) -> None:
        self._segmenter = segmenter
        self._source = source
        self._capacity = capacity
        self._held: OrderedDict[int, FrameFeatures | None] = OrderedDict()

    def get(self, frame: int) -> FrameFeatures | None:
        """Features of a frame, or None where the video cannot be decoded."""
        if frame not in self._held:
            self._held[frame] = self._compute(frame)
            while len(self._held) > self._capacity:
                self._held.popitem(last=False)
        self._held.move_to_end(frame)
        return self._held[frame]

    def clear(self) -> None:
        """Let go of all features."""
        self._held.clear()

    @property
    def frames(self) -> list[int]:
        """Frames held, the one used last at the end."""
        return list(self._held)

    @property
    def bytes(self) -> int:
        """Memory the features take."""
        return _size(list(self._held.values()))

    def _compute(self, frame: int) -> FrameFeatures | None:
        pixels = self._pixels(frame)
        return None if pixels is None else self._segmenter.encode(pixels)

    def _pixels(self, frame: int) -> np.ndarray | None:
        try:
            return self._source.frame(frame)
        except LostFrameError:
            return None


def _size(held: object) -> int:
    """Bytes of all tensors in nested dataclasses, dictionaries and lists."""
    if isinstance(held, Tensor):
        return held.numel() * held.element_size()
    if is_dataclass(held):
        held = vars(held)
    if isinstance(held, dict):
        held = list(held.values())
    return sum(map(_size, held)) if isinstance(held, (list, tuple)) else 0

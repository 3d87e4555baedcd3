"""What the session asks of a model. Anything that answers these calls can be driven by the session.

The contract behind the signatures:
* Objects are independent: what ``follow`` says about one object depends on what was remembered for it alone, to the
  last bit, whatever other objects are in the memory or in the same call. Work on pixels (keys, affinities) may be
  shared.
* Which evictable frames of an object are kept may depend on that object's own history only.
* The same calls give the same bits on the same machine.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from torch import Tensor

from univs.inference.geometry import MaskGeometry
from univs.structures import FrameFeatures, Prompt


@dataclass(frozen=True)
class Answer:
    """A mask of one object in one frame: logits [h4, w4] (positive inside), score in 0..1."""

    mask_logits: Tensor
    score: float


@dataclass(frozen=True)
class Discovery:
    """An object found by category: its category, score in 0..1, mask logits [h4, w4]."""

    category: str
    score: float
    mask_logits: Tensor


Memory = Any  # the segmenter's own; the session only hands it back


class Segmenter(Protocol):
    """A model as the session sees it. ``name`` identifies model and weights; it is written into session files."""

    name: str

    def geometry(self, size: tuple[int, int]) -> MaskGeometry:
        """The mask grid [h4, w4] of frames of ``size`` (H, W), and where it lies in them."""

    def encode(self, frame: np.ndarray) -> FrameFeatures:
        """Features of one frame, uint8 RGB [H, W, 3] (T = 1): backbone and pixel decoder, once per frame."""

    def answer(
        self,
        features: FrameFeatures,
        size: tuple[int, int],
        prompts: Sequence[Prompt],
        base: np.ndarray | None,
        alternatives: bool = False,
    ) -> list[Answer]:
        """Masks of one object from all its prompts on one frame, best first.

        Prompts are in canonical order, at most one of each visual kind. ``base`` [H, W] bool is the mask that the user
        saw and corrects. With ``alternatives`` further readings of an ambiguous prompt follow the best one.
        """

    def start(self) -> Memory:
        """An empty memory for many objects."""

    def remember(
        self, memory: Memory, frame_index: int, features: FrameFeatures, logits: dict[int, Tensor], permanent: bool
    ) -> None:
        """Store masks [h4, w4] by object id; permanent ones stay until forgotten, others as long as the budget allows.

        A pass between two user frames remembers both, the one from which it starts last.
        """

    def forget(
        self, memory: Memory, object_ids: Sequence[int] | None = None, frames: Sequence[int] | None = None
    ) -> None:
        """Forget objects, some frames of them, or (neither given) everything; unknown ids and frames are no error."""

    def follow(
        self, memory: Memory, frame_index: int, features: FrameFeatures, object_ids: Sequence[int]
    ) -> dict[int, Answer]:
        """Masks of remembered objects in this frame. Frames come in order, upwards or downwards."""

    def discover(self, features: FrameFeatures, size: tuple[int, int], names: Sequence[str]) -> list[Discovery]:
        """All instances of the named categories in this frame, duplicates removed, best first."""

    def memory_report(self, memory: Memory) -> dict[str, int]:
        """What a memory holds: at least ``frames``, ``objects`` and ``bytes``."""

"""What a stream of clips gives out."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class FrameMasks:
    """The followed objects of one frame.

    index: frame of the video. ids: of the N objects. masks: bool [N, Ho, Wo] at the video's own size.
    """

    index: int
    ids: tuple[int, ...]
    masks: Tensor

"""The registry of prompt encoders and what every encoder of a visual prompt offers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from fvcore.common.registry import Registry

from univs.layers.draws import Draws
from univs.modeling.prompt_encoder.prompt_frame import Placement, PromptFrame, VisualTokens
from univs.structures import Prompt

PROMPT_ENCODER_REGISTRY = Registry("PROMPT_ENCODER")
PROMPT_ENCODER_REGISTRY.__doc__ = """
Encoders of the kinds of prompts, by class name. An encoder names its kind in the attribute ``kind``; visual kinds
derive from VisualPromptEncoder.
"""


@dataclass(frozen=True)
class VisualPromptSettings:
    """Settings of the visual prompt encoders.

    tokens: R, tokens of one prompt in one frame.
    negative_clicks: clicks and strokes with label 0 have tokens; off, they are left out, because published checkpoints
        have no way to say "not here".
    independent_objects: the cells of a mask depend on that mask alone, and a mask that falls between the sampled pixels
        keeps the cells that it touches; off, as published: all objects of a call share one threshold, and such a mask
        has no cell.
    """

    tokens: int = 32
    negative_clicks: bool = False
    independent_objects: bool = False


class VisualPromptEncoder(ABC):
    """Turns prompts of one kind on one frame into tokens; has no parameters."""

    kind: str

    def __init__(self, settings: VisualPromptSettings) -> None:
        self.settings = settings

    @abstractmethod
    def encode(self, prompts: Sequence[Prompt], frame: PromptFrame, placement: Placement, draws: Draws) -> VisualTokens:
        """Tokens of K prompts, one per object, coordinates in pixels of the original video."""

"""Prompts become tokens: one file per kind of prompt, found through PROMPT_ENCODER_REGISTRY."""

from .box import BoxEncoder, encode_boxes
from .encoder import PromptEncoder, PromptEncoderSettings
from .mask import MaskEncoder, encode_masks
from .point import PointEncoder, encode_points
from .prompt_frame import Placement, PromptFrame, VisualTokens, join_tokens
from .registry import PROMPT_ENCODER_REGISTRY, VisualPromptEncoder, VisualPromptSettings
from .scribble import ScribbleEncoder
from .text import TextEncoder

__all__ = [
    "PROMPT_ENCODER_REGISTRY",
    "BoxEncoder",
    "MaskEncoder",
    "Placement",
    "PointEncoder",
    "PromptEncoder",
    "PromptEncoderSettings",
    "PromptFrame",
    "ScribbleEncoder",
    "TextEncoder",
    "VisualPromptEncoder",
    "VisualPromptSettings",
    "VisualTokens",
    "encode_boxes",
    "encode_masks",
    "encode_points",
    "join_tokens",
]

"""The vocabulary of the library: data only, no mathematics."""

from .features import ClipPrediction, FrameFeatures, PromptTokens
from .prompts import (
    BoxPrompt,
    CategoryPrompt,
    MaskPrompt,
    PointPrompt,
    Prompt,
    ScribblePrompt,
    TextPrompt,
)
from .targets import Targets
from .tracks import FrameResult, ObjectResult

__all__ = [
    "BoxPrompt",
    "CategoryPrompt",
    "ClipPrediction",
    "FrameFeatures",
    "FrameResult",
    "MaskPrompt",
    "ObjectResult",
    "PointPrompt",
    "Prompt",
    "PromptTokens",
    "ScribblePrompt",
    "Targets",
    "TextPrompt",
]

"""The vocabulary of the library: data only, no mathematics.

What holds tensors is imported when it is first used, so that reading videos and scoring files do not load PyTorch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .prompts import (
    BoxPrompt,
    CategoryPrompt,
    MaskPrompt,
    PointPrompt,
    Prompt,
    ScribblePrompt,
    TextPrompt,
)
from .tracks import FrameResult, ObjectResult

if TYPE_CHECKING:
    from .features import ClipPrediction, FrameFeatures, PromptTokens
    from .targets import Targets

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

_WITH_TENSORS = {
    "ClipPrediction": "features",
    "FrameFeatures": "features",
    "PromptTokens": "features",
    "Targets": "targets",
}


def __getattr__(name: str) -> Any:
    if name in _WITH_TENSORS:
        return getattr(import_module(f"{__name__}.{_WITH_TENSORS[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

"""UniVS: prompts become queries, queries become masks, masks become the next frame's prompts.

``VideoPredictor`` and ``VideoSession`` are imported when they are first used, so that ``import univs`` costs nothing.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from univs.inference.predictor import VideoPredictor
    from univs.inference.session import VideoSession

__version__ = "0.1.0"
__all__ = ["VideoPredictor", "VideoSession", "__version__"]


def __getattr__(name: str) -> Any:
    if name == "VideoPredictor":
        from univs.inference.predictor import VideoPredictor

        return VideoPredictor
    if name == "VideoSession":
        from univs.inference.session import VideoSession

        return VideoSession
    raise AttributeError(f"module 'univs' has no attribute {name!r}")

"""Videos in, results out: reading, writing and drawing."""

from univs.video.reader import open_video
from univs.video.source import LostFrame, LostFrameError, LostFrameWarning, VideoSource

__all__ = ["LostFrame", "LostFrameError", "LostFrameWarning", "VideoSource", "open_video"]

"""Videos in, results out: reading, drawing and writing."""

from univs.video.overlay import OverlayStyle, draw
from univs.video.palette import read_palette_mask, write_palette_mask
from univs.video.reader import open_video
from univs.video.result_json import ObjectMetadata
from univs.video.results import ResultOptions, ResultWriter
from univs.video.source import LostFrame, LostFrameError, LostFrameWarning, VideoSource
from univs.video.writer import VideoWriter

__all__ = [
    "LostFrame",
    "LostFrameError",
    "LostFrameWarning",
    "ObjectMetadata",
    "OverlayStyle",
    "ResultOptions",
    "ResultWriter",
    "VideoSource",
    "VideoWriter",
    "draw",
    "open_video",
    "read_palette_mask",
    "write_palette_mask",
]

"""Semantic maps of videos: each clip on its own, nothing is followed."""

from __future__ import annotations

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from univs.inference.clips.arithmetic import mask_quality
from univs.inference.clips.clip import Clip
from univs.inference.clips.overlap import QUERIES_AT_ONCE, class_map
from univs.inference.clips.results import SemanticFrame
from univs.inference.clips.seeds import VideoSeeds
from univs.inference.clips.settings import ClipSettings
from univs.inference.clips.state import ObjectState
from univs.inference.clips.steps import NothingFollowed


class SemanticMaps(NothingFollowed):
    """Every pixel gets the class that the learnable queries say together."""

    def __init__(self, settings: ClipSettings, seeds: VideoSeeds) -> None:
        self.settings = settings

    def give_out(self, state: ObjectState, clip: Clip) -> list[SemanticFrame]:
        """The maps of the first s frames of the clip."""
        return semantic_frames(clip, 0, min(self.settings.stride, clip.frames))

    def close(self, state: ObjectState, clip: Clip, is_last: bool) -> list[SemanticFrame]:
        """The other frames of the last clip."""
        return semantic_frames(clip, self.settings.stride, clip.frames) if is_last else []


def semantic_frames(clip: Clip, start: int, stop: int) -> list[SemanticFrame]:
    """Maps of the frames ``start`` .. ``stop - 1`` of a clip.

    Masks are enlarged to the padded size bilinearly and to the video's size by nearest pixels; the quality of a mask is
    measured there, on these frames.
    """
    masks = clip.learnable_masks()[:, start:stop]
    if not masks.shape[1]:
        return []
    quality = torch.cat([mask_quality(_nearest(clip, _at_input(clip, part))) for part in masks.split(QUERIES_AT_ONCE)])
    scores = clip.prediction.class_logits[0, : len(masks)].sigmoid() * quality[:, None]
    # a pixel's class depends on its own logits alone, so that the map may be made before the second resizing
    maps = torch.cat([class_map(scores, frame, partial(_at_input, clip)) for frame in masks.split(1, dim=1)])
    maps = _nearest(clip, maps[None].float())[0].to(torch.int64)
    return [SemanticFrame(clip.first + start + number, classes) for number, classes in enumerate(maps)]


def _at_input(clip: Clip, masks: Tensor) -> Tensor:
    """Mask logits [N, T, h, w] at the size of the network input without padding, [N, T, H0, W0]."""
    return clip.unpadded(clip.enlarged(masks))


def _nearest(clip: Clip, maps: Tensor) -> Tensor:
    """Maps [N, T, H0, W0] at the video's own size by nearest pixels, [N, T, Ho, Wo]."""
    return maps if maps.shape[-2:] == clip.video_size else F.interpolate(maps, size=clip.video_size, mode="nearest")

"""Semantic tokens of videos: what the learnable queries hold, and reduced mask features, of every frame."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from univs.errors import UserError
from univs.inference.clips.clip import Clip
from univs.inference.clips.results import FrameTokens
from univs.inference.clips.seeds import VideoSeeds
from univs.inference.clips.settings import ClipSettings
from univs.inference.clips.state import ObjectState
from univs.inference.clips.steps import NothingFollowed

# channels that are enlarged to the network's input together
CHANNELS_AT_ONCE = 16


class QueryTokens(NothingFollowed):
    """Each clip stands alone; frames are given out as in `SemanticMaps`."""

    def __init__(self, settings: ClipSettings, seeds: VideoSeeds) -> None:
        self.settings = settings

    def give_out(self, state: ObjectState, clip: Clip) -> list[FrameTokens]:
        """The first s frames of the clip."""
        return self._frames(clip, range(min(self.settings.stride, clip.frames)))

    def close(self, state: ObjectState, clip: Clip, is_last: bool) -> list[FrameTokens]:
        """The other frames of the last clip."""
        return self._frames(clip, range(self.settings.stride, clip.frames)) if is_last else []

    def _frames(self, clip: Clip, places: range) -> list[FrameTokens]:
        contents = clip.prediction.contents[0, : clip.prediction.num_learnable]
        return [
            FrameTokens(
                clip.first + place,
                contents[:, place].float().T.contiguous(),
                _reduced(clip, clip.features.mask_features[place].float(), self.settings.compression_ratio),
            )
            for place in places
        ]


def _reduced(clip: Clip, maps: Tensor, ratio: int) -> Tensor:
    """Maps [C, H/4, W/4] enlarged to the padded size, cut, and reduced by nearest pixels to [C, Ho/ratio, Wo/ratio].

    Raises:
        UserError: nothing of the video would be left.
    """
    size = tuple(side // ratio for side in clip.video_size)
    if not all(size):
        height, width = clip.video_size
        raise UserError(f"INFERENCE.COMPRESSION_RATIO {ratio} leaves nothing of a video of {width} x {height} pixels.")
    parts = (clip.unpadded(clip.enlarged(part[None])) for part in maps.split(CHANNELS_AT_ONCE))
    return torch.cat([F.interpolate(part, size=size, mode="nearest")[0] for part in parts])

"""One clip of a video, decoded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from univs.inference.clips.seeds import GivenMasks
from univs.structures import ClipPrediction, FrameFeatures


@dataclass
class Clip:
    """Frames ``first`` .. ``first + frames - 1`` of the video (i .. i + T - 1), and what the decoder says of them.

    features: maps of the T frames. prediction: learnable queries first (if they were asked), then one prompt query per
    object; None while there is nothing to ask. new_frames: frames by which the state is extended. given: masks by
    frame. video_size: (Ho, Wo), the size that results are given in.
    """

    first: int
    frames: int
    new_frames: int
    features: FrameFeatures
    video_size: tuple[int, int]
    given: Mapping[int, GivenMasks] = field(default_factory=dict)
    prediction: ClipPrediction | None = None

    @property
    def image_size(self) -> tuple[int, int]:
        """(height, width) of the network input without padding (H0, W0)."""
        return self.features.image_size

    @property
    def padded_size(self) -> tuple[int, int]:
        """(height, width) with padding (H, W)."""
        return self.features.padded_size

    @property
    def stop(self) -> int:
        """The frame after the last."""
        return self.first + self.frames

    @property
    def num_prompts(self) -> int:
        """P, prompt queries."""
        return self.prediction.embeddings.shape[1] - self.prediction.num_learnable

    def prompt_embeddings(self) -> Tensor:
        """[P, T, C]."""
        return self.prediction.embeddings[0, self.prediction.num_learnable :].float()

    def prompt_masks(self) -> Tensor:
        """Mask logits [P, T, H/4, W/4] of the prompt queries, the last that are given."""
        masks = self.prediction.mask_logits[0]
        return masks[len(masks) - self.num_prompts :].float()

    def learnable_embeddings(self) -> Tensor:
        """[Q, T, C]."""
        return self.prediction.embeddings[0, : self.prediction.num_learnable].float()

    def learnable_masks(self) -> Tensor:
        """Mask logits [Q, T, H/4, W/4] of the learnable queries."""
        return self.prediction.mask_logits[0, : self.prediction.num_learnable].float()

    def enlarged(self, masks: Tensor) -> Tensor:
        """Mask logits [N, T, H/4, W/4] at the padded size, [N, T, H, W]."""
        return F.interpolate(masks, size=self.padded_size, mode="bilinear", align_corners=False)

    def unpadded(self, masks: Tensor) -> Tensor:
        """Masks [..., H, W] without padding, [..., H0, W0]."""
        return masks[..., : self.image_size[0], : self.image_size[1]]

    def at_video_size(self, masks: Tensor) -> Tensor:
        """Mask logits [N, T, H, W] without padding at the video's own size, [N, T, Ho, Wo]."""
        masks = self.unpadded(masks)
        if masks.shape[-2:] == self.video_size:
            return masks
        return F.interpolate(masks, size=self.video_size, mode="bilinear", align_corners=False)

    def enlarged_to_video(self, masks: Tensor) -> Tensor:
        """Mask logits [N, T, H/4, W/4] at the video's own size, [N, T, Ho, Wo]."""
        return self.at_video_size(self.enlarged(masks))


def joined(frames: Sequence[FrameFeatures]) -> FrameFeatures:
    """The maps of several frames, one after the other."""
    first = frames[0]
    return FrameFeatures(
        [torch.cat(maps) for maps in zip(*(frame.levels for frame in frames), strict=True)],
        torch.cat([frame.mask_features for frame in frames]),
        first.image_size,
        first.padded_size,
    )

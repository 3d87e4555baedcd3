"""One frame as prompts see it, where a user's coordinates lie in it, and the tokens that come out."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from univs.layers.point_sampling import sample_points
from univs.layers.positions import point_code
from univs.structures import PromptTokens

# pixels per cell of the map that prompts are read from
STRIDE = 8


@dataclass
class PromptFrame:
    """The map of one frame that prompts are read from.

    source: [C, h, w] the decoder's stride-8 map. positions: [C, h, w] codes of its cells, the time included.
    time_code: [C] code of the time that is added to the codes of points.
    """

    source: Tensor
    positions: Tensor
    time_code: Tensor

    @property
    def size(self) -> tuple[int, int]:
        """(h, w) in cells."""
        return self.source.shape[1], self.source.shape[2]

    def values_at(self, points: Tensor) -> Tensor:
        """Features [P, C] at points [P, 2], (x, y) in 0..1 of the padded frame."""
        return sample_points(self.source.unsqueeze(0), points.unsqueeze(0))[0].t()

    def codes_of(self, points: Tensor) -> Tensor:
        """Position codes [P, C] of points [P, 2], (x, y) in 0..1 of the padded frame."""
        return point_code(points, self.time_code.unsqueeze(0))[0].to(self.source.dtype)


@dataclass
class VisualTokens:
    """R tokens of each of K prompts on one frame.

    features, positions: [K, R, C], zero where the prompt is invalid. valid: [K] bool.
    negative: [K, R] bool, tokens that say where the object is not; None where there are none.
    """

    features: Tensor
    positions: Tensor
    valid: Tensor
    negative: Tensor | None = None

    def __post_init__(self) -> None:
        keep = self.valid[:, None, None]
        self.features = self.features * keep
        self.positions = self.positions * keep

    def __getitem__(self, rows: Tensor) -> VisualTokens:
        """The prompts of the given rows, in their order."""
        negative = None if self.negative is None else self.negative[rows]
        return VisualTokens(self.features[rows], self.positions[rows], self.valid[rows], negative)

    def as_prompt_tokens(self) -> PromptTokens:
        """Tokens [K, R, 1, C] that are the same in every frame of a clip."""
        features, positions = self.features.unsqueeze(2), self.positions.unsqueeze(2)
        return PromptTokens(features, positions, self.valid, "visual", negative=self.negative)


def join_tokens(parts: list[VisualTokens]) -> VisualTokens:
    """The prompts of all parts, one after the other."""
    negative = None
    if any(part.negative is not None for part in parts):
        empty = [part.features.new_zeros(part.features.shape[:2], dtype=torch.bool) for part in parts]
        pairs = zip(parts, empty, strict=True)
        negative = torch.cat([none if part.negative is None else part.negative for part, none in pairs])
    return VisualTokens(
        torch.cat([part.features for part in parts]),
        torch.cat([part.positions for part in parts]),
        torch.cat([part.valid for part in parts]),
        negative,
    )


@dataclass(frozen=True)
class Placement:
    """How the pixels of the original video lie in the network's input; all sizes are (height, width) in pixels.

    The frame is resized from ``video_size`` to ``image_size`` and padded on the right and at the bottom to
    ``padded_size``.
    """

    video_size: tuple[int, int]
    image_size: tuple[int, int]
    padded_size: tuple[int, int]

    def points(self, points: Tensor) -> Tensor:
        """Video pixels (x, y) [..., 2] to 0..1 of the padded frame."""
        scale = [self.image_size[i] / self.video_size[i] / self.padded_size[i] for i in (1, 0)]
        return points * points.new_tensor(scale)

    def masks(self, masks: Tensor) -> Tensor:
        """Masks [K, H0, W0] of the video's size to the padded size [K, H, W], nearest pixel, float."""
        masks = F.interpolate(masks.float().unsqueeze(1), size=self.image_size, mode="nearest-exact")[:, 0]
        below, right = (self.padded_size[i] - self.image_size[i] for i in (0, 1))
        return F.pad(masks, (0, right, 0, below))

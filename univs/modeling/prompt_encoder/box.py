"""Boxes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from univs.layers.draws import Draws
from univs.modeling.prompt_encoder.prompt_frame import Placement, PromptFrame, VisualTokens
from univs.modeling.prompt_encoder.regions import grid_boxes, region_tokens
from univs.modeling.prompt_encoder.registry import (
    PROMPT_ENCODER_REGISTRY,
    VisualPromptEncoder,
    VisualPromptSettings,
)
from univs.structures import BoxPrompt

# share of the frame above which a training box is moved and resized, and by how much of its size
JITTERED_AREA = 0.09
JITTER = 0.1
# the representative point of a box lies within this share of its size round the centre
CENTRAL_SHARE = 0.25


@PROMPT_ENCODER_REGISTRY.register()
class BoxEncoder(VisualPromptEncoder):
    """Samples the cells inside the box."""

    kind = "box"

    def encode(
        self, prompts: Sequence[BoxPrompt], frame: PromptFrame, placement: Placement, draws: Draws
    ) -> VisualTokens:
        """Tokens of K boxes, coordinates in pixels of the original video."""
        corners = torch.tensor([prompt.box for prompt in prompts], dtype=torch.float32).reshape(-1, 2, 2)
        boxes = placement.points(corners.to(frame.source.device)).flatten(1)
        return encode_boxes(boxes, frame, self.settings, draws)


def encode_boxes(
    boxes: Tensor, frame: PromptFrame, settings: VisualPromptSettings, draws: Draws, training: bool = False
) -> VisualTokens:
    """Tokens of K boxes [K, 4] (x0, y0, x1, y1) in 0..1 of the padded frame.

    In training large boxes are jittered and the four extreme cells are always among the tokens. A box without a width
    or a height is invalid.
    """
    valid = (boxes[:, 2:] > boxes[:, :2]).all(1)
    points = box_points(boxes, draws)
    if training:
        boxes = jitter_boxes(boxes, draws)
    region = grid_boxes(boxes, *frame.size)
    inside = region.flatten(1).to(frame.source.dtype)
    area = inside.sum(1, keepdim=True)
    means = inside @ frame.source.flatten(1).t() / area.clamp(min=1)
    means = torch.where(area > 0, means, frame.values_at(points))
    blank = means, frame.codes_of(points)
    return VisualTokens(*region_tokens(frame, region, blank, settings.tokens, draws, training), valid)


def box_points(boxes: Tensor, draws: Draws) -> Tensor:
    """A random point [K, 2] near the centre of each box [K, 4]."""
    noise = 2 * draws.uniform("box_point", (len(boxes), 1, 2))[:, 0].to(boxes.device) - 1
    centres, sizes = (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]
    return centres + CENTRAL_SHARE * noise * sizes


def jitter_boxes(boxes: Tensor, draws: Draws) -> Tensor:
    """Large boxes [K, 4] in 0..1 with size and centre changed by up to a tenth of their size, others unchanged."""
    shape = (len(boxes), 2)
    size_noise = 2 * draws.uniform("box_size_noise", shape).to(boxes.device) - 1
    centre_noise = 2 * draws.uniform("box_centre_noise", shape).to(boxes.device) - 1
    centres, sizes = (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]
    large = sizes.prod(1, keepdim=True) > JITTERED_AREA
    moved = (centres + JITTER * sizes * centre_noise).clamp(0, 1)
    resized = (sizes * (1 + JITTER * size_noise)).clamp(0, 1)
    jittered = torch.cat([moved - resized / 2, moved + resized / 2], 1)
    return torch.where(large, jittered, boxes)

"""Masks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from univs.layers.draws import Draws
from univs.modeling.prompt_encoder.box import CENTRAL_SHARE
from univs.modeling.prompt_encoder.prompt_frame import Placement, PromptFrame, VisualTokens
from univs.modeling.prompt_encoder.regions import grid_masks, region_tokens, tight_boxes
from univs.modeling.prompt_encoder.registry import (
    PROMPT_ENCODER_REGISTRY,
    VisualPromptEncoder,
    VisualPromptSettings,
)
from univs.structures import MaskPrompt


@PROMPT_ENCODER_REGISTRY.register()
class MaskEncoder(VisualPromptEncoder):
    """Samples the cells of the mask."""

    kind = "mask"

    def encode(
        self, prompts: Sequence[MaskPrompt], frame: PromptFrame, placement: Placement, draws: Draws
    ) -> VisualTokens:
        """Tokens of K masks of the original video's size."""
        arrays = np.stack([prompt.to_array() for prompt in prompts])
        masks = placement.masks(torch.from_numpy(arrays).to(frame.source.device))
        return encode_masks(masks, tight_boxes(masks), frame, self.settings, draws)


def encode_masks(
    masks: Tensor,
    boxes: Tensor,
    frame: PromptFrame,
    settings: VisualPromptSettings,
    draws: Draws,
    training: bool = False,
) -> VisualTokens:
    """Tokens of K masks [K, H, W] in 0..1 at the padded size, with their boxes [K, 4] in 0..1.

    In training the four extreme cells are always among the tokens. A mask without a pixel above 0.5 is invalid.
    """
    masks = masks.to(frame.source.dtype)
    values, region = grid_masks(masks, *frame.size, settings.independent_objects)
    weights = (values * region).flatten(1)
    means = weights @ frame.source.flatten(1).t() / weights.sum(1, keepdim=True).clamp(min=0.5)
    # only an object without cells needs its point
    codes = torch.zeros_like(means)
    missed = (~region.flatten(1).any(1)).nonzero()[:, 0]
    if len(missed):
        codes[missed] = frame.codes_of(mask_points(masks[missed], boxes[missed], draws))
    tokens = region_tokens(frame, region, (means, codes), settings.tokens, draws, training)
    return VisualTokens(*tokens, (masks > 0.5).flatten(1).any(1))


def mask_points(masks: Tensor, boxes: Tensor, draws: Draws) -> Tensor:
    """A random pixel's centre [K, 2], (x, y) in 0..1, of each mask [K, H, W]: near the centre of its box [K, 4] if the
    mask has pixels of at least min(0.75, its largest value) there, else any pixel of at least min(0.95, that)."""
    points = [_mask_point(mask, box, draws) for mask, box in zip(masks, boxes, strict=True)]
    return torch.stack(points) if points else masks.new_zeros((0, 2))


def _mask_point(mask: Tensor, box: Tensor, draws: Draws) -> Tensor:
    height, width = mask.shape
    # made on the CPU: GPUs multiply by 1 / width, and a last bit decides whether a pixel is central
    x, y = (((torch.arange(side) + 0.5) / side).to(mask.device) for side in (width, height))
    reach = CENTRAL_SHARE * (box[2:] - box[:2])
    centre = (box[2:] + box[:2]) / 2
    central = ((y - centre[1]).abs() < reach[1])[:, None] & ((x - centre[0]).abs() < reach[0])
    top = mask.max()
    candidates = ((mask >= top.clamp(max=0.75)) & central).nonzero()
    purpose = "mask_point"
    if not len(candidates):
        candidates = (mask >= top.clamp(max=0.95)).nonzero()
        purpose = "mask_point_fallback"
    row, column = candidates[int(draws.permutation(purpose, len(candidates))[0])]
    return torch.stack([x[column], y[row]])

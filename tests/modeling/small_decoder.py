"""A mask decoder of a few channels, with maps and prompts for it."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from univs.modeling.mask_decoder import MaskDecoder, MaskDecoderSettings
from univs.structures import FrameFeatures, PromptTokens

DIM = 16
SETTINGS = MaskDecoderSettings(
    hidden_dim=DIM, num_queries=5, num_heads=2, feedforward_dim=24, num_layers=4, text_dim=12
)


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def small_decoder(**changes) -> MaskDecoder:
    """An untrained decoder in evaluation mode, with weights large enough for queries to differ."""
    torch.manual_seed(3)
    decoder = MaskDecoder(replace(SETTINGS, **changes)).eval()
    with torch.no_grad():
        for name, value in decoder.named_parameters():
            if name.endswith("weight") and value.dim() == 2 and not name.endswith("temperature.weight"):
                value.copy_(torch.randn_like(value) / value.shape[1] ** 0.5 * (0 if "dense" in name else 1))
    return decoder


def features(frames: int = 2, height: int = 64, width: int = 96, seed: int = 0) -> FrameFeatures:
    levels = [random(frames, DIM, height // s, width // s, seed=seed + s) for s in (32, 16, 8)]
    masks = random(frames, DIM, height // 4, width // 4, seed=seed + 4)
    return FrameFeatures(levels, masks, (height, width), (height, width))


def visual_prompts(count: int = 3, tokens: int = 6, frames: int = 1, seed: int = 0) -> PromptTokens:
    shape = (count, tokens, frames, DIM)
    return PromptTokens(
        random(*shape, seed=seed + 1), random(*shape, seed=seed + 2), torch.ones(count, dtype=torch.bool), "visual"
    )

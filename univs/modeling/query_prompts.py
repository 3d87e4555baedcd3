"""How objects that are followed frame by frame become prompt queries: from their remembered masks to tokens."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from univs.layers.draws import Draws
from univs.modeling.mask_decoder import MaskDecoder
from univs.modeling.prompt_encoder import VisualTokens, encode_masks
from univs.modeling.prompt_encoder.regions import tight_boxes
from univs.structures import PromptTokens


def frame_tokens(decoder: MaskDecoder, level: Tensor, masks: Tensor, draws: Draws) -> VisualTokens:
    """Tokens [K, R, C] of K masks on one frame.

    level: [C, H/8, W/8], the frame's finest map. masks: [K, H/4, W/4] in 0..1. Every frame is a clip of its own, so
    that tokens say where an object was, not when.
    """
    time = decoder.time_codes(torch.zeros(1, dtype=torch.long, device=level.device))[0]
    frame = decoder.prompt_frame(level, time)
    return encode_masks(masks, tight_boxes(masks), frame, decoder.settings.visual_prompts, draws)


def remembered_prompts(tokens: Sequence[VisualTokens]) -> PromptTokens:
    """Prompts of K objects from their tokens in the remembered frames, oldest first: [K, M * R, 1, C].

    An object that is absent from a frame has blank tokens there, which the first query leaves out.
    """
    features = torch.cat([part.features for part in tokens], 1).unsqueeze(2)
    positions = torch.cat([part.positions for part in tokens], 1).unsqueeze(2)
    valid = torch.stack([part.valid for part in tokens]).any(0)
    return PromptTokens(features, positions, valid, "visual")


def add_dense_reading(prompts: PromptTokens, logits: Tensor, codes: Tensor) -> PromptTokens:
    """Give prompts what the dense memory read in a frame: mask logits [K, H/4, W/4] and object codes [K, D]."""
    prompts.dense_logits, prompts.dense_features = logits.unsqueeze(1), codes.unsqueeze(1)
    return prompts


def mean_codes(read: Tensor, logits: Tensor) -> Tensor:
    """Mean [K, D] over each object of the codes that its cells read.

    read: [K, 4 + D, h8, w8], carried values (masks, then codes); logits: [K, h4, w4].
    """
    weights = F.avg_pool2d(logits.sigmoid().unsqueeze(1), 2)
    return (read[:, 4:] * weights).flatten(2).sum(2) / weights.flatten(2).sum(2).clamp(min=1)

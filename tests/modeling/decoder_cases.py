"""Decoders, maps and class tables as the stored cases of the mask decoder describe them."""

from __future__ import annotations

import functools
from pathlib import Path

import torch
from torch import Tensor, nn

from tests import parity, rule
from univs.config import get_config
from univs.modeling.decoder_layers import QueryAttention
from univs.modeling.mask_decoder import MaskDecoder, MaskDecoderSettings
from univs.modeling.prompt_encoder import VisualPromptSettings
from univs.modeling.prompt_queries import PromptQueries
from univs.modeling.settings import class_ranges
from univs.structures import ClipPrediction, FrameFeatures

CONFIGS = Path(__file__).parents[2] / "configs"
CLASS_RANGES = class_ranges(get_config(CONFIGS / "_base" / "model.yaml"))
STRIDES = (32, 16, 8)


def case_decoder(case) -> MaskDecoder:
    """The decoder of a case with weights by rule, in the case's mode."""
    config = case.config
    settings = MaskDecoderSettings(
        hidden_dim=config["hidden_dim"],
        num_queries=config["queries"],
        num_heads=config["heads"],
        feedforward_dim=config["ffn"],
        num_layers=config["decoder_layers"],
        prompt_layers=config["prompt_self_attn_layers"],
        text_dim=config["text_dim"],
        query_attention=config["self_attn_mask"],
        temporal_positions=config["position_embedding"],
        language_to_vision=config.get("lang2vision", True),
        visual_prompts=VisualPromptSettings(tokens=config["points_per_prompt"]),
    )
    decoder = _filled_decoder(settings, case.tag)
    decoder.draws = parity.RuleDraws(case)
    return decoder.train(config.get("mode") == "train")


@functools.cache
def _filled_decoder(settings: MaskDecoderSettings, tag: str) -> MaskDecoder:
    """A decoder with weights by rule; the cases that differ in nothing else share it."""
    return parity.fill(MaskDecoder(settings), tag, "mask_decoder.")


def case_features(case, frames: int) -> FrameFeatures:
    """Maps of all ``frames`` frames (of all videos) of a case."""
    config = case.config
    dim, size = config["hidden_dim"], (config["H"], config["W"])

    def tensor(name: str, stride: int, scale: float = 1.0) -> Tensor:
        shape = (frames, dim, size[0] // stride, size[1] // stride)
        return parity.tensor(rule.tensor(case.tag, name, shape, scale))

    levels = [tensor(f"level_{number}", stride) for number, stride in enumerate(STRIDES)]
    return FrameFeatures(levels, tensor("mask_features", 4, 0.8), size, size)


def clip_features(features: FrameFeatures, first: int, frames: int) -> FrameFeatures:
    """The maps of ``frames`` frames from frame ``first``."""
    pick = slice(first, first + frames)
    levels = [level[pick] for level in features.levels]
    return FrameFeatures(levels, features.mask_features[pick], features.image_size, features.padded_size)


def class_table(case) -> Tensor:
    """Text embeddings of all classes."""
    rows = max(columns.stop for columns in CLASS_RANGES.values())
    return parity.tensor(rule.weight(case.tag, "clip_cls_text_emb", (rows, case.config["text_dim"])))


def check_prediction(case, prediction: ClipPrediction, prefix: str = "") -> None:
    """Compare the last layer and, where they are stored, the earlier ones."""
    for number, layer in enumerate(prediction.auxiliary):
        if f"{prefix}aux{number}_mask_logits" in case.outputs:
            check_prediction(case, layer, f"{prefix}aux{number}_")
    case.check(prefix + "class_logits", prediction.class_logits)
    case.check(prefix + "mask_logits", prediction.mask_logits)
    case.check(prefix + "embeddings", prediction.embeddings)
    if prefix + "reid_logits" in case.outputs:
        case.check(prefix + "reid_logits", _similarity(prediction))


def _similarity(prediction: ClipPrediction) -> Tensor:
    """Cosine similarity to the prompts where the decoder gives one, else scaled products of all pairs of embeddings."""
    if prediction.similarity is not None:
        return prediction.similarity
    flat = prediction.embeddings.flatten(0, 2)
    return flat @ flat.t() / flat.shape[1] ** 0.5


def check_prompt_queries(case, decoder: MaskDecoder, queries: PromptQueries, discover: bool = True) -> None:
    """Compare the initial prompt queries, their tokens, and all queries after the first prompt cross-attention."""
    videos, frames, prompts, _ = queries.content.shape

    def by_prompt(values: Tensor) -> Tensor:
        """[B, T, K, C] to [K, B * T, C]."""
        return values.permute(2, 0, 1, 3).flatten(1, 2)

    def tokens_by_prompt(values: Tensor) -> Tensor:
        """[B, K, L, T or 1, C] to [K, L, B * T, C]."""
        return values.expand(-1, -1, -1, frames, -1).permute(1, 2, 0, 3, 4).flatten(2, 3)

    case.check("prompt_query", by_prompt(queries.content))
    case.check("prompt_query_pos", by_prompt(queries.position))
    case.check("prompt_tokens", tokens_by_prompt(queries.tokens))
    if queries.token_keys is not None:
        case.check("prompt_tokens_pos", tokens_by_prompt(queries.token_keys - queries.tokens))
    state = decoder.start(queries, videos, frames, discover)
    case.check("after_first_proca", by_prompt(state.content))
    assert torch.equal(state.position[:, :, -prompts:], state.content[:, :, -prompts:])


def blocked_pairs(pattern: str, num_learnable: int, num_prompts: int, frames: int) -> Tensor:
    """Which queries do not see which, bool [N * T, N * T], index query * T + frame, read off the attention's output.

    Every query carries its own unit vector, all attention weights are equal, and nothing else is done to the output.
    """
    queries = num_learnable + num_prompts
    tokens = queries * frames
    attention = QueryAttention(tokens, 1)
    with torch.no_grad():
        attention.attention.in_proj_weight.zero_()
        attention.attention.in_proj_weight[2 * tokens :] = torch.eye(tokens)
        attention.attention.out_proj.weight.copy_(torch.eye(tokens))
        attention.norm = nn.Identity()
        content = torch.eye(tokens).view(queries, frames, tokens).transpose(0, 1)[None]
        seen = attention(content, torch.zeros_like(content), num_learnable, pattern) - content
    return seen[0].transpose(0, 1).reshape(tokens, tokens) == 0

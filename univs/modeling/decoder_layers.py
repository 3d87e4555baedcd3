"""One layer of the mask decoder: prompts, image, the other queries, perceptron."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from univs.errors import UserError
from univs.layers.attention import AttentionLayer, FeedForward

# What queries see of each other; "blocked" is the published "sep-blocked", "all" also the published "none".
SEPARATED, BLOCKED, ONE_WAY, ALL = "sep", "sep-blocked", "sep-l2p", "all"


def attention_pattern(name: str, expressions: bool) -> str:
    """The pattern of query attention that a configured name means; expressions never see each other.

    Raises UserError for an unknown name.
    """
    if name in ("none", ALL):
        return ALL
    if name not in (SEPARATED, BLOCKED, ONE_WAY):
        raise UserError(f"Query attention '{name}' is unknown; use sep, sep-blocked, sep-l2p, none or all.")
    return BLOCKED if expressions else name


class PromptAttention(AttentionLayer):
    """Prompt cross-attention (ProCA): a prompt query reads its own prompt's tokens and itself."""

    def forward(self, content: Tensor, position: Tensor | None, tokens: Tensor, keys: Tensor | None) -> Tensor:
        """Update the prompt queries, each prompt and frame on its own.

        Args:
            content: [B, T, K, C]. position: the same shape, or None for text (no positions at all).
            tokens: [B, K, L, T or 1, C], one set for each frame or for all. keys: the same with positions, or None.

        Returns:
            [B, T, K, C].
        """
        frames = content.shape[1] if tokens.shape[3] == 1 else 1  # that read the same tokens
        x, own = (
            None if x is None else x.transpose(1, 2).reshape(-1, frames, x.shape[-1]) for x in (content, position)
        )
        tokens, keys = (None if x is None else x.transpose(2, 3).flatten(0, 2) for x in (tokens, keys))
        query = x if own is None else x + own
        seen = self.attention.with_itself(query, (query, x), tokens if keys is None else keys, tokens)
        return self.norm(x + seen).view(content.transpose(1, 2).shape).transpose(1, 2)


class QueryAttention(AttentionLayer):
    """Separated self-attention (SepSA) of the queries of all frames of a video."""

    def forward(self, content: Tensor, position: Tensor, num_learnable: int, pattern: str) -> Tensor:
        """Let the queries see each other.

        Learnable queries never see prompt queries. Prompt queries see each other (sep), only themselves in other frames
        (sep-blocked) or everything (sep-l2p); with "all", everything sees everything. No mask is ever made: each group
        attends on its own.

        Args:
            content, position: [B, T, N, C], the first ``num_learnable`` of N are the learnable queries.

        Returns:
            [B, T, N, C].
        """
        if pattern == ALL or num_learnable == content.shape[2]:
            return self._within(content, position)
        split = [num_learnable, content.shape[2] - num_learnable]
        (learnable, prompts), (learnable_position, prompt_position) = content.split(split, 2), position.split(split, 2)
        if pattern == ONE_WAY:
            memory, memory_position = content.flatten(1, 2), position.flatten(1, 2)
            flat = super().forward(prompts.flatten(1, 2), memory, prompt_position.flatten(1, 2), memory_position)
            prompts = flat.view_as(prompts)
        elif pattern == BLOCKED:
            alone = (x.transpose(1, 2).flatten(0, 1).unsqueeze(2) for x in (prompts, prompt_position))
            prompts = self._within(*alone).view(prompts.transpose(1, 2).shape).transpose(1, 2)
        else:
            prompts = self._within(prompts, prompt_position)
        if not num_learnable:
            return prompts
        return torch.cat([self._within(learnable, learnable_position), prompts], 2)

    def _within(self, content: Tensor, position: Tensor) -> Tensor:
        """All queries of all frames see each other; [B, T, N, C] -> [B, T, N, C]."""
        x, own = content.flatten(1, 2), position.flatten(1, 2)
        return super().forward(x, x, own, own).view(content.shape)


class DecoderLayer(nn.Module):
    """The parts of one layer; ``prompt_attention`` is absent in layers after the configured number."""

    def __init__(self, dim: int, heads: int, feedforward_dim: int, reads_prompts: bool) -> None:
        super().__init__()
        self.prompt_attention = PromptAttention(dim, heads) if reads_prompts else None
        self.image_attention = AttentionLayer(dim, heads)
        self.query_attention = QueryAttention(dim, heads)
        self.feed_forward = FeedForward(dim, feedforward_dim)

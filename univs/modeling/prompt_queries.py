"""Tokens of prompts become the first prompt queries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from univs.layers.draws import Draws
from univs.structures import PromptTokens


@dataclass
class PromptQueries:
    """K prompt queries of each of B videos, and what they read.

    content, position: [B, T, K, C]. kind: as in PromptTokens.
    tokens: [B, K, M, T or 1, C] for the prompt cross-attention; token_keys: the same with positions, None for text.
    sentences: [B, K, D] text embeddings of expressions, or None.
    dense_logits: [B, K, T, H/4, W/4] mask logits of a dense memory, or None.
    """

    content: Tensor
    position: Tensor
    kind: str
    tokens: Tensor
    token_keys: Tensor | None
    sentences: Tensor | None = None
    dense_logits: Tensor | None = None


class InitialQueries(nn.Module):
    """Mean of a prompt's tokens plus an embedding of its kind.

    ``dense``, only for models with a dense memory (``dense_dim`` > 0), adds what that memory read; it starts at zero.
    """

    def __init__(self, hidden_dim: int, dense_dim: int = 0) -> None:
        super().__init__()
        self.visual = nn.Embedding(1, hidden_dim)
        self.category = nn.Embedding(1, hidden_dim)
        self.expression = nn.Embedding(1, hidden_dim)
        self.dense = nn.Linear(dense_dim, hidden_dim) if dense_dim else None

    def forward(self, prompts: Sequence[PromptTokens], frames: int, draws: Draws) -> PromptQueries:
        """Queries [B, T, K, C] of B videos with the same number and kind of prompts; ``frames`` is T."""
        kind = prompts[0].kind
        features = _stack([prompt.features for prompt in prompts])  # [B, K, L, T, C]
        if kind == "visual":
            content, position = self._visual(prompts, features, draws)
        else:
            content = position = features[:, :, 0]
        content = content + getattr(self, kind).weight
        if self.dense is not None and prompts[0].dense_features is not None:
            content = content + self.dense(_stack([prompt.dense_features for prompt in prompts]))
        memory, positions = [prompt.memory_features for prompt in prompts], _token_positions(prompts)
        tokens = features if memory[0] is None else _stack(memory)
        return PromptQueries(
            content=_by_frame(content, frames),
            position=_by_frame(position, frames),
            kind=kind,
            tokens=tokens,
            token_keys=None if positions is None else tokens + positions,
            sentences=_stack([prompt.sentences for prompt in prompts]),
            dense_logits=_stack([prompt.dense_logits for prompt in prompts]),
        )

    def _visual(self, prompts: Sequence[PromptTokens], features: Tensor, draws: Draws) -> tuple[Tensor, Tensor]:
        """Mean of the tokens and of their positions, [B, K, T, C]; half of the trainings take the former for both."""
        mean = _mean_of_nonzero(features, _stack([prompt.negative for prompt in prompts]))
        if self.training and draws.number("prompt_query_embed") <= 0.5:
            return mean, mean
        return mean, _mean_of_nonzero(_stack([prompt.positions for prompt in prompts]), None)


def _stack(values: Sequence[Tensor | None]) -> Tensor | None:
    """The values of B videos in one tensor; None where the first video has none."""
    if values[0] is None:
        return None
    return values[0].unsqueeze(0) if len(values) == 1 else torch.stack(list(values))


def _by_frame(queries: Tensor, frames: int) -> Tensor:
    """[B, K, T or 1, C] to [B, T, K, C]."""
    return queries.transpose(1, 2).expand(-1, frames, -1, -1)


def _token_positions(prompts: Sequence[PromptTokens]) -> Tensor | None:
    if prompts[0].memory_features is not None:
        return _stack([prompt.memory_positions for prompt in prompts])
    return _stack([prompt.positions for prompt in prompts])


def _mean_of_nonzero(tokens: Tensor, left_out: Tensor | None) -> Tensor:
    """Mean over the tokens [B, K, L, T, C] that are not all zero and not ``left_out`` [B, K, L]; [B, K, T, C]."""
    counted = (tokens != 0).any(-1, keepdim=True)
    if left_out is not None:
        counted = counted & ~left_out[:, :, :, None, None]
    return (tokens * counted).sum(2) / counted.sum(2).clamp(min=1)

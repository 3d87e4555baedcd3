"""Multi-head attention and the residual layers made of it; all tensors are batch-first.

Every layer normalises after the residual (post-norm). Dropout is 0 throughout the method and therefore absent.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Attention(nn.Module):
    """Scaled dot-product attention with packed input projections, as in torch's nn.MultiheadAttention.

    Few queries are moved into the space of the keys and the mean of the values is projected, instead of projecting all
    keys and values: q (W k + b) = (q W) k + q b, in which q b is the same for all keys, and the weights of the values
    sum to 1.
    """

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.in_proj_weight = nn.Parameter(torch.empty(3 * dim, dim))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * dim))
        self.out_proj = nn.Linear(dim, dim)
        nn.init.xavier_uniform_(self.in_proj_weight)
        nn.init.zeros_(self.out_proj.bias)

    def forward(self, query: Tensor, key: Tensor, value: Tensor, allowed: Tensor | None = None) -> Tensor:
        """Attend from queries to keys.

        Args:
            query: [N, Lq, C].
            key, value: [N, Lk, C].
            allowed: boolean, True where a query may look at a key; [Lq, Lk] or [N, Lq, Lk], the same for all heads.
                A row without any True has no defined result.

        Returns:
            [N, Lq, C].
        """
        if allowed is not None:
            allowed = allowed.unsqueeze(-3)  # one mask for all heads
        if self.heads * query.shape[1] < min(query.shape[2], key.shape[1]):
            scores = (self._queries_for_keys(query) @ key.transpose(1, 2)).unflatten(1, (self.heads, -1))
            if allowed is not None:
                scores = scores.masked_fill(~allowed, -torch.inf)
            return self._answers(scores.softmax(-1).flatten(1, 2) @ value)
        weights, biases = self.in_proj_weight.chunk(3), self.in_proj_bias.chunk(3)
        query, key, value = (
            F.linear(x, weight, bias).unflatten(2, (self.heads, -1)).transpose(1, 2)  # [N, heads, L, C / heads]
            for x, weight, bias in zip((query, key, value), weights, biases, strict=True)
        )
        attended = F.scaled_dot_product_attention(query, key, value, attn_mask=allowed)
        return self.out_proj(attended.transpose(1, 2).flatten(2))

    def with_itself(self, query: Tensor, own: tuple[Tensor, Tensor], key: Tensor, value: Tensor) -> Tensor:
        """Attend from few queries [N, Lq, C] to keys and values [N, Lk, C] and each to its ``own`` key and value, both
        [N, Lq, C]. Returns [N, Lq, C]."""
        moved, (own_key, own_value) = self._queries_for_keys(query), (x.repeat(1, self.heads, 1) for x in own)
        scores = [(moved * own_key).sum(-1, keepdim=True), moved @ key.transpose(1, 2)]
        itself, others = torch.cat(scores, -1).softmax(-1).split([1, key.shape[1]], -1)
        return self._answers(itself * own_value + others @ value)

    def _queries_for_keys(self, query: Tensor) -> Tensor:
        """Queries [N, Lq, C] in the space of the keys, scaled, [N, heads * Lq, C]."""
        (to_query, to_key, _), (bias, _, _) = self.in_proj_weight.chunk(3), self.in_proj_bias.chunk(3)
        query = F.linear(query, to_query, bias).unflatten(2, (self.heads, -1))
        moved = torch.einsum("nqhd,hdc->nhqc", query * query.shape[-1] ** -0.5, to_key.unflatten(0, (self.heads, -1)))
        return moved.flatten(1, 2)

    def _answers(self, mean_values: Tensor) -> Tensor:
        """Output [N, Lq, C] of the mean values [N, heads * Lq, C] that the heads see."""
        to_value, bias = self.in_proj_weight.chunk(3)[2], self.in_proj_bias.chunk(3)[2]
        mean_values, to_value = (x.unflatten(dim, (self.heads, -1)) for x, dim in ((mean_values, 1), (to_value, 0)))
        return self.out_proj(torch.einsum("nhqc,hdc->nqhd", mean_values, to_value).flatten(2) + bias)


class AttentionLayer(nn.Module):
    """``LN(x + Attention(x + position, memory + memory_position, memory))``; self-attention where memory is x."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.attention = Attention(dim, heads)
        self.norm = nn.LayerNorm(dim)

    def forward(
        self,
        x: Tensor,
        memory: Tensor,
        position: Tensor | None = None,
        memory_position: Tensor | None = None,
        allowed: Tensor | None = None,
    ) -> Tensor:
        """Attend from x [N, Lq, C] to memory [N, Lk, C].

        Positions have the shapes of what they belong to (or broadcast to it), None is no position; ``allowed`` as for
        `Attention`. Returns [N, Lq, C].
        """
        query = x if position is None else x + position
        key = memory if memory_position is None else memory + memory_position
        return self.norm(x + self.attention(query, key, memory, allowed))


class FeedForward(nn.Module):
    """``LN(x + W2 relu(W1 x))``."""

    def __init__(self, dim: int, hidden_dim: int) -> None:
        super().__init__()
        self.linear1 = nn.Linear(dim, hidden_dim)
        self.linear2 = nn.Linear(hidden_dim, dim)
        self.norm = nn.LayerNorm(dim)

    def forward(self, x: Tensor) -> Tensor:
        """[..., C] -> [..., C]."""
        return self.norm(x + self.linear2(F.relu(self.linear1(x))))


class Perceptron(nn.Module):
    """Linear layers with ReLU between them."""

    def __init__(self, input_dim: int, hidden_dim: int, output_dim: int, depth: int) -> None:
        super().__init__()
        widths = [input_dim, *[hidden_dim] * (depth - 1), output_dim]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in zip(widths[:-1], widths[1:], strict=True))

    def forward(self, x: Tensor) -> Tensor:
        """[..., C] -> [..., C'] with C = input_dim and C' = output_dim."""
        for layer in self.layers[:-1]:
            x = F.relu(layer(x))
        return self.layers[-1](x)

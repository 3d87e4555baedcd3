"""What a query says: its class, its mask, its identity."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from univs.layers.attention import Perceptron

INITIAL_TEMPERATURE = math.log(1 / 0.07)


class PredictionHeads(nn.Module):
    """Heads shared by all layers of the mask decoder.

    ``identity_temperature`` is part of published checkpoints; no formula uses it.
    """

    def __init__(self, hidden_dim: int, text_dim: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(hidden_dim)
        self.mask_embedding = Perceptron(hidden_dim, hidden_dim, hidden_dim, 3)
        self.to_text = nn.Linear(hidden_dim, text_dim)
        self.class_temperature = nn.Embedding(1, 1)
        self.identity_temperature = nn.Embedding(1, 1)

    def class_logits(self, embeddings: Tensor, class_embeddings: Tensor) -> Tensor:
        """Cosine similarity to the text embedding of each class, mean over frames, times exp(temperature).

        embeddings: [B, T, N, C]; class_embeddings: [V, D]. Returns [B, N, V].
        """
        queries = F.normalize(self.to_text(embeddings), dim=-1).mean(1)
        return queries @ F.normalize(class_embeddings, dim=-1).t() * self.class_temperature.weight.exp()

    def expression_logits(self, embeddings: Tensor, sentences: Tensor) -> Tensor:
        """Product with the embedding of each sentence, mean over frames; in training divided by the query width.

        embeddings: [B, T, N, C]; sentences: [B, K, D]. Returns [B, N, K].
        """
        logits = self.to_text(embeddings).mean(1) @ sentences.transpose(1, 2)
        return logits / embeddings.shape[-1] if self.training else logits


def prompt_similarity(embeddings: Tensor, num_learnable: int) -> Tensor:
    """Cosine similarity of every query with every prompt query, mean over frames; [B, T, N, C] -> [B, N, N - Q]."""
    unit = F.normalize(embeddings, dim=-1)
    return torch.einsum("btnc,btkc->bnk", unit, unit[:, :, num_learnable:]) / unit.shape[1]


def average_with_best(mask_embeddings: Tensor, similarity: Tensor, num_learnable: int) -> Tensor:
    """Mask embeddings in which each prompt's is the mean of its own and that of the most similar learnable query.

    Mask logits are linear in them, so this averages the masks. mask_embeddings: [B, T, N, C]; similarity: [B, N, K].
    """
    best = similarity[:, :num_learnable].argmax(1)  # [B, K]
    learnable, prompts = mask_embeddings[:, :, :num_learnable], mask_embeddings[:, :, num_learnable:]
    index = best[:, None, :, None].expand_as(prompts)
    return torch.cat([learnable, (prompts + learnable.gather(2, index)) / 2], 2)


class DenseGate(nn.Module):
    """Joins the mask logits of prompt queries with those of a dense memory: gate * dense + gate' * query.

    At the start the dense memory speaks alone.
    """

    def __init__(self) -> None:
        super().__init__()
        self.dense_gate = nn.Parameter(torch.ones(()))
        self.query_gate = nn.Parameter(torch.zeros(()))

    def forward(self, query_logits: Tensor, dense_logits: Tensor) -> Tensor:
        """Logits [B, T, K, P] of P cells, both alike, and so is the result."""
        return self.dense_gate * dense_logits + self.query_gate * query_logits

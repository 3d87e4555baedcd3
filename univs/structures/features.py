"""What passes between the rooms of the model.

Shape letters (docs/NOTATION.md): B videos, T frames of a clip, C channels, H x W padded input pixels,
Q learnable queries, K prompt queries, N = Q + K all queries, L tokens of one prompt, V rows of a vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor


@dataclass
class FrameFeatures:
    """Maps of T frames, computed once per frame by backbone and pixel decoder.

    levels: three maps [T, C, H/32, W/32], [T, C, H/16, W/16], [T, C, H/8, W/8], in this order.
    mask_features: [T, C, H/4, W/4].
    backbone: the backbone's own maps by name, each [T, C', H/s, W/s]; only models with a dense memory keep them.
    image_size: (height, width) of the network input without padding.
    padded_size: (height, width) with padding.
    """

    levels: list[Tensor]
    mask_features: Tensor
    image_size: tuple[int, int]
    padded_size: tuple[int, int]
    backbone: dict[str, Tensor] = field(default_factory=dict)

    def frames(self, pick: slice) -> FrameFeatures:
        """The maps of some of the frames."""
        return FrameFeatures(
            [level[pick] for level in self.levels],
            self.mask_features[pick],
            self.image_size,
            self.padded_size,
            {name: maps[pick] for name, maps in self.backbone.items()},
        )


@dataclass
class PromptTokens:
    """Tokens of the K prompts of one video, before they become queries. T may be 1 where all frames have the same.

    features: [K, L, T, C] token features, per frame of the clip; the initial query is made of them.
    positions: [K, L, T, C] position codes, or None for text (text tokens have no place).
    valid: [K] bool; an invalid prompt has all-zero tokens.
    kind: "visual", "category" or "expression"; of text, the first token is the one that becomes the query.
    negative: [K, L] bool, tokens that say where the object is not; None where there are none.
    memory_features, memory_positions: [K, M, T, C] what the prompt cross-attention reads instead of ``features``
        (tokens of remembered frames), and their position codes (None for text); None: it reads ``features``.
    sentences: [K, D] text embedding of each expression, for its class logit.
    dense_logits: [K, T, H/4, W/4] mask logits of a dense memory, or None.
    dense_features: [K, T, C'] what a dense memory read for each object, or None.
    """

    features: Tensor
    positions: Tensor | None
    valid: Tensor
    kind: str
    negative: Tensor | None = None
    memory_features: Tensor | None = None
    memory_positions: Tensor | None = None
    sentences: Tensor | None = None
    dense_logits: Tensor | None = None
    dense_features: Tensor | None = None


@dataclass
class ClipPrediction:
    """What the mask decoder says about a clip. Rows are the Q learnable queries, then the K prompt queries.

    class_logits: [B, N, V] (V = 0 if no vocabulary was given); embeddings: [B, N, T, C].
    mask_logits: [B, N', T, H/4, W/4] of the N' queries whose masks were asked for, all N unless said otherwise.
    num_learnable: Q.
    similarity: [B, N, K] cosine similarity to the prompt queries (expressions in inference only), or None.
    auxiliary: the predictions of the earlier layers (training), else empty.
    mask_embeddings: [B, N, T, C], whose product with the mask features gives any query's mask logits.
    contents: [B, N, T, C] what the embeddings were before their norm.
    """

    class_logits: Tensor
    mask_logits: Tensor
    embeddings: Tensor
    num_learnable: int
    similarity: Tensor | None = None
    auxiliary: list[ClipPrediction] = field(default_factory=list)
    mask_embeddings: Tensor | None = None
    contents: Tensor | None = None

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


@dataclass
class PromptTokens:
    """Tokens of K prompts, before they become queries.

    features: [K, L, T, C] token features, per frame of the clip.
    positions: [K, L, T, C] position codes, or None for text (text tokens have no place).
    valid: [K] bool; an invalid prompt has all-zero tokens.
    kind: "visual", "category" or "expression".
    """

    features: Tensor
    positions: Tensor | None
    valid: Tensor
    kind: str


@dataclass
class ClipPrediction:
    """What the mask decoder says about a clip. Rows are the Q learnable queries, then the K prompt queries.

    class_logits: [B, N, V]; mask_logits: [B, N, T, H/4, W/4]; embeddings: [B, N, T, C].
    similarity: whatever identity similarity the mode defines, or None.
    num_learnable: Q.
    auxiliary: the predictions of the earlier layers (training), else empty.
    """

    class_logits: Tensor
    mask_logits: Tensor
    embeddings: Tensor
    num_learnable: int
    similarity: Tensor | None = None
    auxiliary: list[ClipPrediction] = field(default_factory=list)

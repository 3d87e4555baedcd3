"""Text: category lists and expressions."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from univs.layers.attention import AttentionLayer
from univs.modeling.prompt_encoder.registry import PROMPT_ENCODER_REGISTRY
from univs.structures import PromptTokens


@PROMPT_ENCODER_REGISTRY.register()
class TextEncoder(nn.Module):
    """Projects text embeddings to the width of the queries and lets them look at the frames."""

    kind = "text"

    def __init__(self, text_dim: int, hidden_dim: int, heads: int, language_to_vision: bool = True) -> None:
        """``language_to_vision``: let the text attend to the frame; off, it is only projected."""
        super().__init__()
        self.norm = nn.LayerNorm(text_dim)
        self.projection = nn.Linear(text_dim, hidden_dim)
        self.image_attention = AttentionLayer(hidden_dim, heads)
        self.language_to_vision = language_to_vision

    def categories(self, embeddings: Tensor, sources: Sequence[Tensor]) -> PromptTokens:
        """One prompt per category.

        Args:
            embeddings: [K, D] text embeddings of the categories.
            sources: the decoder's maps of the T frames of one video, each [T, h * w, C].

        Returns:
            Tokens [K, 1, T, C].
        """
        tokens = self._see(self.project(embeddings), sources)  # [T, K, C]
        valid = torch.ones(len(embeddings), dtype=torch.bool, device=embeddings.device)
        return PromptTokens(tokens.transpose(0, 1).unsqueeze(1), None, valid, "category")

    def expressions(self, words: Tensor, sentences: Tensor, sources: Sequence[Tensor]) -> PromptTokens:
        """One prompt per sentence.

        Args:
            words: [K, L, D] embeddings of the words. sentences: [K, D] embeddings of the whole sentences.
            sources: as for `categories`.

        Returns:
            Tokens [K, 1 + L, T, C], the sentence first.
        """
        tokens = self.project(torch.cat([sentences.unsqueeze(1), words], 1))
        seen = self._see(tokens.flatten(0, 1), sources)
        seen = seen.unflatten(1, tokens.shape[:2]).permute(1, 2, 0, 3)  # [K, 1 + L, T, C]
        valid = torch.ones(len(words), dtype=torch.bool, device=words.device)
        return PromptTokens(seen, None, valid, "expression", sentences=sentences)

    def project(self, embeddings: Tensor) -> Tensor:
        """Text embeddings [..., D] to the width of the queries [..., C]."""
        return self.projection(self.norm(embeddings))

    def _see(self, tokens: Tensor, sources: Sequence[Tensor]) -> Tensor:
        """Tokens [P, C] after looking at each frame, [T, P, C]."""
        tokens = tokens.unsqueeze(0).expand(len(sources[0]), -1, -1)
        return self.image_attention(tokens, torch.cat(list(sources), 1)) if self.language_to_vision else tokens

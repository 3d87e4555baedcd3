"""All prompt encoders of a model in one place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from univs.errors import UserError
from univs.layers.draws import Draws
from univs.modeling.prompt_encoder.prompt_frame import Placement, PromptFrame, VisualTokens, join_tokens
from univs.modeling.prompt_encoder.registry import (
    PROMPT_ENCODER_REGISTRY,
    VisualPromptEncoder,
    VisualPromptSettings,
)
from univs.modeling.prompt_encoder.text import TextEncoder
from univs.structures import Prompt, PromptTokens


@dataclass(frozen=True)
class PromptEncoderSettings:
    """Settings of all prompt encoders: widths of text embeddings and queries, attention heads, visual prompts."""

    text_dim: int = 640
    hidden_dim: int = 256
    heads: int = 8
    language_to_vision: bool = True
    visual: VisualPromptSettings = VisualPromptSettings()


class PromptEncoder(nn.Module):
    """Encoders of every registered kind of prompt.

    ``text`` has the parameters of text prompts. ``negative`` marks tokens of negative clicks; it exists only where the
    settings enable them, and starts at zero.
    """

    def __init__(self, settings: PromptEncoderSettings) -> None:
        super().__init__()
        self.settings = settings
        self.text = TextEncoder(settings.text_dim, settings.hidden_dim, settings.heads, settings.language_to_vision)
        self.negative = nn.Embedding(1, settings.hidden_dim) if settings.visual.negative_clicks else None
        if self.negative is not None:
            nn.init.zeros_(self.negative.weight)
        self.visual: dict[str, VisualPromptEncoder] = {
            encoder.kind: encoder(settings.visual)
            for _, encoder in PROMPT_ENCODER_REGISTRY
            if issubclass(encoder, VisualPromptEncoder)
        }

    def encode(self, prompts: Sequence[Prompt], frame: PromptFrame, placement: Placement, draws: Draws) -> PromptTokens:
        """Tokens [K, R, 1, C] of K visual prompts of any kinds on one frame, in the order of the prompts.

        Raises UserError for a prompt that has no place in a frame (text).
        """
        kinds = [prompt.kind for prompt in prompts]
        unknown = sorted(set(kinds) - set(self.visual))
        if unknown:
            known = ", ".join(sorted(self.visual))
            raise UserError(f"A prompt of the kind '{unknown[0]}' cannot be placed on a frame; use one of {known}.")
        rows, parts = [], []
        with torch.no_grad():
            for kind in dict.fromkeys(kinds):
                own = [row for row, other in enumerate(kinds) if other == kind]
                rows += own
                parts.append(self.visual[kind].encode([prompts[row] for row in own], frame, placement, draws))
            tokens = join_tokens(parts)[torch.tensor(rows, device=frame.source.device).argsort()]
        return self.finish(tokens)

    def finish(self, tokens: VisualTokens) -> PromptTokens:
        """Mark the tokens of negative clicks and give all tokens the form [K, R, 1, C]."""
        out = tokens.as_prompt_tokens()
        if self.negative is not None and tokens.negative is not None:
            out.features = out.features + tokens.negative[:, :, None, None] * self.negative.weight
        return out

"""Clicks: positive and negative points."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from univs.layers.draws import Draws
from univs.modeling.prompt_encoder.prompt_frame import Placement, PromptFrame, VisualTokens
from univs.modeling.prompt_encoder.registry import (
    PROMPT_ENCODER_REGISTRY,
    VisualPromptEncoder,
    VisualPromptSettings,
)
from univs.structures import PointPrompt

ABSENT = -1


@PROMPT_ENCODER_REGISTRY.register()
class PointEncoder(VisualPromptEncoder):
    """Reads the map at every click; the clicks of an object share its tokens evenly."""

    kind = "point"

    def encode(
        self, prompts: Sequence[PointPrompt], frame: PromptFrame, placement: Placement, draws: Draws
    ) -> VisualTokens:
        """Tokens of K objects' clicks, coordinates in pixels of the original video."""
        points, labels = padded_points([(prompt.points, prompt.labels) for prompt in prompts], frame.source.device)
        return encode_points(placement.points(points), labels, frame, self.settings)


def padded_points(
    clicks: Sequence[tuple[Sequence[tuple[float, float]], Sequence[int]]], device: torch.device
) -> tuple[Tensor, Tensor]:
    """Points [K, P, 2] and labels [K, P] of K lists of clicks; the label is -1 where a list is shorter."""
    length = max((len(labels) for _, labels in clicks), default=0)
    points = torch.zeros(len(clicks), length, 2)
    labels = torch.full((len(clicks), length), ABSENT)
    for row, (places, kinds) in enumerate(clicks):
        points[row, : len(kinds)] = torch.tensor(places, dtype=torch.float32).reshape(-1, 2)
        labels[row, : len(kinds)] = torch.tensor(kinds, dtype=torch.int64)
    return points.to(device), labels.to(device)


def encode_points(points: Tensor, labels: Tensor, frame: PromptFrame, settings: VisualPromptSettings) -> VisualTokens:
    """Tokens of the clicks of K objects.

    Args:
        points: [K, P, 2] (x, y) in 0..1 of the padded frame; a point outside does not count.
        labels: [K, P] 1 on the object, 0 not on the object, -1 no point.

    The points of an object are repeated in order, positive ones first, until there are R tokens (more than R are
    thinned evenly). An object without a positive point is invalid.
    """
    inside = ((points >= 0) & (points <= 1)).all(2)
    positive, negative = inside & (labels == 1), inside & (labels == 0)
    if not settings.negative_clicks:
        negative = torch.zeros_like(negative)
    counts = (positive | negative).sum(1, keepdim=True)
    # positive points first, then negative ones, then what does not count
    order = torch.argsort(2 - 2 * positive.int() - negative.int(), dim=1, stable=True)
    token = torch.arange(settings.tokens, device=points.device)
    few, many = token % counts.clamp(min=1), token * counts // settings.tokens
    chosen = order.gather(1, torch.where(counts <= settings.tokens, few, many))
    flat = points.gather(1, chosen.unsqueeze(2).expand(-1, -1, 2)).flatten(0, 1)
    shape = (*chosen.shape, frame.source.shape[0])
    features, positions = frame.values_at(flat).reshape(shape), frame.codes_of(flat).reshape(shape)
    chosen_negative = negative.gather(1, chosen) if settings.negative_clicks else None
    return VisualTokens(features, positions, positive.any(1), chosen_negative)

"""Scribbles: many points along the strokes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from univs.layers.draws import Draws
from univs.modeling.prompt_encoder.point import encode_points, padded_points
from univs.modeling.prompt_encoder.prompt_frame import Placement, PromptFrame, VisualTokens
from univs.modeling.prompt_encoder.registry import PROMPT_ENCODER_REGISTRY, VisualPromptEncoder
from univs.structures import ScribblePrompt

Stroke = Sequence[tuple[float, float]]


@PROMPT_ENCODER_REGISTRY.register()
class ScribbleEncoder(VisualPromptEncoder):
    """Reads the map at places spread evenly along the strokes.

    Strokes that are not on the object take a quarter of the tokens where the model knows negative clicks.
    """

    kind = "scribble"

    def encode(
        self, prompts: Sequence[ScribblePrompt], frame: PromptFrame, placement: Placement, draws: Draws
    ) -> VisualTokens:
        """Tokens of K objects' strokes, coordinates in pixels of the original video."""
        points, labels = padded_points([self._clicks(prompt) for prompt in prompts], frame.source.device)
        return encode_points(placement.points(points), labels, frame, self.settings)

    def _clicks(self, prompt: ScribblePrompt) -> tuple[list[tuple[float, float]], list[int]]:
        """Places along the strokes of one prompt and their labels, as many as there are tokens."""
        sides = {
            label: [stroke for stroke, side in zip(prompt.strokes, prompt.labels, strict=True) if side == label]
            for label in (1, 0)
        }
        against = self.settings.tokens // 4 if sides[0] and self.settings.negative_clicks else 0
        counts = {1: self.settings.tokens - against, 0: against}
        points, labels = [], []
        for label, strokes in sides.items():
            places = places_along(strokes, counts[label])
            points += [(float(x), float(y)) for x, y in places]
            labels += [label] * len(places)
        return points, labels


def places_along(strokes: Sequence[Stroke], count: int) -> Tensor:
    """``count`` points [count, 2] spread evenly along the strokes (polylines of (x, y)); none without strokes."""
    lines = [torch.tensor(stroke, dtype=torch.float64).reshape(-1, 2) for stroke in strokes if len(stroke)]
    if not lines or not count:
        return torch.zeros(0, 2)
    # a stroke of one point is a piece of no length
    starts = torch.cat([line[:-1] if len(line) > 1 else line for line in lines])
    ends = torch.cat([line[1:] if len(line) > 1 else line for line in lines])
    lengths = (ends - starts).norm(dim=1)
    if lengths.sum() == 0:
        return starts[torch.arange(count) % len(starts)].float()
    travelled = lengths.cumsum(0)
    wanted = (torch.arange(count, dtype=torch.float64) + 0.5) / count * travelled[-1]
    piece = torch.searchsorted(travelled, wanted).clamp(max=len(starts) - 1)
    share = 1 - (travelled[piece] - wanted) / lengths[piece].clamp(min=1e-12)
    return (starts[piece] + share[:, None] * (ends - starts)[piece]).float()

"""Finding the instances of named categories in one frame with the dense parts.

The text heat says how well each cell fits each name. Its strongest cell becomes a click beside the name; the answer is
one instance, whose cells are taken out, and so on until nothing warm is left.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from univs.inference.protocol import Discovery
from univs.modeling.prompt_answer import AnswerMaps, FramePrompts, PromptAnswer


@dataclass(frozen=True)
class DiscoverySettings:
    """warm: heat (0..1) from which a cell starts an instance; accept: mean heat inside a mask that is kept;
    instances: most per category; overlap: IoU from which two masks are the same thing; smallest: cells of stride 4.
    """

    warm: float = 0.5
    accept: float = 0.45
    instances: int = 8
    overlap: float = 0.5
    smallest: int = 12


def discover(
    answer: PromptAnswer, maps: AnswerMaps, names: Sequence[str], texts: Tensor, settings: DiscoverySettings
) -> list[Discovery]:
    """Instances of ``names`` (embeddings ``texts`` [N, D]) in the frame of ``maps`` (T = 1), best first."""
    heat = answer.text_heat(maps, texts)[0].sigmoid()
    # a cell belongs to the name that fits it best; others may not start an instance there
    best = heat.amax(0, keepdim=True)
    found = []
    for name, text, warmth in zip(names, texts, heat, strict=True):
        free = torch.where(warmth >= 0.9 * best[0], warmth, 0)
        found += _instances(answer, maps, name, text, warmth, free, settings)
    found.sort(key=lambda item: -item.score)
    return _without_repeats(found, settings.overlap)


def _instances(
    answer: PromptAnswer,
    maps: AnswerMaps,
    name: str,
    text: Tensor,
    warmth: Tensor,
    free: Tensor,
    settings: DiscoverySettings,
) -> list[Discovery]:
    """Instances of one name; ``warmth`` and ``free`` [h16, w16]: its heat, and where an instance may start."""
    free, out = free.clone(), []
    height, width = free.shape
    for _ in range(settings.instances):
        if free.max() < settings.warm:
            break
        row, column = divmod(int(_depth(free, settings.warm).argmax()), width)
        point = torch.tensor([[(column + 0.5) / width, (row + 0.5) / height]], device=free.device)
        prompts = FramePrompts(point, torch.ones(1, dtype=torch.long, device=free.device), text=text)
        logits = answer.answer(maps, prompts)[0][0]
        cells = F.adaptive_avg_pool2d((logits > 0).float()[None], free.shape)[0]
        free[row, column] = 0
        free = torch.where(cells > 0.3, 0, free)
        inside = (logits > 0).sum()
        if inside < settings.smallest:
            continue
        score = float((warmth * cells).sum() / cells.sum().clamp(min=1e-6))
        if score >= settings.accept:
            out.append(Discovery(name, score, logits))
    return out


def _depth(free: Tensor, warm: float) -> Tensor:
    """Heat of warm cells, higher where the neighbours are warm too, so that a click lands inside a thing."""
    around = F.avg_pool2d(free[None, None], 3, stride=1, padding=1)[0, 0]
    return torch.where(free >= warm, free + around, 0)


def _without_repeats(found: list[Discovery], overlap: float) -> list[Discovery]:
    """Drop what overlaps a better one."""
    kept: list[Discovery] = []
    for item in found:
        mask = item.mask_logits > 0
        for other in kept:
            theirs = other.mask_logits > 0
            both = (mask & theirs).sum()
            if both >= overlap * (mask | theirs).sum() or both >= 0.8 * mask.sum():
                break
        else:
            kept.append(item)
    return kept

"""Finding the instances of named categories in one frame with the dense parts.

The text heat says how well each cell fits each name. Its strongest cell becomes a click beside the name; the answer is
one instance, whose cells are taken out, and so on until nothing warm is left. Where another of the names fits better
the answer is doubted, and small pieces beside the main ones are left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from univs.inference.dense_following import ABSENT
from univs.inference.mask_pieces import without_small_pieces
from univs.inference.protocol import Discovery
from univs.modeling.prompt_answer import AnswerMaps, FramePrompts, PromptAnswer


@dataclass(frozen=True)
class DiscoverySettings:
    """warm: heat (0..1) from which a cell starts an instance; accept: mean heat inside a mask that is kept;
    instances: most per category; overlap: IoU from which two masks are the same thing; smallest: cells of stride 4;
    doubt: what is taken from a logit for every unit of heat by which another name fits better; pieces: share of the
    largest piece of a mask under which a piece is left out.
    """

    warm: float = 0.6
    accept: float = 0.5
    instances: int = 8
    overlap: float = 0.5
    smallest: int = 12
    doubt: float = 8.0
    pieces: float = 0.3


def discover(
    answer: PromptAnswer, maps: AnswerMaps, names: Sequence[str], texts: Tensor, settings: DiscoverySettings
) -> list[Discovery]:
    """Instances of ``names`` (embeddings ``texts`` [N, D]) in the frame of ``maps`` (T = 1), best first."""
    heat = answer.text_heat(maps, texts)[0].sigmoid()
    # a cell belongs to the name that fits it best; others may not start an instance there
    best = heat.amax(0, keepdim=True)
    found = []
    for name, text, warmth in zip(names, texts, heat, strict=True):
        found += _instances(answer, maps, name, text, warmth, best[0], settings)
    found.sort(key=lambda item: -item.score)
    return _without_repeats(found, settings.overlap)


def _instances(
    answer: PromptAnswer,
    maps: AnswerMaps,
    name: str,
    text: Tensor,
    warmth: Tensor,
    best: Tensor,
    settings: DiscoverySettings,
) -> list[Discovery]:
    """Instances of one name; ``warmth`` and ``best`` [h16, w16]: its heat, and that of the name that fits best."""
    free, out = torch.where(warmth >= 0.9 * best, warmth, 0), []
    height, width = free.shape
    for _ in range(settings.instances):
        if free.max() < settings.warm:
            break
        row, column = divmod(int(_depth(free, settings.warm).argmax()), width)
        point = torch.tensor([[(column + 0.5) / width, (row + 0.5) / height]], device=free.device)
        prompts = FramePrompts(point, torch.ones(1, dtype=torch.long, device=free.device), text=text)
        logits = _without_rivals(answer.answer(maps, prompts)[0][0], best - warmth, settings)
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


def _without_rivals(logits: Tensor, ahead: Tensor, settings: DiscoverySettings) -> Tensor:
    """An answer [h4, w4], doubted where another name is ``ahead`` [h16, w16], without its small pieces."""
    doubt = F.interpolate(ahead[None, None], size=logits.shape, mode="bilinear", align_corners=False)[0, 0]
    return without_small_pieces(logits - settings.doubt * doubt, settings.pieces, ABSENT)


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

"""Assignment of learnable queries to the objects of a video."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from univs.layers.draws import Draws
from univs.layers.point_sampling import sample_points
from univs.structures import Targets


@dataclass(frozen=True)
class Match:
    """Pairs of one video: learnable query ``queries[i]`` answers for object ``objects[i]``; both int64 [M]."""

    queries: Tensor
    objects: Tensor


@dataclass(frozen=True)
class MatcherSettings:
    """Weights of the costs and the number of points at which masks are compared."""

    class_weight: float = 3.0
    mask_weight: float = 5.0
    dice_weight: float = 5.0
    num_points: int = 12544


class HungarianMatcher:
    """One-to-one assignment of least cost; cost = class + mask cross-entropy + dice over all frames of the clip."""

    def __init__(self, settings: MatcherSettings, draws: Draws) -> None:
        self.settings = settings
        self.draws = draws

    @torch.no_grad()
    def __call__(self, class_logits: list[Tensor | None], mask_logits: Tensor, targets: list[Targets]) -> list[Match]:
        """Match every video.

        Args:
            class_logits: per video [Q, classes of its data set], or None where classes do not count.
            mask_logits: [B, Q, T, h, w].
            targets: masks [n, T, H, W] and labels [n] (1-based) per video.

        Raises:
            FloatingPointError: a cost is not finite.
        """
        matches = []
        for logits, masks, target in zip(class_logits, mask_logits, targets, strict=True):
            cost = self.cost(logits, masks, target)
            if not torch.isfinite(cost).all():
                raise FloatingPointError("The cost of matching queries to objects is not finite; training diverged.")
            queries, objects = linear_sum_assignment(cost.cpu().numpy())
            device = mask_logits.device
            matches.append(Match(torch.as_tensor(queries, device=device), torch.as_tensor(objects, device=device)))
        return matches

    def cost(self, class_logits: Tensor | None, mask_logits: Tensor, target: Targets) -> Tensor:
        """Cost [Q, n] of every query of one video for every object, from [Q, classes] and [Q, T, h, w]."""
        settings = self.settings
        points = self.draws.uniform("matcher_points", (1, settings.num_points, 2)).to(mask_logits.device)
        predicted = _at_points(mask_logits, points)
        wanted = _at_points(target.masks, points)
        cost = settings.mask_weight * cross_entropy_cost(predicted, wanted)
        cost = cost + settings.dice_weight * dice_cost(predicted, wanted)
        if class_logits is not None:
            cost = cost + settings.class_weight * class_cost(class_logits.float(), target.labels)
        return cost


def class_cost(logits: Tensor, labels: Tensor) -> Tensor:
    """Minus the softmax of five times the sigmoid of ``logits`` [Q, classes] at ``labels`` [n]: [Q, n]; unknown: 0."""
    probability = (5 * logits.sigmoid()).softmax(-1)
    return -probability[:, labels.clamp(min=1) - 1] * (labels > 0)


def cross_entropy_cost(logits: Tensor, wanted: Tensor) -> Tensor:
    """Mean binary cross-entropy over points between ``logits`` x [Q, P] and ``wanted`` y [n, P] in 0..1: [Q, n].

    The cross-entropy of a point is softplus(x) - x y.
    """
    return (F.softplus(logits).sum(1, keepdim=True) - logits @ wanted.t()) / logits.shape[1]


def dice_cost(logits: Tensor, wanted: Tensor) -> Tensor:
    """One minus the smoothed Dice overlap of ``logits`` [Q, P] and ``wanted`` [n, P] in 0..1: [Q, n]."""
    probability = logits.sigmoid()
    overlap = 2 * (probability @ wanted.t()) + 1
    return 1 - overlap / (probability.sum(1)[:, None] + wanted.sum(1)[None] + 1)


def _at_points(maps: Tensor, points: Tensor) -> Tensor:
    """Values [N, T * P] of maps [N, T, h, w] at the same points [1, P, 2] in every map, in float32."""
    return sample_points(maps.float(), points).flatten(1)

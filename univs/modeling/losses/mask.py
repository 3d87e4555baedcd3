"""Losses of the mask logits."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from univs.layers.draws import Draws
from univs.layers.point_sampling import sample_points
from univs.modeling.losses.points import draw_uncertain_points

IGNORED = -1


@dataclass(frozen=True)
class PointSettings:
    """How many points are compared per mask, and how they are chosen (see ``draw_uncertain_points``)."""

    num_points: int = 12544
    oversample_ratio: float = 3.0
    importance_ratio: float = 0.5


class MaskLoss:
    """Losses at uncertain points; each object in each frame is a mask of its own."""

    def __init__(self, settings: PointSettings, draws: Draws) -> None:
        self.settings = settings
        self.draws = draws

    def overlap(self, mask_logits: Tensor, wanted: Tensor, num_masks: float) -> tuple[Tensor, Tensor]:
        """Cross-entropy and dice between masks of the same objects.

        Args:
            mask_logits: [M, T, h, w]. wanted: [M, T, H, W] in 0..1.
            num_masks: the sums over masks are divided by this.

        Returns:
            Two numbers: the mean cross-entropy over points and the dice loss, each summed over masks and divided.
        """
        if mask_logits.shape[0] == 0:
            nothing = mask_logits.sum() * 0.0
            return nothing, nothing
        logits, truth = mask_logits.flatten(0, 1)[:, None], wanted.flatten(0, 1)[:, None]
        points = self._points(logits)
        logits, truth = sample_points(logits, points)[:, 0].float(), sample_points(truth, points)[:, 0].float()
        entropy = F.binary_cross_entropy_with_logits(logits, truth, reduction="none").mean(1)
        probability = logits.sigmoid()
        dice = 1 - (2 * (probability * truth).sum(1) + 1) / (probability.sum(1) + truth.sum(1) + 1)
        return entropy.sum() / num_masks, dice.sum() / num_masks

    def competition(self, mask_logits: Tensor, labels: Tensor) -> Tensor:
        """Cross-entropy at points between queries that compete for every pixel.

        Args:
            mask_logits: [B, K, T, h, w], K class prompts per video.
            labels: int64 [B, T, H, W], the prompt 0..K-1 that a pixel belongs to, IGNORED where none does.
        """
        logits = mask_logits.transpose(1, 2).flatten(0, 1)
        points = self._points(logits.amax(1, keepdim=True))
        truth = sample_points(labels.flatten(0, 1)[:, None].float() + 1, points, mode="nearest")[:, 0].long() - 1
        loss = F.cross_entropy(sample_points(logits, points).float(), truth, ignore_index=IGNORED, reduction="sum")
        return loss / (truth != IGNORED).sum().clamp(min=1)

    def _points(self, logits: Tensor) -> Tensor:
        settings = self.settings
        return draw_uncertain_points(
            logits, settings.num_points, settings.oversample_ratio, settings.importance_ratio, self.draws
        )


def first_mask_of_pixels(masks: Tensor) -> Tensor:
    """Index of the first of K masks [K, T, H, W] that holds a pixel, IGNORED where none does: int64 [T, H, W]."""
    inside = masks > 0.5
    if not len(masks):
        return torch.full(masks.shape[1:], IGNORED, device=masks.device)
    return torch.where(inside.any(0), inside.float().argmax(0), IGNORED)

"""Loss of the class logits."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def class_loss(logits: list[Tensor], labels: list[Tensor]) -> Tensor:
    """Focal loss over all queries plus cross-entropy over the ones with a label, averaged over videos.

    The focal part (Lin et al. 2017, alpha 0.5, gamma 2) is the sum over queries and classes divided by the number of
    labelled queries. A video counts by its share of the labelled queries, so one without any does not count.

    Args:
        logits: per video [Q, classes of its data set], of at least one video.
        labels: per video [Q] 1-based labels, -1 for queries without one.
    """
    counts = [int((label > 0).sum()) for label in labels]
    total = sum(counts)
    # videos without labels take part with zero, so that the logits always have a gradient
    loss = sum(logit.sum() for logit in logits) * 0.0
    for logit, label, count in zip(logits, labels, counts, strict=True):
        if count:
            loss = loss + count / total * _video_class_loss(logit.float(), label, count)
    return loss


def _video_class_loss(logits: Tensor, labels: Tensor, count: int) -> Tensor:
    labelled = labels > 0
    wanted = F.one_hot(labels.clamp(min=1) - 1, logits.shape[1]).to(logits) * labelled[:, None]
    return focal_loss(logits, wanted) / count + F.cross_entropy(logits[labelled], labels[labelled] - 1)


def focal_loss(logits: Tensor, wanted: Tensor) -> Tensor:
    """Sum of 0.5 * (1 - p)^2 * -log p over logits of any shape; p is the probability given to ``wanted`` (0 or 1)."""
    entropy = F.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
    missing = (wanted - logits.sigmoid()).abs()
    return 0.5 * (missing**2 * entropy).sum()

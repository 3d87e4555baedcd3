"""Who owns a pixel, whose mask is hidden too much, which of several finds is a repeat."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

NOBODY = -1


def pixel_owner(claims: Tensor, wanted: Tensor) -> Tensor:
    """The object with the largest claim at each pixel, the first of equal ones.

    claims: [N, ...], any numbers, N > 0. wanted: bool [...], where somebody owns the pixel at all.
    Returns int64 [...] row numbers, -1 where nobody does.
    """
    return claims.argmax(0).masked_fill(~wanted, NOBODY)


@dataclass(frozen=True)
class Shares:
    """Pixels of N objects over all frames, int64 [N]: ``owned`` by the object, its ``own`` whoever owns them, and both."""

    owned: Tensor
    own: Tensor
    both: Tensor

    def enough(self, threshold: float) -> Tensor:
        """Bool [N]: nothing is empty, and owned / own reaches the threshold (owned pixels count outside own, too)."""
        return self.visible() & (self.owned / self.own.clamp(min=1) >= threshold)

    def visible(self) -> Tensor:
        """Bool [N]: owned, own and both are not empty."""
        return (self.owned > 0) & (self.own > 0) & (self.both > 0)


def shares(owner: Tensor, own: Tensor) -> Shares:
    """Pixels of objects whose own masks are ``own`` [N, ...] where ``owner`` [...] says who owns each pixel."""
    owned = torch.bincount((owner - NOBODY).flatten(), minlength=len(own) + 1)[1:]
    both = torch.stack([(mask & (owner == row)).sum() for row, mask in enumerate(own)])
    return Shares(owned, own.flatten(1).sum(1), both)


def not_repeated(overlaps: Tensor, threshold: float) -> Tensor:
    """Which of N finds, the best first, overlap no better one by ``threshold`` or more; better ones that are dropped
    count as well.

    overlaps: [N, N]. Returns bool [N].
    """
    return ~(overlaps.triu(1) >= threshold).any(0)


def class_map(scores: Tensor, logits: Tensor) -> Tensor:
    """The class with the largest sum of score times mask probability over the Q queries at each pixel.

    scores: [Q, K]; logits: [Q, ...]. Returns int64 [...].
    """
    return torch.einsum("qk,q...->k...", scores, logits.sigmoid()).argmax(0)

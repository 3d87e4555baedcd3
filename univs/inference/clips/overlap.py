"""Who owns a pixel, whose mask is hidden too much, which of several finds is a repeat."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from univs.inference.clips.arithmetic import count_pixels

NOBODY = -1
# so many queries are enlarged together
QUERIES_AT_ONCE = 25


def pixel_owner(claims: Tensor, wanted: Tensor) -> Tensor:
    """The object with the largest claim at each pixel, the first of equal ones.

    claims: [N, ...], any numbers, N > 0. wanted: bool [...], where somebody owns the pixel at all.
    Returns int64 [...] row numbers, -1 where nobody does.
    """
    return claims.argmax(0).masked_fill(~wanted, NOBODY)


def own_part(owner: Tensor, own: Tensor) -> Tensor:
    """The owners [...] that have the pixel in their own mask, -1 elsewhere; own: bool [N, ...]."""
    inside = own.gather(0, owner.clamp(min=0)[None])[0]
    return owner.masked_fill(~inside, NOBODY)


@dataclass(frozen=True)
class Shares:
    """Pixels of N objects, int64 [N]: those that each owns, those of its own mask, and those that are both."""

    owned: Tensor
    own: Tensor
    both: Tensor

    @classmethod
    def none(cls, count: int, device: torch.device | str = "cpu") -> Shares:
        """No pixel."""
        return cls(*(torch.zeros(count, dtype=torch.int64, device=device) for _ in range(3)))

    @classmethod
    def count(cls, owner: Tensor, own: Tensor) -> Shares:
        """Pixels of objects whose own masks are ``own`` [N, ...] where ``owner`` [...] owns each pixel."""
        owned, both = (count_rows(rows, len(own)) for rows in (owner, own_part(owner, own)))
        return cls(owned, count_pixels(own), both)

    def __add__(self, other: Shares) -> Shares:
        return Shares(self.owned + other.owned, self.own + other.own, self.both + other.both)

    @property
    def visible(self) -> Tensor:
        """Bool [N]: none of the three is empty."""
        return (self.owned > 0) & (self.own > 0) & (self.both > 0)

    @property
    def ratio(self) -> Tensor:
        """Owned over own pixels [N]; owned ones count outside the own mask, too, so that it may pass 1."""
        return self.owned / self.own.clamp(min=1)


def count_rows(rows: Tensor, count: int) -> Tensor:
    """How often each row number occurs, int64 [count]."""
    return torch.bincount((rows - NOBODY).flatten(), minlength=count + 1)[1:]


def not_repeated(overlaps: Tensor, threshold: float) -> Tensor:
    """Which of N finds, the best first, overlap no better one by ``threshold`` or more; better ones that are dropped
    count as well.

    overlaps: [N, N]. Returns bool [N].
    """
    return ~(overlaps.triu(1) >= threshold).any(0)


def class_map(scores: Tensor, masks: Tensor, enlarge: Callable[[Tensor], Tensor]) -> Tensor:
    """The class with the largest sum of score times mask probability over the Q queries at each pixel.

    scores: [Q, K]; masks: logits [Q, ...]; enlarge: makes logits of the wanted size of a few of them, because those of
    all queries together are large. Returns int64 of that size.
    """
    parts = zip(scores.split(QUERIES_AT_ONCE), masks.split(QUERIES_AT_ONCE), strict=True)
    return sum(torch.einsum("qk,q...->k...", some, enlarge(logits).sigmoid()) for some, logits in parts).argmax(0)

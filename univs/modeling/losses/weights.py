"""Weights of the loss terms."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

IDENTITY_TERMS = ("loss_reid", "loss_reid_aux", "loss_reid_l2p", "loss_reid_l2p_aux")
INTER_CLIP_TERMS = ("loss_reid_interclip", "loss_reid_interclip_aux")


@dataclass(frozen=True)
class LossWeights:
    """Weights by kind of term; training on long videos halves the identity terms and adds those between clips."""

    classes: float = 5.0
    mask: float = 5.0
    dice: float = 5.0
    identity: float = 0.5
    long_video: bool = False

    def by_term(self) -> dict[str, float]:
        """Weight of every term, without the suffixes of decoder layers."""
        identity = 0.5 * self.identity if self.long_video else self.identity
        terms = IDENTITY_TERMS + (INTER_CLIP_TERMS if self.long_video else ())
        fixed = {"loss_ce": self.classes, "loss_mask": self.mask, "loss_dice": self.dice}
        return fixed | dict.fromkeys(terms, identity)

    def apply(self, losses: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Weighted losses; ``loss_mask_3`` has the weight of ``loss_mask``."""
        weights = self.by_term()
        return {name: value * weights[term_of(name)] for name, value in losses.items()}


def term_of(name: str) -> str:
    """Name of a loss without the number of its decoder layer: ``loss_mask_3`` -> ``loss_mask``."""
    head, _, last = name.rpartition("_")
    return head if last.isdigit() else name

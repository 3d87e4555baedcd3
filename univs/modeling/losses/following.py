"""Losses of following given objects through a clip with the dense memory, on the model's own predictions."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from univs.modeling.dense_memory import DenseMaps, DenseMemory

UNKNOWN = 255


@dataclass
class ClipMasks:
    """Masks of the K objects followed in one clip, at stride 4.

    masks: [K, T, h4, w4] in 0..1; known: [T, h4, w4], 0 where the annotation does not say.
    """

    masks: Tensor
    known: Tensor

    @classmethod
    def from_id_map(cls, id_map: Tensor, smallest: float = 4.0) -> ClipMasks:
        """From an id map [T, H, W] uint8: objects that cover at least ``smallest`` stride-4 cells of frame 0."""
        known = F.avg_pool2d((id_map != UNKNOWN).float(), 4)
        ids = [int(i) for i in id_map[0].unique() if i not in (0, UNKNOWN)]
        masks = [F.avg_pool2d((id_map == i).float(), 4) for i in ids]
        masks = [m for m in masks if m[0].sum() >= smallest]
        shape = (0, *known.shape)
        return cls(torch.stack(masks) if masks else known.new_zeros(shape), known)


def hard_pixel_cross_entropy(logits: Tensor, targets: Tensor, known: Tensor, share: float) -> Tensor:
    """Binary cross entropy of [K, h, w] averaged over the hardest ``share`` of each object's pixels."""
    loss = (F.binary_cross_entropy_with_logits(logits, targets, reduction="none") * known).flatten(1)
    if share < 1:
        loss = loss.topk(max(1, int(share * loss.shape[1])), dim=1, sorted=False).values
    return loss.mean()


def dice_loss(logits: Tensor, targets: Tensor, known: Tensor) -> Tensor:
    """1 - (2 sum(p y) + 1) / (sum p + sum y + 1) per object of [K, h, w], averaged (V-Net, with smoothing 1)."""
    probability, targets = (logits.sigmoid() * known).flatten(1), (targets * known).flatten(1)
    top = 2 * (probability * targets).sum(1) + 1
    return (1 - top / (probability.sum(1) + targets.sum(1) + 1)).mean()


def remembered(step: int, draw: float) -> list[int]:
    """Frames in memory at frame ``step`` of a training clip: the first, the last and, later, one between."""
    frames = {0, step - 1}
    if step >= 3:
        frames.add(1 + int(draw * (step - 2)))
    return sorted(frames)


def following_losses(
    memory: DenseMemory, maps: list[DenseMaps], clips: list[ClipMasks], hard_share: float, draws: list[float]
) -> dict[str, Tensor]:
    """Follow the objects of a batch of clips from their first masks.

    maps: one `DenseMaps` of T frames per clip; clips: their masks; hard_share: share of pixels in the cross entropy;
    draws: one number in [0, 1) per frame (which earlier frame is kept). Returns unweighted losses
    ``loss_follow_mask``, ``loss_follow_dice`` and the same for the carried masks alone.
    """
    pairs = [(m, c) for m, c in zip(maps, clips, strict=True) if len(c.masks)]
    stored = [[memory.values(m.frame(0), c.masks[:, 0])] for m, c in pairs]
    steps = maps[0].keys.shape[0]
    terms: dict[str, list[Tensor]] = {}
    for t in range(1, steps):
        frames = remembered(t, draws[t])
        reads = []
        for (m, _), values in zip(pairs, stored, strict=True):
            affinity = memory.affinity(m.keys[t], m.keys[frames])
            reads.append(memory.read(affinity, torch.stack([values[i] for i in frames])))
        counts = [len(c.masks) for _, c in pairs]
        context = [
            torch.cat([m.context[i][t : t + 1].expand(n, -1, -1, -1) for (m, _), n in zip(pairs, counts, strict=True)])
            for i in range(len(maps[0].context))
        ]
        logits, carried = memory.decode(torch.cat(reads), context)
        targets = torch.cat([c.masks[:, t] for _, c in pairs])
        known = torch.cat([c.known[t : t + 1].expand(n, -1, -1) for (_, c), n in zip(pairs, counts, strict=True)])
        _collect(terms, "follow", logits, targets, known, hard_share)
        _collect(terms, "carried", carried, targets, known, hard_share)
        if t + 1 < steps:
            probability = logits.sigmoid().split(counts)
            for (m, _), values, p in zip(pairs, stored, probability, strict=True):
                values.append(memory.values(m.frame(t), p))
    return {name: torch.stack(values).mean() for name, values in terms.items()}


def _collect(
    terms: dict[str, list[Tensor]], name: str, logits: Tensor, targets: Tensor, known: Tensor, share: float
) -> None:
    terms.setdefault(f"loss_{name}_mask", []).append(hard_pixel_cross_entropy(logits, targets, known, share))
    terms.setdefault(f"loss_{name}_dice", []).append(dice_loss(logits, targets, known))

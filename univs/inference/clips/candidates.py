"""Learnable queries that may be objects, and which of them are worth a look."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from univs.inference.clips.arithmetic import box_iou, mask_boxes, mask_iou, mask_quality
from univs.inference.clips.clip import Clip
from univs.inference.clips.overlap import not_repeated
from univs.inference.clips.settings import ClipSettings

# of a first clip's panoptic candidates: so many in all, of things, of stuff; overlap of stuff that makes a repeat
MOST_PANOPTIC, MOST_THINGS, MOST_STUFF = 100, 70, 30
STUFF_OVERLAP = 0.6


@dataclass(frozen=True)
class Candidates:
    """Rows of M queries.

    queries: [M] their numbers. scores: [M, K] class scores times mask quality. embeddings: [M, T, C]. boxes:
    [M, T, 4] in 0..1 of the padded frame. quality: [M]. all_masks: mask logits [Q, T, H/4, W/4] of all queries.
    """

    queries: Tensor
    scores: Tensor
    embeddings: Tensor
    boxes: Tensor
    quality: Tensor
    all_masks: Tensor

    def __len__(self) -> int:
        return len(self.queries)

    @property
    def best(self) -> Tensor:
        """Best class score [M]."""
        return self.scores.amax(1)

    @property
    def masks(self) -> Tensor:
        """Mask logits [M, T, H/4, W/4]; a copy, made when it is read."""
        return self.all_masks[self.queries]

    def pick(self, rows: Tensor) -> Candidates:
        """Those rows (numbers or bool), in this order."""
        return Candidates(*(getattr(self, name)[rows] for name in _BY_ROW), self.all_masks)

    def then(self, others: Candidates) -> Candidates:
        """These and, behind them, others of the same clip."""
        pairs = ((getattr(self, name), getattr(others, name)) for name in _BY_ROW)
        return Candidates(*map(torch.cat, pairs), self.all_masks)


_BY_ROW = [item.name for item in fields(Candidates) if item.name != "all_masks"]


def all_candidates(clip: Clip) -> Candidates:
    """All learnable queries of a clip."""
    masks = clip.learnable_masks()
    quality = mask_quality(masks)
    scores = clip.prediction.class_logits[0, : len(masks)].sigmoid() * quality[:, None]
    queries = torch.arange(len(masks), device=masks.device)
    return Candidates(queries, scores, clip.learnable_embeddings(), mask_boxes(masks > 0), quality, masks)


def instance_candidates(candidates: Candidates, settings: ClipSettings) -> Candidates:
    """Stable masks with the best scores, without repeats; the best first."""
    if settings.stability_threshold > 0:
        candidates = candidates.pick(candidates.quality > settings.stability_threshold)
    return _distinct_boxes(_best_first(candidates, settings.max_objects), settings.nms_threshold)


def first_panoptic_candidates(candidates: Candidates, settings: ClipSettings, things: Iterable[int]) -> Candidates:
    """Of the best queries the things, then the stuff, each without repeats and the best first."""
    candidates = _best_first(candidates, MOST_PANOPTIC)
    countable = torch.tensor(sorted(things), dtype=torch.int64, device=candidates.queries.device)
    is_thing = torch.isin(candidates.scores.argmax(1), countable)
    found = _distinct_boxes(_best_first(candidates.pick(is_thing), MOST_THINGS), settings.nms_threshold)
    stuff = _best_first(candidates.pick(~is_thing), MOST_STUFF)
    first = stuff.masks[:, :1] > 0
    return found.then(stuff.pick(not_repeated(mask_iou(first, first)[..., 0], STUFF_OVERLAP)))


def _best_first(candidates: Candidates, most: int) -> Candidates:
    """The best ``most`` of them by score, sorted."""
    return candidates.pick(candidates.best.topk(min(most, len(candidates))).indices)


def _distinct_boxes(candidates: Candidates, threshold: float) -> Candidates:
    """Without those whose boxes overlap a better one's in any frame of the clip."""
    overlaps = box_iou(candidates.boxes, candidates.boxes).amax(2)
    return candidates.pick(not_repeated(overlaps, threshold))

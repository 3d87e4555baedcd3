"""What clips are compared by: mask quality, boxes, overlaps, similarity of embeddings, assignment.

Shape letters: N objects or queries, M others of them, T frames of a clip, t slots of an object's past, H x W pixels.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from scipy.optimize import linear_sum_assignment
from torch import Tensor

_SMALLEST_NORM = 1e-3
_SMALLEST_UNION = 1e-3
_SLOT_DECAY = 5.0


def mask_quality(logits: Tensor) -> Tensor:
    """Stability of masks: pixels with logit > 1 over pixels with logit > -1, all frames together.

    logits: [N, T, H, W]. Returns [N] in 0..1, 0 for empty masks.
    """
    inner, outer = sure_pixels(logits)
    return inner / outer.clamp(min=1)


def sure_pixels(logits: Tensor) -> Tensor:
    """Pixels of masks [N, ...] with logit > 1, and with logit > -1; int64 [2, N]."""
    return torch.stack([count_pixels(logits > level) for level in (1.0, -1.0)])


def count_pixels(masks: Tensor) -> Tensor:
    """True pixels of bool masks [N, ...], int64 [N]."""
    rows = masks.flatten(1)
    if rows.device.type != "cpu":
        return rows.sum(1)
    # on the CPU PyTorch makes eight bytes of every pixel first, which takes several times as long
    return torch.tensor([np.count_nonzero(row) for row in rows.numpy()], dtype=torch.int64)


def mask_boxes(masks: Tensor) -> Tensor:
    """Box (first column, first row, last column, last row) of each mask, divided by (W, H, W, H); zeros where empty.

    masks: bool [..., H, W]. Returns float32 [..., 4]. The last column and row are those of the last pixel.
    """
    height, width = masks.shape[-2:]
    ends = [_first_and_last(masks.any(-2)), _first_and_last(masks.any(-1))]
    box = torch.stack([ends[0][0], ends[1][0], ends[0][1], ends[1][1]], -1).float()
    return box / box.new_tensor([width, height, width, height])


def _first_and_last(line: Tensor) -> tuple[Tensor, Tensor]:
    """First and last true place of lines [..., L]; 0 and 0 where there is none."""
    line = line.to(torch.uint8)
    found = line.amax(-1)
    last = line.shape[-1] - 1 - line.flip(-1).argmax(-1)
    return line.argmax(-1), last * found


def box_iou(boxes: Tensor, others: Tensor) -> Tensor:
    """IoU of boxes in 0..1, each frame apart; [N, T, 4] and [M, T, 4] -> [N, M, T].

    The union counts as at least 1e-3, so that boxes below a thousandth of the picture overlap less than they do.
    """
    first, second = boxes[:, None], others[None]
    size = (torch.minimum(first[..., 2:], second[..., 2:]) - torch.maximum(first[..., :2], second[..., :2])).clamp(
        min=0
    )
    shared = size[..., 0] * size[..., 1]
    union = _box_areas(first) + _box_areas(second) - shared
    return shared / union.clamp(min=_SMALLEST_UNION)


def _box_areas(boxes: Tensor) -> Tensor:
    return (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])


def mask_iou(masks: Tensor, others: Tensor) -> Tensor:
    """IoU of every mask with every other one, each frame apart; bool [N, T, H, W] and [M, T, H, W] -> [N, M, T]."""
    first, second = (x.flatten(2).transpose(0, 1).float() for x in (masks, others))  # [T, N, H * W]
    shared = first @ second.transpose(1, 2)
    union = first.sum(2)[:, :, None] + second.sum(2)[:, None] - shared
    return (shared / union.clamp(min=1)).permute(1, 2, 0)


def paired_mask_iou(masks: Tensor, others: Tensor) -> Tensor:
    """IoU of each mask with the other one of its row, over all its pixels; bool [N, ...] and [N, ...] -> [N]."""
    shared, union = count_pixels(masks & others), count_pixels(masks | others)
    return shared / union.clamp(min=1)


def is_set(slots: Tensor) -> Tensor:
    """1 where a slot has any entry other than zero, else 0; [..., C] -> float32 [...]."""
    return (slots != 0).any(-1).float()


def slot_weights(used: Tensor) -> Tensor:
    """Weights of an object's slots, the newest the heaviest: exp(5 k / t) for k = 1..t, 0 for unused slots, sum 1.

    used: [N, t] of 0 and 1. Returns [N, t].
    """
    count = used.shape[1]
    places = torch.arange(1, count + 1, device=used.device, dtype=used.dtype)
    weights = torch.exp(_SLOT_DECAY * places / count) * used
    return weights / weights.sum(1, keepdim=True).clamp(min=_SMALLEST_UNION)


def self_similarity(slots: Tensor, embeddings: Tensor) -> Tensor:
    """How much each object is like its own past: weighted mean of the cosines with its slots.

    slots: [N, t, C]; embeddings: [N, T, C] of the present clip. Returns [N].
    """
    cosines = torch.einsum("nsc,ntc->nst", _unit(slots), _unit(embeddings)).mean(2)
    return (cosines * slot_weights(is_set(slots))).sum(1)


def cosine_similarity(slots: Tensor, embeddings: Tensor) -> Tensor:
    """The same similarity of every object with every query: [N, t, C] and [M, T, C] -> [N, M]."""
    cosines = torch.einsum("nsc,mtc->nmst", _unit(slots), _unit(embeddings)).mean(3)
    return (cosines * slot_weights(is_set(slots))[:, None]).sum(2)


def mutual_similarity(slots: Tensor, embeddings: Tensor) -> Tensor:
    """How much each query is the choice of an object and the object that of the query: bi-softmax of dot products.

    slots: [N, t, C]; embeddings: [M, T, C]. Returns [N, M] in 0..1, mean over slots and frames.
    """
    products = torch.einsum("nsc,mtc->nmst", slots, embeddings)
    return ((products.softmax(0) + products.softmax(1)) / 2).mean((2, 3))


def _unit(vectors: Tensor) -> Tensor:
    return F.normalize(vectors, dim=-1, eps=_SMALLEST_NORM)


def assign(similarity: Tensor) -> tuple[Tensor, Tensor]:
    """One-to-one pairs of the largest total similarity; [N, M] -> rows and columns, int64 [min(N, M)], rows ascending.

    Not-a-number counts as no similarity.
    """
    costs = (1 - similarity).nan_to_num(nan=1.0).cpu().numpy()
    rows, columns = linear_sum_assignment(costs)
    return torch.from_numpy(rows).to(similarity.device), torch.from_numpy(columns).to(similarity.device)


def running_mean(old: Tensor, new: Tensor) -> Tensor:
    """Mean of a slot and what comes to it; the new value alone where the slot was empty. [..., C] both."""
    return (old + new) / (1 + is_set(old)).unsqueeze(-1)

"""Affinity between the cells of a frame and the cells of remembered frames.

The similarity of a query key q and a memory key k is ``scale * (2 q.k - k.k)``, that is minus the squared
distance up to a constant of the row (Cheng et al., "Rethinking Space-Time Networks with Improved Memory Coverage for
Efficient Video Object Segmentation", NeurIPS 2021, equation 8). Each row keeps its ``top_k`` best cells
(Cheng et al., "Modular Interactive Video Object Segmentation", CVPR 2021, section 4.1) and is normalised by softmax.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

SELECTION_GROUP = 8  # columns per group when the best ones of many are chosen


@dataclass
class Affinity:
    """Sparse rows: ``cells`` [R, k] index the concatenated cells of the memory, ``weights`` [R, k] sum to one."""

    cells: Tensor
    weights: Tensor

    def read(self, values: Tensor) -> Tensor:
        """Weighted sum of ``values`` [cells, C] for every row: [R, C]."""
        return F.embedding_bag(self.cells, values, per_sample_weights=self.weights, mode="sum")

    def rows(self, index: Tensor) -> Affinity:
        """The affinity of some rows only, ``index`` [R'] long."""
        return Affinity(self.cells[index], self.weights[index])


def similarity(query: Tensor, keys: Tensor, scale: Tensor | float) -> Tensor:
    """Similarity of every query [R, C] to every key [N, C]: [R, N]."""
    return (2 * query @ keys.t() - keys.square().sum(1)) * scale


def window_similarity(
    query: Tensor, keys: Tensor, lengths: Tensor, scale: Tensor | float, place: tuple[int, int], radius: int
) -> tuple[Tensor, Tensor]:
    """Similarity of a rectangle of queries to the keys at most ``radius`` rows and columns away from each of them.

    query: [C, h, w], the rectangle whose top-left cell sits at ``place`` (row, column) of the frame;
    keys: [C, H, W] of a remembered frame; lengths: [H, W], their squared lengths (`squared_lengths`). Returns the
    similarities [h*w, N] to the N cells that any of the queries reaches, minus infinity where a query itself does not,
    and the indices [N] of these cells in the frame. They come from one matrix product, which costs less than to cut
    each query's own window.
    """
    _, height, width = query.shape
    top, bottom = max(0, place[0] - radius), min(keys.shape[1], place[0] + height + radius)
    left, right = max(0, place[1] - radius), min(keys.shape[2], place[1] + width + radius)
    below = _beyond(place[0], height, top, bottom, radius, query.device)[:, None, :, None]
    aside = _beyond(place[1], width, left, right, radius, query.device)[None, :, None, :]
    bias = (below + (aside - lengths[top:bottom, left:right])).flatten(2).flatten(0, 1).to(query.dtype)
    product = torch.addmm(bias, query.flatten(1).t(), keys[:, top:bottom, left:right].flatten(1), alpha=2)
    return product.mul_(scale), _cells(top, bottom, left, right, keys.shape[2], query.device)


# Few different ones are asked for again and again, by every frame.
@functools.lru_cache(maxsize=1024)
def _beyond(start: int, count: int, low: int, high: int, radius: int, device: torch.device) -> Tensor:
    """Zero, or minus infinity where key positions low..high-1 lie beyond reach of start..start+count-1: [count, N]."""
    query, key = (torch.arange(*ends, device=device) for ends in ((start, start + count), (low, high)))
    far = (query[:, None] - key).abs() > radius
    return torch.zeros(far.shape, device=device).masked_fill_(far, -math.inf)


@functools.lru_cache(maxsize=512)
def _cells(top: int, bottom: int, left: int, right: int, frame_width: int, device: torch.device) -> Tensor:
    """Indices of the cells of a rectangle, row by row: [N]."""
    rows = torch.arange(top, bottom, device=device) * frame_width
    return (rows[:, None] + torch.arange(left, right, device=device)).flatten()


def squared_lengths(keys: Tensor) -> Tensor:
    """Squared lengths [H, W] of keys [C, H, W]."""
    return keys.square().sum(0)


def keep_best(scores: Tensor, top_k: int) -> Affinity:
    """Keep the ``top_k`` best columns of ``scores`` [R, N], as cells, and normalise them.

    Of many columns first the groups are chosen whose best ones are the greatest: none of the ``top_k`` best can lie in
    another group.
    """
    rows, columns = scores.shape
    if columns <= 2 * SELECTION_GROUP * top_k:
        return _affinity(scores, _greatest(scores, min(top_k, columns)))
    stride = columns // SELECTION_GROUP
    grouped = scores[:, : stride * SELECTION_GROUP].view(rows, SELECTION_GROUP, stride)
    groups = _greatest(grouped.amax(1), top_k)
    members = torch.arange(SELECTION_GROUP, device=scores.device) * stride
    rest = torch.arange(stride * SELECTION_GROUP, columns, device=scores.device).expand(rows, -1)
    candidates = torch.cat([(groups[:, None] + members[:, None]).flatten(1), rest], 1)
    return _affinity(scores, candidates.gather(1, _greatest(scores.gather(1, candidates), top_k)))


def _affinity(scores: Tensor, cells: Tensor) -> Affinity:
    return Affinity(cells, scores.gather(1, cells).softmax(1))


def _greatest(values: Tensor, count: int) -> Tensor:
    """Columns [R, count] of the greatest ``values`` [R, N], in any order.

    On the CPU NumPy finds the least of them several times faster than PyTorch finds all; equal values that make more
    than ``count`` reach it are left to PyTorch.
    """
    if count < values.shape[1] and values.device.type == "cpu" and not values.requires_grad:
        place = values.shape[1] - count
        least = torch.from_numpy(np.partition(values.numpy(), place, axis=1)[:, place])
        columns = (values >= least[:, None]).nonzero()[:, 1]
        if len(columns) == len(values) * count:
            return columns.view(len(values), count)
    return values.topk(count, dim=1, sorted=False).indices

"""Affinity between the cells of a frame and the cells of remembered frames.

The similarity of a query key q and a memory key k is ``scale * (2 q.k - k.k)``, that is minus the squared
distance up to a constant of the row (Cheng et al., "Rethinking Space-Time Networks with Improved Memory Coverage for
Efficient Video Object Segmentation", NeurIPS 2021, equation 8). Each row keeps its ``top_k`` best cells
(Cheng et al., "Modular Interactive Video Object Segmentation", CVPR 2021, section 4.1) and is normalised by softmax.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

SELECTION_GROUP = 16  # most columns per group when the best ones of many are chosen


@dataclass
class Affinity:
    """Sparse rows: ``cells`` [R, k] index the concatenated cells of the memory, ``weights`` [R, k] sum to one.

    best: the greatest similarity of each row [R].
    """

    cells: Tensor
    weights: Tensor
    best: Tensor

    def read(self, values: Tensor) -> Tensor:
        """Weighted sum of ``values`` [cells, C] for every row: [R, C]."""
        return F.embedding_bag(self.cells, values, per_sample_weights=self.weights.to(values.dtype), mode="sum")


class RememberedKeys(NamedTuple):
    """Keys [N, C] of the cells of one frame, row by row, and their squared lengths [N]."""

    keys: Tensor
    lengths: Tensor

    @classmethod
    def of(cls, keys: Tensor) -> RememberedKeys:
        """From keys [C, H, W]."""
        return cls(keys.flatten(1).t().contiguous(), keys.square().sum(0).flatten())


def similarity(query: Tensor, keys: Tensor, scale: Tensor | float) -> Tensor:
    """Similarity of every query [R, C] to every key [N, C]: [R, N]."""
    return (2 * query @ keys.t() - keys.square().sum(1)) * scale


def similarity_to(query: Tensor, remembered: RememberedKeys, cells: Tensor, scale: float, out: Tensor) -> None:
    """Write the similarity of queries [R, C] to some ``cells`` [N] of a remembered frame to ``out`` [R, N]."""
    keys, lengths = (table.index_select(0, cells) for table in remembered)
    torch.addmm(lengths, query, keys.t(), beta=-scale, alpha=2 * scale, out=out)


def keep_best(scores: Tensor, top_k: int) -> Affinity:
    """Keep the ``top_k`` best columns of ``scores`` [R, N], as cells, and normalise them."""
    cells = _greatest(scores.detach(), min(top_k, scores.shape[1]))
    kept = scores.gather(1, cells)
    return Affinity(cells, kept.softmax(1), kept.amax(1))


def _greatest(values: Tensor, count: int) -> Tensor:
    """Columns [R, count] of the greatest ``values`` [R, N], in any order."""
    group = min(SELECTION_GROUP, values.shape[1] // (2 * count))
    if values.device.type == "cpu" and group > 1:
        found = _greatest_of(values.numpy(), _bound(values, count, group), count)
        if found is not None:
            return torch.from_numpy(found)
    return values.topk(count, dim=1, sorted=False).indices


def _bound(values: Tensor, count: int, group: int) -> np.ndarray:
    """What the ``count``-th greatest of each row [R, 1] is at least: as many groups of columns have a member there."""
    rows, columns = values.shape
    stride = columns // group
    best = values[:, : stride * group].view(rows, group, stride).amax(1).numpy()
    place = stride - count
    return np.partition(best, place, axis=1)[:, place : place + 1]


def _greatest_of(values: np.ndarray, least: np.ndarray, count: int) -> np.ndarray | None:
    """Columns [R, count] of the greatest ``values`` [R, N], all at least ``least`` [R, 1]; None if there are fewer.

    Few values reach so far, and only these are compared with each other: several times faster than PyTorch's own. Of
    equal ones the first are taken, so that a row's columns, and their order, do not depend on the other rows.
    """
    rows, columns = values.shape
    reaching = np.flatnonzero(values >= least)
    firsts = np.arange(rows + 1) * columns
    starts = np.searchsorted(reaching, firsts)
    counts = np.diff(starts)
    if counts.min() < count:  # not numbers
        return None
    places = np.arange(counts.max())
    candidates = reaching.take(starts[:-1, None] + places, mode="clip")
    compared = np.where(places < counts[:, None], values.reshape(-1).take(candidates), -np.inf)
    first = len(places) - count
    last = np.partition(compared, first, axis=1)[:, first, None]
    chosen = compared >= last
    if chosen.sum() > rows * count:
        equal, over = compared == last, chosen.sum(1, keepdims=True) - count
        chosen &= ~equal | (np.cumsum(equal, 1) <= equal.sum(1, keepdims=True) - over)
    return candidates[chosen].reshape(rows, count) - firsts[:-1, None]

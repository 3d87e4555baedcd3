"""Affinity between the cells of a frame and the cells of remembered frames.

The similarity of a query key q and a memory key k is ``scale * (2 q.k - k.k)``, that is minus the squared
distance up to a constant of the row (Cheng et al., "Rethinking Space-Time Networks with Improved Memory Coverage for
Efficient Video Object Segmentation", NeurIPS 2021, equation 8). Each row keeps its ``top_k`` best cells
(Cheng et al., "Modular Interactive Video Object Segmentation", CVPR 2021, section 4.1) and is normalised by softmax.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


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
    query: Tensor, keys: Tensor, norm: Tensor, scale: Tensor | float, place: tuple[int, int], radius: int
) -> Tensor:
    """Similarity of a rectangle of queries to the keys round the same place of a remembered frame.

    query: [C, h, w], the rectangle whose top-left cell sits at ``place`` (row, column) of the frame;
    keys: [C, H + 2r, W + 2r], the frame's keys with a border of r = ``radius`` cells; norm: [H + 2r, W + 2r],
    the squared length of the keys, infinite in the border (`with_border` makes both). Returns [h*w, (2r + 1)^2], minus
    infinity outside the frame. Every row of queries is one matrix product with the 2r + 1 rows of keys round it, from
    which the diagonal band is cut as a strided view.
    """
    _, height, width = query.shape
    top, left = place
    side, span = 2 * radius + 1, width + 2 * radius
    region = (slice(top, top + height + 2 * radius), slice(left, left + span))
    rows = keys[:, region[0], region[1]].unfold(1, side, 1)  # [C, h, span, side]
    rows = rows.permute(1, 0, 3, 2).reshape(height, -1, side * span)
    lengths = norm[region].unfold(0, side, 1).permute(0, 2, 1).reshape(height, 1, side * span)
    product = torch.baddbmm(lengths, query.permute(1, 2, 0), rows, beta=-1, alpha=2)
    # column j of the query meets the columns j .. j + side - 1 of the bordered keys
    band = product.as_strided((height, width, side, side), (width * side * span, side * span + 1, span, 1))
    return band.reshape(height * width, side * side) * scale


def with_border(keys: Tensor, radius: int) -> tuple[Tensor, Tensor]:
    """Keys [C, H, W] and their squared lengths with a border of ``radius`` cells, for `window_similarity`."""
    border = (radius,) * 4
    return F.pad(keys, border), F.pad(keys.square().sum(0), border, value=float("inf"))


def window_cells(radius: int, frame_width: int) -> Tensor:
    """Cell index of each column of `window_similarity` relative to the row's own cell: [(2r + 1)^2] long."""
    offset = torch.arange(-radius, radius + 1)
    return (offset[:, None] * frame_width + offset).flatten()


def keep_best(scores: Tensor, top_k: int) -> Affinity:
    """Keep the ``top_k`` best columns of ``scores`` [R, N], as cells, and normalise them."""
    best, column = scores.topk(min(top_k, scores.shape[1]), dim=1, sorted=False)
    return Affinity(column, best.softmax(1))

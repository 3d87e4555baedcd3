"""Multi-scale deformable attention (Deformable DETR, Zhu et al. 2021).

`deformable_sampling` is the core that back ends exchange: it reads the value maps at the sampling locations and adds
the readings up. The one with grid_sample is differentiable and runs on every device; on CPUs without gradient the one
with embedding_bag takes a fifth of its time.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# (value, sizes, locations, weights) -> output, as in `deformable_sampling`
SamplingBackend = Callable[[Tensor, Sequence[tuple[int, int]], Tensor, Tensor], Tensor]


def sample_with_grid_sample(
    value: Tensor, sizes: Sequence[tuple[int, int]], locations: Tensor, weights: Tensor
) -> Tensor:
    """The back end in plain PyTorch; shapes as in `deformable_sampling`, computed in float32 at least."""
    dtype = torch.promote_types(value.dtype, torch.float32)
    frames, _, heads, head_dim = value.shape
    queries, points = locations.shape[1], locations.shape[4]
    grids = (2.0 * locations.to(dtype) - 1.0).permute(3, 0, 2, 1, 4, 5).flatten(1, 2)  # [levels, T*M, Lq, P, 2]
    weights = weights.to(dtype).permute(3, 0, 2, 1, 4).reshape(len(sizes), frames * heads, 1, queries, points)
    out = value.new_zeros((frames * heads, head_dim, queries), dtype=dtype)
    maps = value.to(dtype).permute(0, 2, 3, 1).flatten(0, 1)  # [T*M, D, S]
    for level, part in enumerate(maps.split([height * width for height, width in sizes], dim=2)):
        readings = F.grid_sample(part.unflatten(2, sizes[level]), grids[level], align_corners=False)
        out = out + (readings * weights[level]).sum(3)  # [T*M, D, Lq, P] over P
    return out.view(frames, heads * head_dim, queries).transpose(1, 2).to(value.dtype)


def sample_with_embedding_bag(
    value: Tensor, sizes: Sequence[tuple[int, int]], locations: Tensor, weights: Tensor
) -> Tensor:
    """The same as sums of rows of a table: the four cells round all the locations of an output make one sum.

    Shapes as in `deformable_sampling`, computed in float32 at least.
    """
    frames, cells, heads, head_dim = value.shape
    dtype = torch.promote_types(value.dtype, torch.float32)
    points, weights = locations.to(dtype).permute(3, 5, 0, 2, 1, 4), weights.to(dtype).permute(3, 0, 2, 1, 4)
    first, rows, shares = 0, [], []
    for level, (height, width) in enumerate(sizes):
        for cell, share in _corners(*points[level], height, width):
            rows.append(cell + first)
            shares.append(share.mul_(weights[level]))
        first += height * width
    tables = torch.arange(frames * heads, device=value.device, dtype=torch.int32).view(frames, heads, 1, 1) * cells
    bags = torch.stack(rows, -1).flatten(3).int() + tables  # [T, M, Lq, P * levels * 4]
    sums = F.embedding_bag(
        bags.flatten(0, 2),
        value.transpose(1, 2).reshape(-1, head_dim).to(dtype),
        per_sample_weights=torch.stack(shares, -1).flatten(3).flatten(0, 2),
        mode="sum",
    )
    return sums.view(frames, heads, -1, head_dim).transpose(1, 2).flatten(2).to(value.dtype)


def _corners(x: Tensor, y: Tensor, height: int, width: int) -> Iterator[tuple[Tensor, Tensor]]:
    """The four cells round points at x, y [...] in 0..1, numbered row by row, and their shares in its reading, [...].

    Cells outside the map have no share. The numbers are whole, in the type of x.
    """
    x, y = x * width - 0.5, y * height - 0.5
    left, top = x.floor(), y.floor()
    right_share, lower_share = x - left, y - top
    for line, vertical in ((top, 1 - lower_share), (top + 1, lower_share)):
        row = line.clamp(0, height - 1)
        vertical = vertical.masked_fill(row != line, 0)
        start = row * width
        for column, horizontal in ((left, 1 - right_share), (left + 1, right_share)):
            place = column.clamp(0, width - 1)
            yield start + place, (vertical * horizontal).masked_fill_(place != column, 0)


_backends: dict[str, SamplingBackend] = {
    "grid_sample": sample_with_grid_sample,
    "embedding_bag": sample_with_embedding_bag,
}
# None: whichever suits the device
_chosen: str | None = None


def register_sampling_backend(name: str, backend: SamplingBackend) -> None:
    """Make a back end known, for instance one around a compiled kernel; it must give what `grid_sample` gives."""
    _backends[name] = backend


def use_sampling_backend(name: str | None) -> None:
    """Choose the back end of all later calls, None for the one that suits the device; KeyError for an unknown name."""
    global _chosen
    if name is not None and name not in _backends:
        raise KeyError(f"no back end '{name}' of deformable attention; there are {', '.join(sorted(_backends))}")
    _chosen = name


def deformable_sampling(value: Tensor, sizes: Sequence[tuple[int, int]], locations: Tensor, weights: Tensor) -> Tensor:
    """Weighted sum of bilinear readings of several maps.

    Args:
        value: [T, S, M, D], the maps of all levels flattened and put one after the other, split in M heads.
        sizes: (height, width) of every level; their areas add up to S.
        locations: [T, Lq, M, levels, P, 2] as (x, y) in units of the level's size; the centre of the first cell is
            (0.5 / width, 0.5 / height). Outside the map the value is 0.
        weights: [T, Lq, M, levels, P], summing to 1 over levels and points.

    Returns:
        [T, Lq, M * D] in the type of ``value``.
    """
    suited = "grid_sample"
    if value.device.type == "cpu" and not any(x.requires_grad for x in (value, locations, weights)):
        suited = "embedding_bag"
    return _backends[_chosen or suited](value, sizes, locations, weights)


class DeformableAttention(nn.Module):
    """Attention of tokens to a few learned locations of every level."""

    def __init__(self, dim: int, heads: int = 8, levels: int = 3, points: int = 4) -> None:
        super().__init__()
        self.heads, self.levels, self.points = heads, levels, points
        self.sampling_offsets = nn.Linear(dim, heads * levels * points * 2)
        self.attention_weights = nn.Linear(dim, heads * levels * points)
        self.value_proj = nn.Linear(dim, dim)
        self.output_proj = nn.Linear(dim, dim)
        self._initialise()

    @torch.no_grad()
    def _initialise(self) -> None:
        """Heads look in different directions, points at growing distances, all with equal weight."""
        angles = torch.arange(self.heads, dtype=torch.float32) * (2.0 * math.pi / self.heads)
        directions = torch.stack([angles.cos(), angles.sin()], -1)
        directions = directions / directions.abs().amax(-1, keepdim=True)
        steps = torch.arange(1, self.points + 1, dtype=torch.float32)
        offsets = directions[:, None, None, :] * steps[None, None, :, None]
        self.sampling_offsets.bias.copy_(offsets.expand(-1, self.levels, -1, -1).flatten())
        for zero in (self.sampling_offsets.weight, self.attention_weights.weight, self.attention_weights.bias):
            nn.init.zeros_(zero)
        for linear in (self.value_proj, self.output_proj):
            nn.init.xavier_uniform_(linear.weight)
            nn.init.zeros_(linear.bias)

    def forward(self, query: Tensor, reference: Tensor, memory: Tensor, sizes: Sequence[tuple[int, int]]) -> Tensor:
        """Attend.

        Args:
            query: [T, Lq, C], with positions.
            reference: [T or 1, Lq, levels or 1, 2] points (x, y) in 0..1 about which the locations lie.
            memory: [T, S, C] tokens of all levels, one level after the other.
            sizes: (height, width) of every level.

        Returns:
            [T, Lq, C].
        """
        frames, queries, _ = query.shape
        shape = (frames, queries, self.heads, self.levels, self.points)
        offsets = self.sampling_offsets(query).view(*shape, 2)
        weights = self.attention_weights(query).view(*shape[:3], -1).softmax(-1).view(shape)
        extent = offsets.new_tensor([(width, height) for height, width in sizes])
        locations = reference[:, :, None, :, None, :] + offsets / extent[:, None, :]
        value = self.value_proj(memory).unflatten(2, (self.heads, -1))
        return self.output_proj(deformable_sampling(value, sizes, locations, weights))

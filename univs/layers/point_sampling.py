"""Reading maps at points, and choosing the points at which a mask is least certain (PointRend, Kirillov et al. 2020)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from univs.layers.draws import Draws


def sample_points(maps: Tensor, points: Tensor, mode: str = "bilinear") -> Tensor:
    """Values of ``maps`` [N, C, H, W] at ``points`` [N, P, 2] -> [N, C, P].

    Points are (x, y) in 0..1 from the left and top edge; the centre of the first cell is (0.5 / W, 0.5 / H). Outside
    the map the value is 0. ``mode`` is "bilinear" or "nearest". Half precision maps are read in float32, the result
    has the type of the maps. One row of maps or points is used for all rows of the other.
    """
    rows = max(len(maps), len(points))
    grid = (2.0 * points.float() - 1.0).unsqueeze(2).expand(rows, -1, -1, -1)  # [N, P, 1, 2]
    values = F.grid_sample(maps.float().expand(rows, -1, -1, -1), grid, mode=mode, align_corners=False)
    return values.squeeze(3).to(maps.dtype)


@torch.no_grad()
def uncertain_points(
    logits: Tensor, num_points: int, draws: Draws, oversample_ratio: float = 3.0, importance_ratio: float = 0.5
) -> Tensor:
    """Points [N, num_points, 2] for the masks ``logits`` [N, 1, H, W], most of them where a mask is undecided.

    ``oversample_ratio`` times as many candidates are drawn; the share ``importance_ratio`` of the points are those
    of them with the smallest absolute logit, the rest is drawn uniformly. (x, y) in 0..1.
    """
    masks, device = len(logits), logits.device
    chosen = int(importance_ratio * num_points)
    candidates = draws.uniform("points_oversampled", (masks, int(oversample_ratio * num_points), 2)).to(device)
    certainty = sample_points(logits, candidates)[:, 0].abs()
    best = certainty.neg().topk(chosen, dim=1).indices
    points = candidates.gather(1, best.unsqueeze(2).expand(-1, -1, 2))
    others = draws.uniform("points_random", (masks, num_points - chosen, 2)).to(device)
    return torch.cat([points, others], dim=1)

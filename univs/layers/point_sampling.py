"""Reading maps at points."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def sample_points(maps: Tensor, points: Tensor, mode: str = "bilinear") -> Tensor:
    """Values of ``maps`` [N, C, H, W] at ``points`` [N, P, 2] -> [N, C, P].

    Points are (x, y) in 0..1 from the left and top edge; the centre of the first cell is (0.5 / W, 0.5 / H). Outside
    the map the value is 0. ``mode`` is "bilinear" or "nearest". Half precision maps are read in float32, the result
    has the type of the maps. One row of maps or points is used for all rows of the other.
    """
    rows = torch.broadcast_shapes(maps.shape[:1], points.shape[:1])[0]
    grid = (2.0 * points.float() - 1.0).unsqueeze(2).expand(rows, -1, -1, -1)  # [N, P, 1, 2]
    values = F.grid_sample(maps.float().expand(rows, -1, -1, -1), grid, mode=mode, align_corners=False)
    return values.squeeze(3).to(maps.dtype)

"""Points at which masks are compared."""

from __future__ import annotations

import torch
from torch import Tensor

from univs.layers.draws import Draws
from univs.layers.point_sampling import sample_points


@torch.no_grad()
def draw_uncertain_points(
    logits: Tensor, num_points: int, oversample_ratio: float, importance_ratio: float, draws: Draws
) -> Tensor:
    """Choose points [N, P, 2], (x, y) in 0..1, on mask logits [N, 1, h, w] (PointRend, section 3.1).

    Of ``oversample_ratio * P`` uniform candidates the ``importance_ratio * P`` with the smallest absolute logit are
    taken; the rest of the P points are uniform.
    """
    count = logits.shape[0]
    candidates = draws.uniform("points_oversampled", (count, int(num_points * oversample_ratio), 2)).to(logits.device)
    num_uncertain = int(importance_ratio * num_points)
    certainty = sample_points(logits.float(), candidates)[:, 0].abs()
    chosen = certainty.topk(num_uncertain, dim=1, largest=False).indices
    uncertain = candidates.gather(1, chosen[:, :, None].expand(-1, -1, 2))
    uniform = draws.uniform("points_random", (count, num_points - num_uncertain, 2)).to(logits.device)
    return torch.cat([uncertain, uniform], 1)

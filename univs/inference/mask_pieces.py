"""Connected pieces of a mask: which of them are hardly part of the object.

Something that an object has touched or uncovered, a sign behind a car, may go on being taken for it when the two part.
What the memory keeps of such a piece makes the next ones, so it is dropped where it first appears.
"""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch import Tensor

SMALL = 0.1  # share of the largest piece under which a piece is small
FAR = 1 / 12  # of the picture's longer side, beyond which a small piece is far from all large ones


def far_pieces(mask_logits: Tensor) -> Tensor | None:
    """Where logits [h4, w4] show small pieces far from all others: [h4, w4] bool, or None where there are none."""
    pieces, small = _small_pieces(mask_logits, SMALL)
    if not small:
        return None
    far = _far_from(pieces, (pieces > 0) & ~np.isin(pieces, small), small)
    return _places(pieces, far, mask_logits) if far else None


def without_far_pieces(mask_logits: Tensor, absent: float) -> Tensor:
    """Logits [h4, w4] that are at most ``absent`` where there were far pieces."""
    far = far_pieces(mask_logits)
    return mask_logits if far is None else torch.where(far, mask_logits.clamp(max=absent), mask_logits)


def without_small_pieces(mask_logits: Tensor, share: float, absent: float) -> Tensor:
    """Logits [h4, w4] that are at most ``absent`` in pieces under ``share`` of the largest one."""
    pieces, small = _small_pieces(mask_logits, share)
    if not small:
        return mask_logits
    return torch.where(_places(pieces, small, mask_logits), mask_logits.clamp(max=absent), mask_logits)


def near_clicks(mask_logits: Tensor, clicks: Tensor, absent: float) -> Tensor:
    """Logits [h4, w4] that are at most ``absent`` in pieces far from the clicked ones.

    ``clicks`` [P, 2]: places on the object (x, y) as fractions; where they hit no piece, all stay.
    """
    pieces, _ = _small_pieces(mask_logits, 0.0)
    height, width = pieces.shape
    hit = {0}
    for x, y in clicks.tolist():
        row, column = min(height - 1, int(y * height)), min(width - 1, int(x * width))
        hit |= set(pieces[max(0, row - 1) : row + 2, max(0, column - 1) : column + 2].flat)
    clicked = np.isin(pieces, list(hit - {0}))
    if not clicked.any():
        return mask_logits
    far = _far_from(pieces, clicked, sorted(set(range(1, int(pieces.max()) + 1)) - hit))
    return torch.where(_places(pieces, far, mask_logits), mask_logits.clamp(max=absent), mask_logits)


def _far_from(pieces: np.ndarray, main: np.ndarray, numbers: list[int]) -> list[int]:
    """Those of the pieces that are far from ``main`` [h4, w4] bool."""
    distance = cv2.distanceTransform((~main).view(np.uint8), cv2.DIST_L2, 3)
    return [i for i in numbers if distance[pieces == i].min() > FAR * max(pieces.shape)]


def _small_pieces(mask_logits: Tensor, share: float) -> tuple[np.ndarray, list[int]]:
    """The number of the piece at every place [h4, w4] (0 outside), and the numbers of those under ``share``."""
    mask = (mask_logits > 0).cpu().numpy().view(np.uint8)
    left, top, width, height = cv2.boundingRect(mask)
    part = (slice(top, top + height), slice(left, left + width))
    pieces = np.zeros(mask.shape, np.int32)
    if not width:
        return pieces, []
    count, pieces[part], statistics, _ = cv2.connectedComponentsWithStats(mask[part], connectivity=8)
    areas = statistics[:, cv2.CC_STAT_AREA]
    return pieces, [i for i in range(1, count) if areas[i] < share * areas[1:].max()]


def _places(pieces: np.ndarray, numbers: list[int], like: Tensor) -> Tensor:
    return torch.from_numpy(np.isin(pieces, numbers)).to(like.device)

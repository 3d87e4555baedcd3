"""Region similarity J and boundary accuracy F of two masks (Perazzi et al., CVPR 2016, section 4)."""

from __future__ import annotations

import math

import cv2
import numpy as np


def region_similarity(prediction: np.ndarray, truth: np.ndarray) -> float:
    """J = intersection over union of boolean masks [H, W]; 1 if both are empty."""
    union = np.logical_or(prediction, truth).sum()
    return float(np.logical_and(prediction, truth).sum() / union) if union else 1.0


def boundary_map(mask: np.ndarray) -> np.ndarray:
    """Pixels of [H, W] that differ from their right, lower or lower-right neighbour; the outside does not count."""
    mask = mask.astype(bool)
    out = np.zeros_like(mask)
    out[:, :-1] |= mask[:, :-1] != mask[:, 1:]
    out[:-1] |= mask[:-1] != mask[1:]
    out[:-1, :-1] |= mask[:-1, :-1] != mask[1:, 1:]
    return out


def _disk(radius: int) -> np.ndarray:
    y, x = np.ogrid[-radius : radius + 1, -radius : radius + 1]
    return (x * x + y * y <= radius * radius).astype(np.uint8)


def boundary_accuracy(prediction: np.ndarray, truth: np.ndarray, tolerance: float = 0.008) -> float:
    """F measure of the boundaries of boolean masks [H, W].

    A boundary pixel is right if the other boundary passes within ``tolerance`` times the image diagonal, rounded up
    (a tolerance of 1 or more is a radius in pixels). Both boundaries empty: 1; one empty: 0.
    """
    diagonal = math.hypot(*truth.shape)
    disk = _disk(int(tolerance if tolerance >= 1 else math.ceil(tolerance * diagonal)))
    ours, theirs = boundary_map(prediction), boundary_map(truth)
    count_ours, count_theirs = int(ours.sum()), int(theirs.sum())
    if not count_ours and not count_theirs:
        return 1.0
    if not count_ours or not count_theirs:
        return 0.0
    near_theirs = cv2.dilate(theirs.astype(np.uint8), disk).astype(bool)
    near_ours = cv2.dilate(ours.astype(np.uint8), disk).astype(bool)
    precision = (ours & near_theirs).sum() / count_ours
    recall = (theirs & near_ours).sum() / count_theirs
    return float(2 * precision * recall / (precision + recall)) if precision + recall else 0.0

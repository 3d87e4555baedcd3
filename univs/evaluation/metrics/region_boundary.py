"""Region similarity J and boundary accuracy F of masks (Perazzi et al., CVPR 2016, section 4)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from univs.evaluation.metrics.label_outlines import LabelMap, Points, overlaps, within

TOLERANCE = 0.008
"""Share of the picture's diagonal by which a boundary may be off."""


def boundary_radius(size: tuple[int, int], tolerance: float = TOLERANCE) -> int:
    """Pixels by which a boundary may be off in pictures of (height, width); a tolerance of 1 or more is in pixels."""
    return int(tolerance) if tolerance >= 1 else math.ceil(tolerance * math.hypot(*size))


def region_similarity(prediction: np.ndarray, truth: np.ndarray) -> float:
    """J = intersection over union of boolean masks [H, W]; 1 if both are empty."""
    return float(region_table(LabelMap(prediction.astype(bool)), LabelMap(truth.astype(bool)), [1], [1])[0, 0])


def boundary_map(mask: np.ndarray) -> np.ndarray:
    """Pixels of [H, W] that differ from their right, lower or lower-right neighbour; the outside does not count."""
    out = np.zeros(mask.shape, bool)
    points = LabelMap(mask.astype(bool)).outlines([1])[0]
    out[points.rows, points.columns] = True
    return out


def boundary_accuracy(prediction: np.ndarray, truth: np.ndarray, tolerance: float = TOLERANCE) -> float:
    """F measure of the boundaries of boolean masks [H, W].

    A boundary pixel is right if the other boundary passes within ``tolerance`` times the image diagonal, rounded up
    (a tolerance of 1 or more is a radius in pixels). Both boundaries empty: 1; one empty: 0.
    """
    ours, theirs = (LabelMap(mask.astype(bool)).outlines([1])[0] for mask in (prediction, truth))
    return _boundary_measure(ours, theirs, boundary_radius(truth.shape, tolerance))


def object_scores(
    prediction: np.ndarray | LabelMap,
    truth: np.ndarray | LabelMap,
    objects: Sequence[int],
    tolerance: float = TOLERANCE,
) -> tuple[np.ndarray, np.ndarray]:
    """J and F [N] of the objects whose labels both maps [H, W] use."""
    ours, theirs = _label_maps(prediction, truth)
    regions = np.diagonal(region_table(ours, theirs, objects, objects)).copy()
    radius = boundary_radius(theirs.size, tolerance)
    pairs = zip(ours.outlines(objects), theirs.outlines(objects), strict=True)
    return regions, np.array([_boundary_measure(one, other, radius) for one, other in pairs])


def pair_scores(
    prediction: np.ndarray | LabelMap,
    truth: np.ndarray | LabelMap,
    predicted: Sequence[int],
    true: Sequence[int],
    tolerance: float = TOLERANCE,
) -> tuple[np.ndarray, np.ndarray]:
    """J and F [P, T] of every predicted with every true object of two label maps [H, W]."""
    ours, theirs = _label_maps(prediction, truth)
    regions = region_table(ours, theirs, predicted, true)
    radius = boundary_radius(theirs.size, tolerance)
    return regions, _boundary_table(ours.outlines(predicted), theirs.outlines(true), radius)


def _label_maps(*maps: np.ndarray | LabelMap) -> tuple[LabelMap, LabelMap]:
    ours, theirs = (one if isinstance(one, LabelMap) else LabelMap(one) for one in maps)
    if ours.size != theirs.size:
        raise ValueError(f"The prediction has the size {ours.size}, the ground truth {theirs.size}.")
    return ours, theirs


def region_table(prediction: LabelMap, truth: LabelMap, predicted: Sequence[int], true: Sequence[int]) -> np.ndarray:
    """J [P, T] of every predicted with every true label; 1 where neither occurs."""
    common, ours, theirs = overlaps(prediction, truth, predicted, true)
    union = ours[:, None] + theirs[None] - common
    return np.where(union > 0, common / np.maximum(union, 1), 1.0)


def _boundary_measure(ours: Points, theirs: Points, radius: int) -> float:
    count_ours, count_theirs = len(ours.rows), len(theirs.rows)
    if not count_ours or not count_theirs:
        return float(count_ours == count_theirs)
    precision = np.count_nonzero(within(ours, theirs, radius)) / count_ours
    recall = np.count_nonzero(within(theirs, ours, radius)) / count_theirs
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def _boundary_table(ours: list[Points], theirs: list[Points], radius: int) -> np.ndarray:
    """F [P, T] of all pairs of boundaries: each boundary is laid once over all those of the other side."""
    counts_ours, counts_theirs = (np.array([len(points.rows) for points in side], float) for side in (ours, theirs))
    right = np.array([_shares(ours, other, radius) for other in theirs]).reshape(len(theirs), len(ours)).T
    found = np.array([_shares(theirs, one, radius) for one in ours]).reshape(len(ours), len(theirs))
    precision = right / np.maximum(counts_ours, 1)[:, None]
    recall = found / np.maximum(counts_theirs, 1)[None]
    total = precision + recall
    measure = np.where(total > 0, 2 * precision * recall / np.where(total > 0, total, 1), 0.0)
    return np.where((counts_ours[:, None] == 0) & (counts_theirs[None] == 0), 1.0, measure)


def _shares(parts: list[Points], other: Points, radius: int) -> np.ndarray:
    """How many points of each part [P] lie near ``other``."""
    counts = [len(points.rows) for points in parts]
    everything = Points.of(
        np.concatenate([points.rows for points in parts] or [[]]),
        np.concatenate([points.columns for points in parts] or [[]]),
    )
    near = within(everything, other, radius) if len(everything.rows) else np.zeros(0, bool)
    return np.bincount(np.repeat(np.arange(len(parts)), counts), weights=near, minlength=len(parts))

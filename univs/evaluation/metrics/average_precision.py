"""Average precision of scored, greedily matched detections (COCO's definition), for tracks and for pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

IOU_THRESHOLDS = np.linspace(0.5, 0.95, 10)
RECALLS = np.linspace(0, 1, 101)
ABSENT = -1.0
"""Value of a figure that no ground truth has a say in."""


def greedy_matches(
    ious: np.ndarray, truth_ignored: np.ndarray, crowd: np.ndarray, thresholds: np.ndarray, slack: float = 0.0
) -> np.ndarray:
    """Match detections, best first, with the true object of the largest IoU that is left.

    Of equal IoUs the later object wins; ignored objects are taken only where no other fits; crowds by any number.

    Args:
        ious: [D, G], detections in descending order of score.
        truth_ignored: [A, G] bool, which objects are ignored in each of A settings.
        crowd: [G] bool.
        thresholds: [T]; an IoU of ``slack`` less is enough.

    Returns:
        Index of the matched object or -1, [A, T, D].
    """
    detections, truths = ious.shape
    settings, steps = len(truth_ignored), len(thresholds)
    matches = np.full((settings, steps, detections), -1, np.int32)
    least = np.minimum(thresholds, 1 - 1e-10)
    taken = np.zeros((truths, settings, steps), bool)
    promising = ious >= least.min() - slack
    for detection in np.flatnonzero(promising.any(1)):
        candidates = np.flatnonzero(promising[detection])
        if len(candidates) == 1:
            truth = candidates[0]
            fits = ious[detection, truth] >= least - slack
            fits = fits & ~taken[truth] if not crowd[truth] else np.broadcast_to(fits, (settings, steps))
            taken[truth] |= fits
            matches[..., detection][fits] = truth
            continue
        best = np.broadcast_to(least, (settings, steps))
        match = np.full((settings, steps), -1, np.int32)
        for ignored in (False, True):
            open_for_all = match < 0
            for truth in candidates:
                here = truth_ignored[:, truth] == ignored
                if not here.any():
                    continue
                iou = ious[detection, truth]
                fits = here[:, None] & open_for_all & (iou >= best - slack)
                if not crowd[truth]:
                    fits &= ~taken[truth]
                match = np.where(fits, np.int32(truth), match)
                best = np.where(fits, iou, best)
        for truth in candidates:
            taken[truth] |= match == truth
        matches[..., detection] = match
    return matches


@dataclass(frozen=True)
class PrecisionRecall:
    """Precision [..., T, 101] at RECALLS and final recall [..., T]; ABSENT where there is nothing to be found."""

    precision: np.ndarray
    recall: np.ndarray


def precision_recall(
    scores: np.ndarray, right: np.ndarray, wrong: np.ndarray, positives: np.ndarray
) -> PrecisionRecall:
    """Precision and recall of detections.

    Args:
        scores: [N]; equal ones keep their order.
        right: [A, T, N] bool, whether a detection found an object; wrong: that it is none. Neither: it is ignored.
        positives: [A], number of objects.
    """
    order = np.argsort(-scores, kind="stable")
    found = np.cumsum(right[..., order], -1, dtype=np.float64)
    false = np.cumsum(wrong[..., order], -1, dtype=np.float64)
    precision = np.zeros((*right.shape[:2], len(RECALLS)))
    recall = np.zeros(right.shape[:2])
    if len(scores):
        share = found / np.maximum(positives, 1)[:, None, None]
        recall = share[..., -1].copy()
        exact = found / (found + false + np.spacing(1))
        envelope = np.maximum.accumulate(exact[..., ::-1], -1)[..., ::-1]
        for setting, step in np.ndindex(recall.shape):
            places = np.searchsorted(share[setting, step], RECALLS)
            reached = places < len(scores)
            precision[setting, step, reached] = envelope[setting, step, places[reached]]
    nothing = positives == 0
    precision[nothing], recall[nothing] = ABSENT, ABSENT
    return PrecisionRecall(precision, recall)


def mean_of_known(values: np.ndarray | Sequence[float]) -> float:
    """Mean of the values that are not ABSENT; ABSENT if there are none."""
    values = np.asarray(values, np.float64)
    known = values[values > ABSENT]
    return float(known.mean()) if known.size else ABSENT

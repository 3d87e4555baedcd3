"""Track mAP (Dave et al., TAO, ECCV 2020): average precision of tracks by their IoU over a sequence, for one class."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from univs.evaluation.metrics.average_precision import (
    IOU_THRESHOLDS,
    greedy_matches,
    mean_of_known,
    precision_recall,
)

EPSILON = np.finfo(float).eps
AREAS = {"area_s": (0, 32**2), "area_m": (32**2, 96**2), "area_l": (96**2, 1e5**2)}
"""Ranges of a track's mean area in pixels, both ends included."""

TIMES = {"time_s": (0, 3), "time_m": (3, 10), "time_l": (10, 1e5)}
"""Ranges of a track's number of frames, both ends included."""

SETTINGS = ("all", *AREAS, *TIMES)


@dataclass(frozen=True)
class TrackSizes:
    """Mean areas in pixels and numbers of frames of tracks, [N] each."""

    areas: np.ndarray
    lengths: np.ndarray

    def ignored(self) -> np.ndarray:
        """Which tracks are outside the range of each of the SETTINGS, [7, N] bool."""
        rows = [np.zeros(len(self.areas), bool)]
        for values, ranges in ((self.areas, AREAS), (self.lengths, TIMES)):
            rows += [(values < low - EPSILON) | (values > high + EPSILON) for low, high in ranges.values()]
        return np.stack(rows)


class TrackMap:
    """Track AP and AR of one class, overall and by size and length of the tracks."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self._sequences: dict[Any, dict[str, np.ndarray]] = {}

    def update(self, sequence: int | str, part: Mapping[str, np.ndarray]) -> None:
        """Add a sequence, as ``matched_tracks`` gives it."""
        self._sequences[sequence] = dict(part)

    @property
    def state(self) -> dict[Any, dict[str, np.ndarray]]:
        """The matches of each sequence."""
        return dict(self._sequences)

    def merge(self, state: Mapping[Any, Mapping[str, np.ndarray]]) -> None:
        """Add the sequences of another metric."""
        self._sequences |= {name: dict(part) for name, part in state.items()}

    def compute(self) -> dict[str, np.ndarray]:
        """``AP_all``, ``AR_all`` and so on for each of the SETTINGS, [10] over the thresholds; -1: no ground truth.

        Sequences count in the order of their names, which decides between equal scores.
        """
        return joined(self._sequences[name] for name in sorted(self._sequences))


def matched_tracks(
    ious: np.ndarray, scores: np.ndarray, truth: TrackSizes, prediction: TrackSizes, exhaustive: bool
) -> dict[str, np.ndarray]:
    """Matches of the tracks of a class in a sequence.

    Args:
        ious: [D, G] track IoU.
        scores: [D]; equal ones keep their order.
        exhaustive: whether every object of the class is annotated; if not, tracks that match nothing are ignored.

    Returns:
        ``scores`` [D], ``right`` and ``wrong`` [7, 10, D] bool, ``positives`` [7].
    """
    order = np.argsort(-scores, kind="stable")
    truth_ignored = truth.ignored()
    crowd = np.zeros(len(truth.areas), bool)
    matches = greedy_matches(ious[order], truth_ignored, crowd, IOU_THRESHOLDS, slack=EPSILON)
    unmatched = matches < 0
    outside = prediction.ignored()[:, order] if exhaustive else np.ones((len(SETTINGS), len(order)), bool)
    ignored = unmatched & outside[:, None]
    if len(truth.areas):
        ignored |= ~unmatched & truth_ignored[np.arange(len(SETTINGS))[:, None, None], matches]
    return {
        "scores": scores[order],
        "right": ~unmatched & ~ignored,
        "wrong": unmatched & ~ignored,
        "positives": (~truth_ignored).sum(1),
    }


def joined(parts: Iterable[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """AP and AR [10] of each of the SETTINGS over sequences in their order."""
    parts = list(parts)
    none = np.zeros((len(SETTINGS), len(IOU_THRESHOLDS), 0), bool)
    right, wrong = (np.concatenate([none, *(part[name] for part in parts)], -1) for name in ("right", "wrong"))
    scores = np.concatenate([np.zeros(0), *(part["scores"] for part in parts)])
    positives = np.sum([np.zeros(len(SETTINGS), np.int64), *(part["positives"] for part in parts)], 0)
    curves = precision_recall(scores, right, wrong, positives)
    figures = {}
    for index, name in enumerate(SETTINGS):
        figures[f"AP_{name}"] = curves.precision[index].mean(-1)
        figures[f"AR_{name}"] = curves.recall[index]
    return figures


def averaged(parts: Sequence[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Means over classes, of each threshold over those with ground truth."""
    return {
        name: np.array([mean_of_known(values) for values in np.stack([part[name] for part in parts]).T])
        for name in parts[0]
    }

"""Interactive segmentation: quality over time from a report of all interactions (Caelles et al., arXiv:1803.00557)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from univs.evaluation.metrics.records import Records
from univs.evaluation.metrics.region_boundary import object_scores

COLUMNS = ("jaccard", "contour", "j_and_f", "timing")
TIMING = COLUMNS.index("timing")
MEASURES = {"J_AND_F": "j_and_f", "J": "jaccard", "F": "contour"}
VOID = 255


class Limits(NamedTuple):
    """What a session was allowed.

    interactions: how many per sample; None: as many as the report has. seconds_per_object: after which a sample ends;
    None: unlimited. threshold: seconds at which the quality is read from the curve.
    """

    interactions: int | None = None
    seconds_per_object: float | None = None
    threshold: float = 60


class Sample(NamedTuple):
    """How often a sequence is segmented, from one set of scribbles each, and how many objects it has."""

    scribbles: int
    objects: int


class InteractiveCurve(Records[dict[str, Any]]):
    """Area under the curve of quality over time, and the quality at a time.

    samples: the sequences that a session goes through. limits: what it was allowed.
    """

    def __init__(self, samples: Mapping[str, Sample], limits: Limits) -> None:
        super().__init__()
        self.samples, self.limits = dict(samples), limits

    def update(self, sequence: str, keys: np.ndarray, values: np.ndarray) -> None:
        """Add a sequence; each name counts once.

        Args:
            sequence: its name.
            keys: scribbles, interaction and object (all from 1) of each row of the report, [K, 3] integers.
            values: ``COLUMNS`` of each row (one frame each), [K, 4]; they are averaged over frames.
        """
        keys = np.asarray(keys, np.int64).reshape(-1, 3)
        values = np.asarray(values, float).reshape(-1, len(COLUMNS))
        groups, place = np.unique(keys, axis=0, return_inverse=True)
        sums = np.zeros((len(groups), len(COLUMNS)))
        np.add.at(sums, place.reshape(-1), values)
        counts = np.bincount(place.reshape(-1), minlength=len(groups))
        self._add(sequence, {"keys": groups, "means": sums / counts[:, None]})

    def compute(self) -> dict[str, Any]:
        """auc, metric_at_threshold and curve by measure, as the official program gives them.

        An interaction that the report lacks has the quality of the one before (0 without any) and took no time. The
        curve begins at (0, 0) and ends at the time limit of all interactions with its last quality, also where that
        goes back in time.
        """
        time, quality = self._curve()
        time = np.append(time, self._time_limit())
        figures = {}
        for measure, column in MEASURES.items():
            heights = np.append(quality[:, COLUMNS.index(column)], quality[-1, COLUMNS.index(column)])
            figures[measure] = {
                "auc": _area(time, heights),
                "metric_at_threshold": {
                    "threshold": self.limits.threshold,
                    measure: float(np.interp(self.limits.threshold, time, heights)),
                },
                "curve": {"time": time.tolist(), measure: heights.tolist()},
            }
        return figures

    def areas_forward_in_time(self) -> dict[str, float]:
        """AUC by measure of a curve that ends where it is where the time limit is over."""
        time, quality = self._curve()
        closing = self._time_limit()
        time = np.append(time, max(time[-1], closing))
        columns = {measure: quality[:, COLUMNS.index(column)] for measure, column in MEASURES.items()}
        return {measure: _area(time, np.append(heights, heights[-1])) for measure, heights in columns.items()}

    def _curve(self) -> tuple[np.ndarray, np.ndarray]:
        """Time [I + 1] and quality [I + 1, 4] after every interaction, from (0, 0) on."""
        count = self._interactions()
        rows = [self._reconstructed(name, sample, count) for name, sample in sorted(self.samples.items())]
        quality = np.concatenate([row.reshape(count, -1, len(COLUMNS)) for row in rows], axis=1).mean(axis=1)
        seconds = np.concatenate([row[..., TIMING].mean(axis=2) for row in rows], axis=1).mean(axis=1)
        return np.append(0, np.cumsum(seconds)), np.concatenate([np.zeros((1, len(COLUMNS))), quality])

    def _interactions(self) -> int:
        present = [int(own["keys"][:, 1].max()) for _, own in self._ordered() if len(own["keys"])]
        return self.limits.interactions or max(present, default=1)

    def _time_limit(self) -> float:
        if self.limits.seconds_per_object:
            return self.limits.seconds_per_object * float(np.mean([sample.objects for sample in self.samples.values()]))
        longest = [float(own["means"][:, TIMING].max()) for _, own in self._ordered() if len(own["means"])]
        return self._interactions() * max(longest) if longest else math.nan

    def _reconstructed(self, name: str, sample: Sample, interactions: int) -> np.ndarray:
        """Values [I, S, N, 4] of a sequence; an interaction that lacks any of its objects repeats the one before."""
        own = self._records.get(name, {"keys": np.zeros((0, 3), int), "means": np.zeros((0, len(COLUMNS)))})
        table = np.full((interactions, sample.scribbles, sample.objects, len(COLUMNS)), math.nan)
        for (scribble, interaction, number), values in zip(own["keys"], own["means"], strict=True):
            if interaction <= interactions and scribble <= sample.scribbles and number <= sample.objects:
                table[interaction - 1, scribble - 1, number - 1] = values
        for scribble in range(sample.scribbles):
            before = np.zeros((sample.objects, len(COLUMNS)))
            for interaction in range(interactions):
                if np.isnan(table[interaction, scribble]).any():
                    before[:, TIMING] = 0
                    table[interaction, scribble] = before
                before = table[interaction, scribble].copy()
        return table


def _area(time: np.ndarray, heights: np.ndarray) -> float:
    """Area under a line through points by the trapezoid rule, over the largest time; 0 if no time passed."""
    longest = float(time.max())
    return float(np.sum(np.diff(time) * (heights[1:] + heights[:-1]) / 2)) / longest if longest else 0.0


def frame_scores(
    prediction: np.ndarray, truth: np.ndarray, objects: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """J and F [T, N] of the objects in label maps [T, H, W].

    Args:
        prediction: label maps.
        truth: label maps.
        objects: their number, ids from 1; without it the ids of the ground truth but 0 and 255.

    Raises:
        ValueError: no object, or different shapes.
    """
    present: Sequence[int] = [int(number) for number in np.unique(truth) if 0 < number < VOID]
    present = present if objects is None else range(1, objects + 1)
    if not present or prediction.shape != truth.shape:
        raise ValueError(
            f"{len(present)} objects in maps of {prediction.shape} and {truth.shape}; expected some in like maps."
        )
    scores = [object_scores(ours, theirs, present) for ours, theirs in zip(prediction, truth, strict=True)]
    return np.array([regions for regions, _ in scores]), np.array([boundaries for _, boundaries in scores])

"""J and F of objects over the frames of a video: mean, recall and decay (Perazzi et al., CVPR 2016, section 4)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from univs.evaluation.metrics.records import Records

MEASURES = ("J", "F")
STATISTICS = ("Mean", "Recall", "Decay")
_QUARTERS = 4


def mean(values: Sequence[float] | np.ndarray) -> float:
    """Plain mean, NaN of nothing."""
    return float(np.mean(values)) if len(values) else float("nan")


def recall(series: np.ndarray) -> float:
    """Share of the frames [T] with more than 0.5; NaN of nothing."""
    return mean(np.asarray(series) > 0.5)


def decay(series: np.ndarray, wrapped: bool = True) -> float:
    """Mean over the first quarter of the frames [T] minus the mean over the last.

    Neighbouring quarters share a frame. ``wrapped``: the official program keeps the borders in 8 bits, so that in
    series of more than 256 frames they begin anew at 0 and the wrong frames, or none (NaN), are compared.
    """
    borders = np.round(np.linspace(1, len(series), _QUARTERS + 1) + 1e-10).astype(np.int64) - 1
    if wrapped:
        borders %= 256
    first, last = series[borders[0] : borders[1] + 1], series[borders[-2] : borders[-1] + 1]
    return mean(first) - mean(last)


class ObjectSeries(Records[dict[str, Any]]):
    """Statistics of every object of every sequence, and their plain means over all objects of all sequences."""

    def update(self, sequence: str, regions: np.ndarray, boundaries: np.ndarray, names: Sequence[str] = ()) -> None:
        """Add a sequence.

        Args:
            sequence: its name; each counts once.
            regions: J [N, T] of N objects in T frames.
            boundaries: F [N, T].
            names: of the objects; their numbers, from 1, if not given.
        """
        names = list(names) or [str(number) for number in range(1, len(regions) + 1)]
        series = {"J": np.asarray(regions, float), "F": np.asarray(boundaries, float)}
        if not len(names) == len(series["J"]) == len(series["F"]):
            raise ValueError(f"{sequence}: {len(names)} names for {len(regions)} and {len(boundaries)} objects.")
        self._add(sequence, {"names": names, **series})

    def compute(self) -> dict[str, Any]:
        """The figures as the official program prints them.

        global: means over all objects; per_object: statistics by SEQUENCE_OBJECT; per_frame: J and F [N, T] by
        sequence.
        """
        objects = self._statistics(wrapped=True)
        return {
            "global": self._means(objects),
            "per_object": objects,
            "per_frame": {
                sequence: {measure: record[measure].tolist() for measure in MEASURES}
                for sequence, record in self._ordered()
            },
        }

    def unwrapped_decay(self) -> dict[str, Any]:
        """J-Decay and F-Decay over the frames that were meant, however long the series: global and per object."""
        decays = [f"{measure}-Decay" for measure in MEASURES]
        objects = {
            name: {key: values[key] for key in decays} for name, values in self._statistics(wrapped=False).items()
        }
        return {
            "global": {key: mean([values[key] for values in objects.values()]) for key in decays},
            "per_object": objects,
        }

    def _statistics(self, wrapped: bool) -> dict[str, dict[str, float]]:
        return {
            f"{sequence}_{name}": {
                f"{measure}-{statistic}": value
                for measure in MEASURES
                for statistic, value in zip(STATISTICS, _statistics_of(record[measure][place], wrapped), strict=True)
            }
            for sequence, record in self._ordered()
            for place, name in enumerate(record["names"])
        }

    def _means(self, objects: dict[str, dict[str, float]]) -> dict[str, float]:
        means = {
            f"{measure}-{statistic}": mean([values[f"{measure}-{statistic}"] for values in objects.values()])
            for measure in MEASURES
            for statistic in STATISTICS
        }
        return {"J&F-Mean": (means["J-Mean"] + means["F-Mean"]) / 2, **means}


def _statistics_of(series: np.ndarray, wrapped: bool) -> tuple[float, float, float]:
    return mean(series), recall(series), decay(series, wrapped)

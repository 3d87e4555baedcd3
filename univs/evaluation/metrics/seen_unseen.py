"""J and F of objects in groups (seen and unseen categories or videos), each group weighing the same."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from univs.evaluation.metrics.object_series import MEASURES, decay, mean, recall
from univs.evaluation.metrics.records import Records

GROUPS = ("seen", "unseen")


class GroupedScores(Records[dict[str, Any]]):
    """G = mean of J and F over seen and over unseen objects, four values."""

    def update(self, name: str, group: str, regions: Sequence[float], boundaries: Sequence[float]) -> None:
        """Add an object (each name counts once) with its J and F [T] in the scored frames; without any it is left out.

        Raises:
            ValueError: an unknown group.
        """
        if group not in GROUPS:
            raise ValueError(f"'{group}' is no group; there are {', '.join(GROUPS)}.")
        self._add(name, {"group": group, "J": [float(j) for j in regions], "F": [float(f) for f in boundaries]})

    def compute(self) -> dict[str, float]:
        """J_seen, J_unseen, F_seen, F_unseen and G; NaN where a group has no object."""
        scores = {
            f"{measure}_{group}": mean(
                [mean(own[measure]) for _, own in self._ordered() if own["group"] == group and own["J"]]
            )
            for measure in MEASURES
            for group in GROUPS
        }
        return {**scores, "G": mean(list(scores.values()))}


def variability(regions: np.ndarray, boundaries: np.ndarray, digits: int | None = 4) -> float:
    """V = standard deviation of (J + F) / 2 over the frames [T]; the official program first rounds the variance."""
    quality = (np.asarray(regions, float) + np.asarray(boundaries, float)) / 2
    if not len(quality):
        return math.nan
    variance = float(np.mean((quality - np.mean(quality)) ** 2))
    return math.sqrt(variance if digits is None else round(variance, digits))


class LongTermSeries(Records[dict[str, Any]]):
    """J, F and V of objects in long videos, over all, over seen and over unseen videos (Hong et al., ICCV 2023).

    unseen: names of the unseen sequences.
    """

    def __init__(self, unseen: Collection[str]) -> None:
        super().__init__()
        self.unseen = frozenset(unseen)

    def update(self, sequence: str, regions: Sequence[np.ndarray], boundaries: Sequence[np.ndarray]) -> None:
        """Add a sequence (each name counts once): J and F of each object, [T] in its own scored frames."""
        series = {"J": [np.asarray(one, float) for one in regions], "F": [np.asarray(one, float) for one in boundaries]}
        self._add(sequence, series)

    def compute(self) -> dict[str, Any]:
        """Figures over all, seen and unseen videos and the table, as the official program gives them.

        Objects are named SEQUENCE_PLACE. As there, decay compares a series with itself (0, or NaN without frames), and
        the V-Mean of "all" is that of the last object.
        """
        groups = {
            "all": dict(self._ordered()),
            "seen": {name: own for name, own in self._ordered() if name not in self.unseen},
            "unseen": {name: own for name, own in self._ordered() if name in self.unseen},
        }
        figures = {group: _group_figures(records) for group, records in groups.items()}
        values = list(figures["all"]["V_per_object"].values())
        figures["all"]["V-Mean"] = values[-1] if values else math.nan
        return {**figures, "table": _table(figures)}

    def corrected(self) -> dict[str, float]:
        """V-Mean over all objects, and the decay of J and F over the frames of each object's series."""
        objects = [pair for _, own in self._ordered() for pair in zip(own["J"], own["F"], strict=True)]
        decays = (mean([decay(pair[place], wrapped=False) for pair in objects]) for place in (0, 1))
        return {
            "all_V-Mean_over_objects": mean([variability(*pair) for pair in objects]),
            **{f"all_{measure}-Decay_over_frames": value for measure, value in zip(MEASURES, decays, strict=True)},
        }


def _group_figures(records: dict[str, Any]) -> dict[str, Any]:
    objects = {
        f"{sequence}_{place}": {"J": regions, "F": boundaries}
        for sequence, own in records.items()
        for place, (regions, boundaries) in enumerate(zip(own["J"], own["F"], strict=True), 1)
    }
    figures: dict[str, Any] = {}
    for measure in MEASURES:
        series = [own[measure] for own in objects.values()]
        figures[f"{measure}-Mean"] = mean([mean(one) for one in series])
        figures[f"{measure}-Recall"] = mean([recall(one) for one in series])
        figures[f"{measure}-Decay"] = mean([0.0 if len(one) else math.nan for one in series])
        figures[f"{measure}_per_object"] = {name: mean(own[measure]) for name, own in objects.items()}
    figures["V_per_object"] = {name: variability(own["J"], own["F"]) for name, own in objects.items()}
    figures["V-Mean"] = mean(list(figures["V_per_object"].values()))
    return figures


def _table(figures: dict[str, Any]) -> dict[str, float]:
    own = {
        f"{measure}-{group}-Mean": figures[group][f"{measure}-Mean"] for group in GROUPS for measure in (*MEASURES, "V")
    }
    both = {
        f"{measure}-Mean": mean([own[f"{measure}-{group}-Mean"] for group in GROUPS]) for measure in (*MEASURES, "V")
    }
    quality = mean([own[f"{measure}-{group}-Mean"] for group in GROUPS for measure in MEASURES])
    return {"J&F-Mean": quality, **both, **own}

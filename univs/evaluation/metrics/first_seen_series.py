"""J and F of objects that may come late, each from the frame on in which it is first seen on either side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from univs.evaluation.metrics.label_outlines import LabelMap
from univs.evaluation.metrics.object_series import mean
from univs.evaluation.metrics.records import Records
from univs.evaluation.metrics.region_boundary import object_scores

PERCENT = 100


class FirstSeenSeries(Records[dict[str, Any]]):
    """Means over the objects of all sequences that ground truth shows in a scored frame.

    An object's series begins at the first scored frame in which ground truth or prediction holds its id, so an early
    false prediction adds zeros and frames before it is seen do not count.

    skip_ends: neither the first nor the last frame is scored.
    """

    def __init__(self, skip_ends: bool = True) -> None:
        super().__init__()
        self.skip_ends = skip_ends

    def update(self, sequence: str, objects: Sequence[int], tables: dict[str, np.ndarray]) -> None:
        """Add a sequence.

        Args:
            sequence: its name; each counts once.
            objects: the ids [N] seen anywhere.
            tables: of ``frame_tables``.
        """
        self._add(sequence, {"objects": [int(number) for number in objects], **tables})

    def compute(self) -> dict[str, Any]:
        """J, F, J&F in percent, and per_object by sequence and id."""
        objects = {sequence: _means(record, self.skip_ends) for sequence, record in self._ordered()}
        every = [values for own in objects.values() for values in own.values()]
        regions, boundaries = (mean([values[measure] for values in every]) for measure in "JF")
        return {"J": regions, "F": boundaries, "J&F": (regions + boundaries) / 2, "per_object": objects}


def frame_tables(frames: Sequence[tuple[np.ndarray, np.ndarray]]) -> tuple[list[int], dict[str, np.ndarray]]:
    """Objects [N] and, as [N, T], their J and F in every frame and whether ground truth and prediction hold their ids.

    ``frames`` gives the predicted and the true label map [H, W] of each frame and may be an iterator. J and F are 0
    before an object is first seen.
    """
    known: list[int] = []
    columns: dict[str, list[dict[int, float]]] = {name: [] for name in ("J", "F", "in_truth", "in_prediction")}
    for prediction, truth in frames:
        ours, theirs = LabelMap(prediction), LabelMap(truth)
        known += [number for number in {*ours.present, *theirs.present} if number and number not in known]
        scores = object_scores(ours, theirs, known)
        for name, values in zip("JF", scores, strict=True):
            columns[name].append(dict(zip(known, values.tolist(), strict=True)))
        for name, side in (("in_truth", theirs), ("in_prediction", ours)):
            columns[name].append(dict.fromkeys(side.present, 1.0))
    objects = sorted(known)
    return objects, {
        name: np.array([[column.get(number, 0.0) for column in own] for number in objects]).reshape(
            len(objects), len(own)
        )
        for name, own in columns.items()
    }


def _means(record: dict[str, Any], skip_ends: bool) -> dict[str, dict[str, float]]:
    frames = slice(1, -1) if skip_ends else slice(None)
    found = {}
    for place, number in enumerate(record["objects"]):
        in_truth = np.asarray(record["in_truth"][place][frames], bool)
        if in_truth.any():
            seen = in_truth | np.asarray(record["in_prediction"][place][frames], bool)
            series = {measure: record[measure][place][frames][int(np.argmax(seen)) :] for measure in "JF"}
            found[str(number)] = {measure: PERCENT * mean(values) for measure, values in series.items()}
    return found

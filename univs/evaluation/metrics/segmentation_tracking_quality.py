"""Segmentation and tracking quality STQ = sqrt(AQ x SQ) (Weber et al., STEP, NeurIPS 2021)."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np

from univs.evaluation.metrics.pixel_counts import PairCounts, counted_pairs

SMALLEST = 1e-15


@dataclass(frozen=True)
class LabelFormat:
    """How a label holds a class and an instance: class * 2^bits + instance.

    ``offset`` only tells a true from a predicted label in the official program; a too small one is an error there.
    """

    num_classes: int
    things: Collection[int]
    ignore_label: int = 255
    bits: int = 16
    offset: int = 1 << 24

    def __post_init__(self) -> None:
        if self.offset < self.num_classes << self.bits:
            raise ValueError(
                f"an offset of {self.offset} is too small for {self.num_classes} classes with {self.bits} bits of "
                f"instances; at least {self.num_classes << self.bits} is needed"
            )

    @property
    def rows(self) -> int:
        """Classes of the confusion matrix: an ignore label outside the classes has a row of its own."""
        return self.num_classes + (self.ignore_label >= self.num_classes)

    def classes(self, labels: np.ndarray) -> np.ndarray:
        """Rows of the confusion matrix that labels belong to.

        Raises:
            ValueError: a class that is neither one of the classes nor the ignore label.
        """
        found = labels >> self.bits
        if self.ignore_label > self.num_classes:
            found = np.where(found == self.ignore_label, self.num_classes, found)
        wrong = np.flatnonzero((found < 0) | (found >= self.rows))
        if len(wrong):
            raise ValueError(
                f"class {int(found[wrong[0]])} is outside 0 to {self.num_classes - 1} and is not the ignore label "
                f"{self.ignore_label}"
            )
        return found


class SegmentationTrackingQuality:
    """STQ, AQ (association) and SQ (mean IoU of classes) over videos."""

    def __init__(self, labels: LabelFormat) -> None:
        self.labels = labels
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self._videos: dict[Any, dict[str, Any]] = {}

    def update(self, video: int | str, pairs: PairCounts, frames: int = 1) -> None:
        """Add frames of a video: counts of (true label, predicted label) over them.

        Raises:
            ValueError: a class that is neither one of the classes nor the ignore label.
        """
        part = {"first": pairs.first, "second": pairs.second, "counts": pairs.counts, "frames": frames}
        self.labels.classes(pairs.first), self.labels.classes(pairs.second)
        self.merge({video: part})

    @property
    def state(self) -> dict[Any, dict[str, Any]]:
        """Per video: counts of label pairs and the number of frames."""
        return {video: dict(part) for video, part in self._videos.items()}

    def merge(self, state: dict[Any, dict[str, Any]]) -> None:
        """Add the ``state`` of another metric: its videos, or more frames of the same ones."""
        for video, part in state.items():
            known = self._videos.get(video)
            if known is not None:
                columns = [np.concatenate((known[name], part[name])) for name in ("first", "second", "counts")]
                pairs = counted_pairs(*columns)
                part = {
                    "first": pairs.first,
                    "second": pairs.second,
                    "counts": pairs.counts,
                    "frames": known["frames"] + part["frames"],
                }
            self._videos[video] = part

    def compute(self) -> dict[str, Any]:
        """STQ, AQ and IoU over all videos and, as lists, of each; NaN where no class occurs."""
        confusions, associations, tubes = [], [], []
        for part in self._videos.values():
            confusions.append(self._confusion(part))
            association, number = self._association(part)
            associations.append(association)
            tubes.append(number)
        aq = sum(associations) / max(sum(tubes), SMALLEST)
        iou = self._mean_iou(sum(confusions, np.zeros((self.labels.rows,) * 2, np.int64)))
        aq_per = [value / max(number, SMALLEST) for value, number in zip(associations, tubes, strict=True)]
        iou_per = [self._mean_iou(confusion) for confusion in confusions]
        return {
            "STQ": math.sqrt(aq * iou),
            "AQ": aq,
            "IoU": iou,
            "STQ_per_seq": [math.sqrt(a * b) for a, b in zip(aq_per, iou_per, strict=True)],
            "AQ_per_seq": aq_per,
            "IoU_per_seq": iou_per,
            "ID_per_seq": list(self._videos),
            "Length_per_seq": [part["frames"] for part in self._videos.values()],
        }

    def _confusion(self, part: dict[str, Any]) -> np.ndarray:
        rows = self.labels.rows
        index = self.labels.classes(part["first"]) * rows + self.labels.classes(part["second"])
        return np.bincount(index, part["counts"], rows * rows).astype(np.int64).reshape(rows, rows)

    def _mean_iou(self, confusion: np.ndarray) -> float:
        """Mean over classes with a union. The ignored row is dropped; predicting "ignored" elsewhere is a miss."""
        confusion = confusion.copy()
        confusion[min(self.labels.ignore_label, self.labels.num_classes)] = 0
        right = confusion.diagonal()
        union = confusion.sum(0) + confusion.sum(1) - right
        occurring = union > 0
        return float((right[occurring] / union[occurring]).sum() / occurring.sum()) if occurring.any() else math.nan

    def _association(self, part: dict[str, Any]) -> tuple[float, int]:
        """Sum over true tubes g of 1/|g| sum over predicted p of TPA^2 / |p or g|, and the number of true tubes."""
        first, second, counts = part["first"], part["second"], part["counts"]
        things = np.asarray(sorted(self.labels.things), np.int64)
        crowd = np.isin(first >> self.labels.bits, things) & ((first & ((1 << self.labels.bits) - 1)) == 0)
        of_truth = np.isin(first >> self.labels.bits, things) & ~crowd
        of_prediction = np.isin(second >> self.labels.bits, things) & ~crowd
        truth = _areas(first[of_truth], counts[of_truth])
        prediction = _areas(second[of_prediction], counts[of_prediction])
        both = of_truth & of_prediction
        pairs = PairCounts(first[both], second[both], counts[both])
        true_area = truth[1][np.searchsorted(truth[0], pairs.first)]
        predicted_area = prediction[1][np.searchsorted(prediction[0], pairs.second)]
        share = pairs.counts * (pairs.counts / (predicted_area + true_area - pairs.counts))
        return float((share / true_area).sum()), len(truth[0])


def _areas(labels: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return PairCounts(labels, np.zeros_like(labels), counts).total("first")

"""Semantic segmentation of videos: mean IoU over all frames, and video consistency mVC (Miao et al., CVPR 2021)."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from univs.evaluation.metrics.pixel_counts import label_pair_table

VOID_LABELS = (0, 255)
"""Labels of the ground truth that are no class: "other" and "not annotated"."""


class SemanticQuality:
    """mIoU, frequency-weighted IoU and accuracies from one confusion matrix over all frames.

    Ground truth 1..C stands for the classes 0..C-1 that predictions hold; 0 and 255 are ignored.

    The official program does not look at the range of predictions: a prediction of C or more lands in the cell
    C * truth + prediction, which is another class's. That is kept; ``checked`` counts it as a miss of its own class.
    """

    def __init__(self, classes: int) -> None:
        self.classes = classes
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self._table = np.zeros((self.classes, 256), np.int64)

    def update(self, prediction: np.ndarray, truth: np.ndarray) -> None:
        """Add a frame: [H, W] uint8 both.

        Raises:
            ValueError: different sizes, or a prediction so far out of range that no cell is left for it.
        """
        self.merge(label_table(prediction, truth, self.classes))

    @property
    def state(self) -> np.ndarray:
        """Pixels [classes, 256] int64 by true class and predicted value."""
        return self._table.copy()

    def merge(self, state: np.ndarray) -> None:
        """Add the ``state`` of another metric."""
        self._table += state

    def confusion(self, checked: bool = False) -> np.ndarray:
        """Confusion matrix [classes, classes + 1] int64, rows the truth; the last column: predictions out of range."""
        classes = self.classes
        matrix = np.zeros((classes, classes + 1), np.int64)
        matrix[:, :classes] = self._table[:, :classes]
        if checked:
            matrix[:, classes] = self._table[:, classes:].sum(1)
            return matrix
        truth, value = np.nonzero(self._table[:, classes:])
        cells = truth * classes + value + classes
        np.add.at(matrix, (cells // classes, cells % classes), self._table[truth, value + classes])
        return matrix

    def compute(self, checked: bool = False) -> dict[str, Any]:
        """Acc, Acc_class, mIoU, fwIoU, per_class_IoU, classes_in_mean and the cells of the confusion matrix."""
        matrix = self.confusion(checked)
        square = matrix[:, : self.classes]
        right, true_pixels, predicted = square.diagonal(), matrix.sum(1), square.sum(0)
        total = true_pixels.sum()
        occurs = true_pixels > 0
        iou = np.divide(right, true_pixels + predicted - right, out=np.zeros(self.classes), where=occurs)
        share = true_pixels / total if total else np.full(self.classes, math.nan)
        cells = np.argwhere(square)
        return {
            "Acc": float(right.sum() / total) if total else math.nan,
            "Acc_class": _mean(right[occurs] / true_pixels[occurs]),
            "mIoU": _mean(iou[occurs]),
            "fwIoU": float((share * iou).sum()),
            "confusion_nonzero_[gt,pred,pixels]": [[*cell, int(square[tuple(cell)])] for cell in cells.tolist()],
            "per_class_IoU": {int(index): float(iou[index]) for index in np.flatnonzero(occurs)},
            "classes_in_mean": int(occurs.sum()),
        }


def label_table(prediction: np.ndarray, truth: np.ndarray, classes: int) -> np.ndarray:
    """Pixels [classes, 256] int64 of a frame by true class and predicted value; both pictures [H, W] uint8.

    Raises:
        ValueError: different sizes, or a prediction so far out of range that no cell is left for it.
    """
    table = label_pair_table(truth, prediction)[1 : classes + 1]
    beyond = np.argwhere(table[:, classes:])
    late = beyond[(beyond[:, 0] + 1) * classes + beyond[:, 1] >= classes * classes]
    if len(late):
        truth_class, value = late[0].tolist()
        raise ValueError(f"the prediction {value + classes} on class {truth_class} is none of 0 to {classes - 1}")
    return table


class ConsistencyCounter:
    """Video consistency of one video: over windows of c frames, where the truth stays, does the prediction stay?

    Pixels count for how many frames they have stayed as they are, so that every window costs one comparison.

    Args:
        lengths: numbers c of frames per window.
        separate_void: whether the two void labels differ from each other, as in the script of the data set's authors.
    """

    def __init__(self, lengths: Sequence[int], separate_void: bool = False) -> None:
        self.lengths = tuple(lengths)
        self.separate_void = separate_void
        self._frames = 0
        self._truth = self._prediction = self._truth_age = self._both_age = None
        self._shares: dict[int, list[float]] = {length: [] for length in self.lengths}

    def update(self, prediction: np.ndarray, truth: np.ndarray) -> None:
        """Add the next frame, [H, W] uint8 both.

        Raises:
            ValueError: the sizes differ.
        """
        if prediction.shape != truth.shape or (self._truth is not None and truth.shape != self._truth.shape):
            raise ValueError(f"pictures of {prediction.shape} and {truth.shape} pixels cannot be compared")
        if not self.separate_void:
            truth = truth * (truth != VOID_LABELS[1]).view(np.uint8)
        self._age(prediction, truth)
        self._frames += 1
        for length in self.lengths:
            if self._frames >= length:
                base = np.count_nonzero(self._truth_age >= length)
                kept = np.count_nonzero(self._both_age >= length)
                self._shares[length].append(float(kept / base) if base else math.nan)
        self._truth, self._prediction = truth, prediction

    def _age(self, prediction: np.ndarray, truth: np.ndarray) -> None:
        """Bring up to date for how many frames each pixel's truth, and truth and prediction both, have stayed."""
        if self._truth is None:
            kind = np.uint8 if max(self.lengths, default=1) < 255 else np.uint32
            self._truth_age, self._both_age = np.ones(truth.shape, kind), np.ones(truth.shape, kind)
            return
        same = truth == self._truth
        longest = max(self.lengths, default=1)
        for age, stays in ((self._truth_age, same), (self._both_age, same & (prediction == self._prediction))):
            age *= stays.view(np.uint8)
            np.minimum(age, longest, out=age)
            age += 1

    def forked(self, truth: np.ndarray) -> ConsistencyCounter:
        """A counter with the same past that keeps the void labels apart from now on; ``truth``: the last frame's."""
        other = copy.deepcopy(self)
        other.separate_void, other._truth = True, truth
        return other

    def windows(self, length: int) -> list[float]:
        """The share of each window, in order, NaN where no pixel's truth stays; the last window comes last."""
        return list(self._shares[length])


class VideoConsistency:
    """mVC_c over all windows of all videos.

    The official programs leave out the last window of each video, and videos of exactly c frames; ``last_too`` counts
    them.
    """

    def __init__(self, lengths: Sequence[int]) -> None:
        self.lengths = tuple(lengths)
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self._videos: dict[str, dict[int, list[float]]] = {}

    def update(self, video: str, frames: Iterable[tuple[np.ndarray, np.ndarray]], separate_void: bool = False) -> None:
        """Add a video: its (prediction, truth) frames in order, [H, W] uint8."""
        counter = ConsistencyCounter(self.lengths, separate_void)
        for prediction, truth in frames:
            counter.update(prediction, truth)
        self.merge({video: {length: counter.windows(length) for length in self.lengths}})

    @property
    def state(self) -> dict[str, dict[int, list[float]]]:
        """The windows of each video by their length."""
        return {video: dict(windows) for video, windows in self._videos.items()}

    def merge(self, state: Mapping[str, Mapping[int, list[float]]]) -> None:
        """Add the videos of another metric."""
        self._videos |= {video: dict(windows) for video, windows in state.items()}

    def windows(self, length: int, last_too: bool = False) -> dict[str, list[float]]:
        """Shares of the windows of each video that has any."""
        found = {video: windows[length][: None if last_too else -1] for video, windows in self._videos.items()}
        return {video: shares for video, shares in found.items() if shares}

    def compute(self, last_too: bool = False) -> dict[int, float]:
        """mVC for each length: the mean over all windows with a share; NaN where there is none."""
        means = {}
        for length in self.lengths:
            shares = np.array([share for row in self.windows(length, last_too).values() for share in row])
            means[length] = _mean(shares[~np.isnan(shares)])
        return means


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else math.nan

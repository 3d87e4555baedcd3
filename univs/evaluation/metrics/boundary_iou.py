"""Boundary IoU (Cheng et al., CVPR 2021) of label maps, and the means over groups of objects that VIPOSeg prints."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

from univs.evaluation.metrics.label_outlines import LabelMap
from univs.evaluation.metrics.object_series import mean
from univs.evaluation.metrics.records import Records
from univs.evaluation.metrics.region_boundary import region_table

DILATION_RATIO = 0.02
MOST_OBJECTS_OF_DECAY = 60
"""Frames with this many objects or more do not count in the decay."""


def boundary_distance(size: tuple[int, int], ratio: float = DILATION_RATIO) -> int:
    """Width of the rim in pixels: ``ratio`` of the diagonal of (height, width), rounded half to even, at least 1."""
    return max(1, round(ratio * math.sqrt(size[0] ** 2 + size[1] ** 2)))


def rims(labels: np.ndarray, ratio: float = DILATION_RATIO) -> np.ndarray:
    """Labels [H, W] (8 or 16 bits) where another label or the outside is near, 0 elsewhere.

    That is what is left of each mask without its erosion by a square of 2 d + 1 pixels, d the boundary distance.
    """
    side = 2 * boundary_distance(labels.shape, ratio) + 1
    square = np.ones((side, side), np.uint8)
    framed = cv2.copyMakeBorder(labels, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    near_another = (cv2.erode(framed, square) != cv2.dilate(framed, square))[1:-1, 1:-1]
    return labels * near_another


def region_rim_scores(
    prediction: np.ndarray, truth: np.ndarray, objects: Sequence[int], ratio: float = DILATION_RATIO
) -> tuple[np.ndarray, np.ndarray]:
    """Mask IoU and boundary IoU [N] of objects in two label maps [H, W] of 8 or 16 bits; 1 where both lack one."""
    if prediction.shape != truth.shape:
        raise ValueError(f"The prediction has the size {prediction.shape}, the ground truth {truth.shape}.")
    pairs = (prediction, truth), (rims(prediction, ratio), rims(truth, ratio))
    masks, boundaries = (
        np.diagonal(region_table(LabelMap(ours), LabelMap(theirs), objects, objects)).copy() for ours, theirs in pairs
    )
    return masks, boundaries


def boundary_iou(prediction: np.ndarray, truth: np.ndarray, ratio: float = DILATION_RATIO) -> float:
    """Boundary IoU of boolean masks [H, W]; 1 if both are empty."""
    return float(region_rim_scores(prediction.astype(np.uint8), truth.astype(np.uint8), [1], ratio)[1][0])


class GroupedBoundaryIoU(Records[dict[str, Any]]):
    """Means over the object-frames of each group, and the decay with the number of objects."""

    def __init__(self, groups: Sequence[str]) -> None:
        super().__init__()
        self.groups = tuple(groups)

    def update(
        self,
        sequence: str,
        groups: Sequence[str],
        counts: Sequence[int],
        masks: Sequence[float],
        boundaries: Sequence[float],
    ) -> None:
        """Add the object-frames [K] of a sequence (each name counts once).

        Args:
            sequence: its name.
            groups: of each; one that is none of the groups counts only in the decay.
            counts: how many objects had been introduced in the frame.
            masks: mask IoU.
            boundaries: boundary IoU.
        """
        record = {"counts": [int(n) for n in counts], "groups": list(groups)}
        self._add(sequence, {**record, "miou": np.asarray(masks, float), "biou": np.asarray(boundaries, float)})

    def compute(self) -> dict[str, float]:
        """GROUP_miou, GROUP_biou, GROUP_iou, their overall mean, and decay; NaN where a group has no object."""
        figures = {f"{group}_{kind}": self._mean(group, kind) for kind in ("miou", "biou") for group in self.groups}
        for group in self.groups:
            figures[f"{group}_iou"] = (figures[f"{group}_miou"] + figures[f"{group}_biou"]) / 2
        overall = mean([figures[f"{group}_iou"] for group in self.groups])
        return {**figures, "overall_iou": overall, "decay": self._decay()}

    def _mean(self, group: str, kind: str) -> float:
        values = [
            own[kind][[place for place, name in enumerate(own["groups"]) if name == group]]
            for _, own in self._ordered()
        ]
        return mean(np.concatenate(values)) if values else math.nan

    def _decay(self) -> float:
        """Slope through the origin of -ln(mean IoU of frames with n objects) over n / 100, by least squares."""
        by_count: dict[int, list[float]] = {}
        for _, own in self._ordered():
            for count, value in zip(own["counts"], (own["miou"] + own["biou"]) / 2, strict=True):
                by_count.setdefault(count, []).append(value)
        counts = [count for count in sorted(by_count) if count < MOST_OBJECTS_OF_DECAY]
        shares = np.array(counts) / 100
        with np.errstate(divide="ignore", invalid="ignore"):  # a mean of 0 makes it infinite, no object NaN
            losses = -np.log(np.array([mean(by_count[count]) for count in counts]))
            return float(np.sum(shares * losses) / np.sum(np.square(shares)))

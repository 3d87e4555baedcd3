"""Boundary IoU (Cheng et al., CVPR 2021) of label maps, and the means over groups of objects that VIPOSeg prints."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from univs.evaluation.metrics.label_outlines import LabelMap
from univs.evaluation.metrics.object_series import mean
from univs.evaluation.metrics.records import Records
from univs.evaluation.metrics.region_boundary import region_table
from univs.evaluation.metrics.scratch import scratch

DILATION_RATIO = 0.02
MOST_OBJECTS_OF_DECAY = 60
"""Frames with this many objects or more do not count in the decay."""


def boundary_distance(size: tuple[int, int], ratio: float = DILATION_RATIO) -> int:
    """Width of the rim in pixels: ``ratio`` of the diagonal of (height, width), rounded half to even, at least 1."""
    return max(1, round(ratio * math.sqrt(size[0] ** 2 + size[1] ** 2)))


def rims(labels: np.ndarray, ratio: float = DILATION_RATIO) -> np.ndarray:
    """Labels [H, W] where another label or the outside is near, 0 elsewhere.

    That is what is left of each mask without its erosion by a square of 2 d + 1 pixels, d the boundary distance: the
    square holds one label only if the four labels around each of its 2 d by 2 d inner corners are the same.
    """
    (height, width), distance = labels.shape, boundary_distance(labels.shape, ratio)
    shape, stride = (height + 2 * distance + 2, width + 2 * distance + 2), width + 2 * distance + 2
    flat = scratch("framed labels", shape[0] * stride, labels.dtype)
    flat[:] = 0
    flat.reshape(shape)[distance + 1 :, distance + 1 :][:height, :width] = labels
    corners, spare = scratch("corners", len(flat)), scratch("more corners", len(flat))
    corners[:], spare[:] = False, False
    for step in (1, stride, stride + 1):
        np.not_equal(flat[:-step], flat[step:], out=spare[:-step])
        corners |= spare
    corners, spare = _spread(corners, spare, 1, 2 * distance)
    corners, _ = _spread(corners, spare, stride, 2 * distance)
    return labels * corners.reshape(shape)[1:, 1:][:height, :width]


def _spread(flags: np.ndarray, spare: np.ndarray, step: int, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Whether any flag among ``length`` is set from each place on, ``step`` apart: the answers and the other buffer.

    What is known of 1, 2, 4, ... places gives what is to be known of twice as many.
    """
    known = 1
    while known < length:
        shift = min(known, length - known) * step
        np.logical_or(flags[:-shift], flags[shift:], out=spare[:-shift])
        spare[-shift:] = flags[-shift:]
        flags, spare, known = spare, flags, known + shift // step
    return flags, spare


def region_rim_scores(
    prediction: np.ndarray, truth: np.ndarray, objects: Sequence[int], ratio: float = DILATION_RATIO
) -> tuple[np.ndarray, np.ndarray]:
    """Mask IoU and boundary IoU [N] of objects in two label maps [H, W]; 1 where both lack one."""
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

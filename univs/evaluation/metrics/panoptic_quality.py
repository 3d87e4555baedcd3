"""Panoptic quality PQ = SQ x RQ of pictures (Kirillov et al., Panoptic Segmentation, CVPR 2019) and VPQ of videos.

VPQ is PQ over the tubes of every window of some frames (Kim et al., Video Panoptic Segmentation, CVPR 2020); a picture
is a video of one frame.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from univs.evaluation.metrics.panoptic_matching import FramePair, MatchedWindows

GROUPS = {"All": None, "Things": True, "Stuff": False}


class PanopticQuality:
    """PQ, SQ and RQ over windows of several lengths.

    Args:
        is_thing: category id -> whether it is a thing, in the order of the benchmark.
        windows: numbers of frames.
        stated_truth_areas: take the areas of true segments from their list rather than from the pixels.
    """

    def __init__(self, is_thing: Mapping[int, bool], windows: Sequence[int] = (1,), stated_truth_areas: bool = True):
        self.is_thing = dict(is_thing)
        self.windows = tuple(windows)
        self.stated_truth_areas = stated_truth_areas
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self._sums = np.zeros((len(self.windows), len(self.is_thing), 4))

    def update(self, frames: Sequence[FramePair]) -> None:
        """Add a video, or a picture as its only frame. Categories in ``frames`` are places in ``is_thing``."""
        self.merge(self.sums_of(MatchedWindows(frames, len(self.is_thing))))

    def sums_of(self, tables: MatchedWindows, every_crowd: bool = False) -> np.ndarray:
        """The ``state`` of a metric that has seen one video only; ``every_crowd``: see ``MatchedWindows.score``."""
        return np.stack([tables.score(window, self.stated_truth_areas, every_crowd) for window in self.windows])

    @property
    def state(self) -> np.ndarray:
        """[windows, categories, 4] float64: sum of IoUs, true positives, false positives, false negatives."""
        return self._sums.copy()

    def merge(self, state: np.ndarray) -> None:
        """Add the ``state`` of another metric of the same kind."""
        self._sums += state

    def compute(self) -> dict[int, dict[str, Any]]:
        """For each window: All, Things, Stuff (pq, sq, rq, n; NaN where no category occurs) and per_class."""
        return {
            window: quality_table(sums, self.is_thing) for window, sums in zip(self.windows, self._sums, strict=True)
        }


def quality_table(sums: np.ndarray, is_thing: Mapping[int, bool]) -> dict[str, Any]:
    """Figures of [C, 4] sums (IoU, TP, FP, FN): means over the categories that occur, and every category."""
    per_class = {category: _class_quality(*row) for category, row in zip(is_thing, sums.tolist(), strict=True)}
    table: dict[str, Any] = {}
    for group, wanted in GROUPS.items():
        members = [
            per_class[category]
            for category, thing in is_thing.items()
            if wanted in (None, thing)
            and per_class[category]["tp"] + per_class[category]["fp"] + per_class[category]["fn"]
        ]
        means = {name: _mean([member[name] for member in members]) for name in ("pq", "sq", "rq")}
        table[group] = {**means, "n": len(members)}
    return {**table, "per_class": per_class}


def _class_quality(iou: float, tp: float, fp: float, fn: float) -> dict[str, float]:
    weight = tp + 0.5 * fp + 0.5 * fn
    return {
        "pq": iou / weight if weight else 0.0,
        "sq": iou / tp if tp else 0.0,
        "rq": tp / weight if weight else 0.0,
        "iou": iou,
        "tp": int(tp),
        "fp": int(fp),
        "fn": int(fn),
    }


def video_quality_figures(tables: Mapping[int, Mapping[str, Any]]) -> dict[str, Any]:
    """The figures of video panoptic quality in percent: each window's and the means over the windows."""
    names = {"all": "All", "thing": "Things", "stuff": "Stuff"}
    figures: dict[str, Any] = {}
    for window, table in tables.items():
        percent = {f"vpq_{name}": 100 * table[group]["pq"] for name, group in names.items()}
        figures[f"window_{window}"] = {**table, **percent}
    for name in names:
        figures[f"final_vpq_{name}"] = _mean([figures[f"window_{window}"][f"vpq_{name}"] for window in tables])
    return figures


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else math.nan

"""STQ of videos in the layout of KITTI-STEP and MOTChallenge-STEP."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from univs.errors import UserError
from univs.evaluation.benchmark import Benchmark, BrokenSequence, Parts, Scoring, Summary
from univs.evaluation.label_pictures import read_segment_map
from univs.evaluation.metrics.pixel_counts import PairCounts, joined_pairs, pair_counts
from univs.evaluation.metrics.segmentation_tracking_quality import LabelFormat, SegmentationTrackingQuality

LAYOUT = "VIDEO/FRAME.png; red is the class, 256 x green + blue the instance"


class StepVideos(Benchmark):
    """STQ, SQ and AQ."""

    name = "kitti-step"
    summary = "segmentation and tracking quality (STQ, SQ, AQ)"
    predictions_layout = LAYOUT
    truth_layout = f"{LAYOUT} (0: crowd); the class 255 is ignored"
    official = "google-research/deeplab2, evaluation/numpy/segmentation_and_tracking_quality.py"
    options: Mapping[str, Any] = {"classes": 19, "things": [11, 13], "ignore_label": 255, "bits": 16}
    option_help: Mapping[str, str] = {
        "classes": "number of classes (MOTChallenge-STEP: 7)",
        "things": "classes of things (MOTChallenge-STEP: 4 in the published ground truth)",
        "ignore_label": "class that is not scored",
        "bits": "bits of an instance in a label",
    }

    def open(self, predictions: Path, truth: Path, options: Mapping[str, Any]) -> StepScoring:
        for path in (predictions, truth):
            if not path.is_dir():
                raise UserError(f"{path} must be a folder of videos; {LAYOUT}.")
        bits = options["bits"]
        offset = max(1 << 24, options["classes"] << bits)
        labels = LabelFormat(options["classes"], tuple(options["things"]), options["ignore_label"], bits, offset)
        return StepScoring(predictions, truth, labels)


class StepScoring(Scoring):
    """A folder of pictures is a sequence."""

    def __init__(self, predictions: Path, truth: Path, labels: LabelFormat) -> None:
        self._predictions, self._truth, self._labels = predictions, truth, labels

    @cached_property
    def _names(self) -> list[str]:
        return sorted(folder.name for folder in self._truth.iterdir() if folder.is_dir() and any(folder.glob("*.png")))

    def sequences(self) -> list[str]:
        return list(self._names)

    def own_files(self, sequence: str) -> Sequence[Path]:
        return self._predictions / sequence, self._truth / sequence

    def measure(self, sequence: str) -> Parts:
        frames = sorted((self._truth / sequence).glob("*.png"))
        pairs = []
        for frame in frames:
            path = self._predictions / sequence / frame.name
            truth = read_segment_map(frame)
            prediction = read_segment_map(path, truth.shape[:2])
            pairs.append(self._labelled(pair_counts(truth, prediction), path))
        video = joined_pairs(pairs)
        return {"first": video.first, "second": video.second, "counts": video.counts, "frames": len(frames)}

    def _labelled(self, pairs: PairCounts, path: Path) -> PairCounts:
        """Id colours R + 256 G + 65536 B as labels R * 2^bits + 256 G + B."""
        columns = [
            ((ids & 255) << self._labels.bits) + ((ids >> 8) & 255) * 256 + (ids >> 16)
            for ids in (pairs.first, pairs.second)
        ]
        try:
            for column in columns:
                self._labels.classes(column)
        except ValueError as error:
            raise BrokenSequence(f"{path} or its ground truth: {error}.") from error
        return pairs.relabelled(*columns)

    def summarise(self, measured: Mapping[str, Parts]) -> Summary:
        metric = SegmentationTrackingQuality(self._labels)
        for sequence in self.sequences():
            if sequence in measured:
                parts = measured[sequence]
                columns = (np.asarray(parts[name]) for name in ("first", "second", "counts"))
                metric.update(sequence, PairCounts(*columns), parts["frames"])
        figures = metric.compute()
        objects = [
            {"sequence": name, "STQ": stq, "AQ": aq, "SQ": sq}
            for name, stq, aq, sq in zip(
                *(figures[key] for key in ("ID_per_seq", "STQ_per_seq", "AQ_per_seq", "IoU_per_seq")), strict=True
            )
        ]
        table = [("STQ", 100 * figures["STQ"]), ("AQ", 100 * figures["AQ"]), ("SQ", 100 * figures["IoU"])]
        return Summary(figures, table, objects=objects)

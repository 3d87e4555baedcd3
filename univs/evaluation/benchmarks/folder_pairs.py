"""MOSE and other folder pairs: two folders with the same videos, label pictures of the same names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from univs.evaluation.benchmark import Benchmark, Parts, Scoring, Summary
from univs.evaluation.layouts import first_folder, folder, folders_in, frames_in, paired_labels
from univs.evaluation.metrics.first_seen_series import FirstSeenSeries, frame_tables


class FolderPairs(Scoring):
    """Every id that ground truth shows is an object, 255 too; it may come late and leave gaps."""

    def __init__(self, predictions: Path, truth: Path, skip_ends: bool) -> None:
        self.predictions, self.truth, self.skip_ends = predictions, truth, skip_ends

    def sequences(self) -> list[str]:
        """The folders of the ground truth."""
        return folders_in(self.truth)

    def own_files(self, sequence: str) -> Sequence[Path]:
        return self.predictions / sequence, self.truth / sequence

    def measure(self, sequence: str) -> Parts:
        """Objects, their J and F in every frame, and where they are seen. Raises BrokenSequence."""
        frames = frames_in(self.truth / sequence)
        pairs = paired_labels(self.predictions / sequence, self.truth / sequence, frames)
        objects, tables = frame_tables((prediction, truth) for _, prediction, truth in pairs)
        return {"objects": objects, **tables}

    def summarise(self, measured: Mapping[str, Parts]) -> Summary:
        """Means over all objects in percent, without and with the first and the last frame."""
        metrics = {
            "skip_first_and_last": FirstSeenSeries(skip_ends=True),
            "all_frames": FirstSeenSeries(skip_ends=False),
        }
        for sequence in self.sequences():
            if sequence in measured:
                parts = measured[sequence]
                tables = {name: parts[name] for name in parts if name != "objects"}
                for metric in metrics.values():
                    metric.update(sequence, parts["objects"], tables)
        figures = {name: metric.compute() for name, metric in metrics.items()}
        chosen = figures["skip_first_and_last" if self.skip_ends else "all_frames"]
        rows = [
            {"sequence": sequence, "object": number, **values}
            for sequence, objects in chosen["per_object"].items()
            for number, values in objects.items()
        ]
        return Summary(figures, [(name, chosen[name]) for name in ("J&F", "J", "F")], objects=rows)


class Mose(Benchmark):
    """Folder pairs; the first and the last frame are not scored."""

    name = "mose"
    summary = "MOSE and other folder pairs: J&F of every object that ground truth shows"
    predictions_layout = "VIDEO/FRAME.png (or below Annotations/), palette or grey"
    truth_layout = "VIDEO/FRAME.png (or below Annotations/), palette or grey"
    official = "hkchengrex/vos-benchmark (acb4733), the usual local tool"
    options = {"skip_first_and_last": True}
    option_help = {"skip_first_and_last": "which of the two values the table shows; both are in the results"}

    def open(self, predictions: Path, truth: Path, options: Mapping[str, Any]) -> FolderPairs:
        """A scoring of these folders. Raises UserError where one is missing."""
        what = "one folder of label pictures per video"
        predictions, truth = (
            first_folder(folder(path, what), ("Annotations", ""), what) for path in (predictions, truth)
        )
        return FolderPairs(predictions, truth, options["skip_first_and_last"])

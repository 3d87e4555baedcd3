"""LVOS: given objects in long videos, seen and unseen ones apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from univs.errors import UserError
from univs.evaluation.annotations import member
from univs.evaluation.benchmark import Benchmark, BrokenSequence, Parts, Scoring, Summary
from univs.evaluation.layouts import folder, json_file, lines_of, paired_labels
from univs.evaluation.metrics.region_boundary import object_scores
from univs.evaluation.metrics.seen_unseen import LongTermSeries

FRAME_STEP = 5
UNSEEN_FILE = "unseen_videos.txt"


class LongVideos(Scoring):
    """Every object is scored in every fifth frame of its range, without its first and its last annotated frame."""

    def __init__(self, predictions: Path, truth: Path, meta: Path, unseen: list[str]) -> None:
        self.predictions, self.truth, self.meta, self.unseen = predictions, truth, meta, unseen

    def sequences(self) -> list[str]:
        """The videos of the meta file, sorted."""
        return sorted(member(json_file(self.meta), "videos", dict, str(self.meta)))

    def own_files(self, sequence: str) -> Sequence[Path]:
        return self.predictions / sequence, self.truth / sequence

    def measure(self, sequence: str) -> Parts:
        """J and F of each object [T] in its own frames, and its id. Raises BrokenSequence."""
        ranges = self._ranges(sequence)
        frames = sorted({frame for own in ranges.values() for frame in own})
        scores: dict[int, list[tuple[float, float]]] = {number: [] for number in ranges}
        names = [f"{frame:08d}" for frame in frames]
        pairs = paired_labels(self.predictions / sequence, self.truth / sequence, names)
        for frame, (_, prediction, truth) in zip(frames, pairs, strict=True):
            numbers = [number for number, own in ranges.items() if frame in own]
            for number, regions, boundaries in zip(numbers, *object_scores(prediction, truth, numbers), strict=True):
                scores[number].append((regions, boundaries))
        series = [np.array(own).reshape(-1, 2) for own in scores.values()]
        return {"ids": list(scores), "J": [own[:, 0] for own in series], "F": [own[:, 1] for own in series]}

    def _ranges(self, sequence: str) -> dict[int, range]:
        """Frames that are scored of each object, by id in the order of the meta file."""
        where = f"Video {sequence} of {self.meta}"
        objects = member(json_file(self.meta)["videos"][sequence], "objects", dict, where)
        try:
            ends = {int(number): own["frame_range"] for number, own in objects.items()}
            return {
                number: range(int(own["start"]) + FRAME_STEP, int(own["end"]), FRAME_STEP)
                for number, own in ends.items()
            }
        except (KeyError, TypeError, ValueError) as error:
            raise BrokenSequence(
                f"{where} has an object without frame_range with the numbers of its start and end frame ({error!r})."
            ) from error

    def summarise(self, measured: Mapping[str, Parts]) -> Summary:
        """Figures over all, seen and unseen videos and the benchmark's table."""
        metric = LongTermSeries(self.unseen)
        rows = []
        for sequence in self.sequences():
            if sequence in measured:
                parts = measured[sequence]
                metric.update(sequence, parts["J"], parts["F"])
                rows += [
                    {"sequence": sequence, "object": number, "place": k} for k, number in enumerate(parts["ids"], 1)
                ]
        figures = metric.compute()
        for row in rows:
            name = f"{row['sequence']}_{row.pop('place')}"
            row |= {measure: figures["all"][f"{measure}_per_object"][name] for measure in ("J", "F", "V")}
        return Summary(figures, list(figures["table"].items()), metric.corrected(), rows)


class Lvos(Benchmark):
    """Objects given by their masks when they first appear."""

    name = "lvos"
    summary = "LVOS: J&F and variability V of given objects in long videos, seen and unseen"
    predictions_layout = "VIDEO/FRAME.png, palette or grey, values = object ids"
    truth_layout = "Annotations/VIDEO/FRAME.png, valid_meta.json and unseen_videos.txt"
    official = "LingyiHongfd/lvos-evaluation (25cb02d)"
    options: Mapping[str, Any] = {"subset": "valid", "unseen_videos": []}
    option_help = {
        "subset": "the meta file is SUBSET_meta.json",
        "unseen_videos": "names of the unseen videos; those of unseen_videos.txt beside the meta file if not given",
    }

    def open(self, predictions: Path, truth: Path, options: Mapping[str, Any]) -> LongVideos:
        """A scoring of these folders.

        Raises:
            UserError: no annotations, no meta file, or nobody says which videos are unseen.
        """
        unseen = list(options["unseen_videos"])
        if not unseen:
            if not (truth / UNSEEN_FILE).is_file():
                raise UserError(f"{truth / UNSEEN_FILE} is not there; name the unseen videos with unseen_videos=A,B.")
            unseen = lines_of(truth / UNSEEN_FILE)
        annotations = folder(truth / "Annotations", "one folder of annotations per video")
        meta = truth / f"{options['subset']}_meta.json"
        json_file(meta)
        return LongVideos(folder(predictions, self.predictions_layout), annotations, meta, unseen)

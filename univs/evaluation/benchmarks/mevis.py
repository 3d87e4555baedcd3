"""MeViS: expressions that may mean several objects, or none, in motion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from univs.evaluation.annotations import member
from univs.evaluation.benchmark import Benchmark, BrokenSequence, Parts, Scoring, Summary
from univs.evaluation.benchmarks.youtube_vos import expression_summary
from univs.evaluation.coded_masks import decoded_mask
from univs.evaluation.label_pictures import read_foreground
from univs.evaluation.layouts import folder, json_file
from univs.evaluation.metrics.expression_scores import ExpressionScores
from univs.evaluation.metrics.region_boundary import object_scores


class MotionExpressions(Scoring):
    """Ground truth of an expression is the union of its objects; all frames of the video count."""

    def __init__(self, predictions: Path, meta: Path, masks: Path) -> None:
        self.predictions, self.meta, self.masks = predictions, meta, masks

    def sequences(self) -> list[str]:
        """VIDEO_EXPRESSION of every expression in the meta file."""
        return list(self._expressions())

    def _expressions(self) -> dict[str, tuple[str, str]]:
        """Video and expression by the name that the official program gives them."""
        videos = member(json_file(self.meta), "videos", dict, str(self.meta))
        return {
            f"{video}_{name}": (video, name)
            for video, entry in videos.items()
            for name in member(entry, "expressions", dict, f"Video {video} of {self.meta}")
        }

    def own_files(self, sequence: str) -> Sequence[Path]:
        return (self.predictions / self._expressions()[sequence][0],)

    def measure(self, sequence: str) -> Parts:
        """J and F [T]; a single 0 where the whole folder of the video is missing, as in the official program.

        Raises:
            BrokenSequence: the expression or a frame is missing, or cannot be compared.
        """
        video, name = self._expressions()[sequence]
        if not (self.predictions / video).is_dir():
            return {"J": np.zeros(1), "F": np.zeros(1), "missing": True}
        entry = json_file(self.meta)["videos"][video]
        where = f"Video {video} of {self.meta}"
        frames = member(entry, "frames", list, where)
        numbers = member(entry["expressions"][name], "anno_id", list, f"Expression {sequence} of {self.meta}")
        scores = []
        for place, frame in enumerate(frames):
            prediction = read_foreground(self.predictions / video / name / f"{frame}.png")
            truth = self._truth(numbers, place, prediction.shape, f"frame {frame} of {video}")
            scores.append(object_scores(prediction, truth, [1]))
        return {
            "J": np.array([regions[0] for regions, _ in scores]),
            "F": np.array([boundaries[0] for _, boundaries in scores]),
            "missing": False,
        }

    def _truth(self, numbers: list[Any], place: int, size: tuple[int, int], where: str) -> np.ndarray:
        """Union [H, W] of the objects in a frame; an object without a mask there is empty."""
        union = np.zeros(size, bool)
        for number in numbers:
            masks = json_file(self.masks).get(str(number))
            if not isinstance(masks, list) or place >= len(masks):
                raise BrokenSequence(f"{self.masks} has no mask list of annotation {number} that reaches {where}.")
            if masks[place]:
                mask = decoded_mask(masks[place], f"Annotation {number} of {self.masks}, {where},")
                if mask.shape != size:
                    raise BrokenSequence(
                        f"The prediction for {where} has {size[1]}x{size[0]} pixels; expected "
                        f"{mask.shape[1]}x{mask.shape[0]} as in annotation {number} of {self.masks}."
                    )
                union |= mask
        return union

    def summarise(self, measured: Mapping[str, Parts]) -> Summary:
        """Means over all expressions; beside them those without the expressions of missing videos."""
        everything, present = ExpressionScores(), ExpressionScores()
        for sequence in self.sequences():
            if sequence in measured:
                parts = measured[sequence]
                for metric in [everything] if parts["missing"] else [everything, present]:
                    metric.update(sequence, parts["J"], parts["F"])
        summary = expression_summary(everything)
        without = {name: value for name, value in present.compute().items() if name != "per_expression"}
        return Summary(summary.figures, summary.table, {"without_missing_videos": without}, summary.objects)


class Mevis(Benchmark):
    """Objects named by what they do."""

    name = "mevis"
    summary = "MeViS: J&F over all motion expressions"
    predictions_layout = "VIDEO/EXPRESSION/FRAME.png; whatever is not black is meant"
    truth_layout = "meta_expressions.json and mask_dict.json"
    official = "henghuiding/MeViS tools/eval_mevis.py (7c0620b)"

    def open(self, predictions: Path, truth: Path, options: Mapping[str, Any]) -> MotionExpressions:
        """A scoring of these files. Raises UserError where one is missing."""
        meta, masks = truth / "meta_expressions.json", truth / "mask_dict.json"
        for path in (meta, masks):
            json_file(path)
        return MotionExpressions(folder(predictions, self.predictions_layout), meta, masks)

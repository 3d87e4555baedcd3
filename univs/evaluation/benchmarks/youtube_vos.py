"""YouTube-VOS and Ref-YouTube-VOS with local annotations; their servers' own code is not public."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from univs.errors import UserError
from univs.evaluation.annotations import member, members
from univs.evaluation.benchmark import Benchmark, BrokenSequence, Parts, Scoring, Summary
from univs.evaluation.label_pictures import read_labels
from univs.evaluation.layouts import first_folder, folder, frames_in, json_file, paired_labels
from univs.evaluation.metrics.expression_scores import ExpressionScores
from univs.evaluation.metrics.object_series import mean
from univs.evaluation.metrics.region_boundary import object_scores
from univs.evaluation.metrics.seen_unseen import GROUPS, GroupedScores

SEEN_CATEGORIES = frozenset(
    """airplane ape bear bike bird boat bucket bus camel cat cow crocodile deer dog dolphin duck eagle earless_seal
    elephant fish fox frisbee frog giant_panda giraffe hand hat hedgehog horse knife leopard lion lizard monkey
    motorbike mouse others owl paddle parachute parrot penguin person plant rabbit raccoon sedan shark sheep sign
    skateboard snail snake snowboard squirrel surfboard tennis_racket tiger toilet train truck turtle umbrella whale
    zebra""".split()
)
"""The 65 categories of the training videos."""

CATEGORY_FILE = "categories.json"
CONVENTION = (
    "J and F of davis2017-evaluation (ac7c43f) per frame, averaged by a written convention: no public server code"
)


class GivenObjects(Scoring):
    """An object is scored after the frame in which it first appears, up to the last annotated frame of its video."""

    def __init__(self, predictions: Path, truth: Path, meta: Path, groups: Mapping[str, str] | None) -> None:
        self.predictions, self.truth, self.meta, self._groups = predictions, truth, meta, groups

    def sequences(self) -> list[str]:
        """The videos of the meta file."""
        return list(member(json_file(self.meta), "videos", dict, str(self.meta)))

    def own_files(self, sequence: str) -> Sequence[Path]:
        return self.predictions / sequence, self.truth / sequence

    def measure(self, sequence: str) -> Parts:
        """Objects with their first frame, J and F. Raises BrokenSequence."""
        frames = frames_in(self.truth / sequence)
        first = {number: self._first_frame(sequence, number, frames) for number in self._objects(sequence)}
        scores: dict[int, list[tuple[float, float]]] = {number: [] for number in first}
        scored = [frame for frame in frames if any(frame > begin for begin in first.values())]
        for frame, prediction, truth in paired_labels(self.predictions / sequence, self.truth / sequence, scored):
            numbers = [number for number, begin in first.items() if frame > begin]
            for number, regions, boundaries in zip(numbers, *object_scores(prediction, truth, numbers), strict=True):
                scores[number].append((regions, boundaries))
        return {
            "objects": list(first),
            "first": list(first.values()),
            "J": [np.array([pair[0] for pair in own]) for own in scores.values()],
            "F": [np.array([pair[1] for pair in own]) for own in scores.values()],
        }

    def _objects(self, sequence: str) -> dict[int, Any]:
        where = f"Video {sequence} of {self.meta}"
        objects = member(json_file(self.meta)["videos"][sequence], "objects", dict, where)
        if not all(number.isdecimal() and isinstance(entry, dict) for number, entry in objects.items()):
            raise BrokenSequence(f"{where}: expected objects by their ids, each with category and frames.")
        return {int(number): entry for number, entry in objects.items()}

    def _first_frame(self, sequence: str, number: int, frames: list[str]) -> str:
        """Where the meta file, or without its word the first picture, shows an object."""
        entry = self._objects(sequence)[number]
        if entry.get("frames") is not None:
            named = members(entry, "frames", str, f"Object {number} of video {sequence} of {self.meta}")
            if named:
                return min(named)
        paths = (self.truth / sequence / f"{frame}.png" for frame in frames)
        return next((path.stem for path in paths if (read_labels(path) == number).any()), frames[-1])

    def group_of(self, category: str) -> str:
        """Whether a category is seen or unseen.

        Raises:
            UserError: the category file names it in neither group.
        """
        if self._groups is None:
            return GROUPS[0] if category in SEEN_CATEGORIES else GROUPS[1]
        if category not in self._groups:
            raise UserError(f"The category {category!r} is neither seen nor unseen in {CATEGORY_FILE}; add it there.")
        return self._groups[category]

    def summarise(self, measured: Mapping[str, Parts]) -> Summary:
        """J and F over seen and unseen objects, G, and every object; those without a scored frame are None."""
        metric = GroupedScores()
        objects: dict[str, dict[str, Any] | None] = {}
        for sequence in self.sequences():
            if sequence in measured:
                parts = measured[sequence]
                for number, first, *series in zip(*(parts[key] for key in ("objects", "first", "J", "F")), strict=True):
                    category = str(self._objects(sequence)[number].get("category", ""))
                    group = self.group_of(category)
                    name = f"{sequence}_{number}"
                    metric.update(name, group, *series)
                    entry = {"split": group, "category": category, "first_frame": first}
                    objects[name] = {**entry, **_figures(*series)} if len(series[0]) else None
        scores = metric.compute()
        rows = [
            {"sequence": name.rpartition("_")[0], "object": name.rpartition("_")[2], "group": own["split"]}
            | {"category": own["category"], "J": own["J"], "F": own["F"]}
            for name, own in objects.items()
            if own is not None
        ]
        return Summary(
            {"scores": scores, "per_object": objects}, [(n, scores[n]) for n in ("G", *scores)][:5], objects=rows
        )


def _figures(regions: np.ndarray, boundaries: np.ndarray) -> dict[str, Any]:
    frames = {"J_frames": np.asarray(regions).tolist(), "F_frames": np.asarray(boundaries).tolist()}
    return {"J": mean(regions), "F": mean(boundaries), **frames}


def _category_groups(path: Path) -> dict[str, str]:
    """Group of each category in a file {"seen": [...], "unseen": [...]}."""
    content = json_file(path)
    return {str(name): group for group in GROUPS for name in member(content, group, list, str(path))}


class YouTubeVos(Benchmark):
    """Objects given by their masks when they first appear."""

    name = "youtube-vos"
    summary = "YouTube-VOS: J and F of given objects of seen and unseen categories, and their mean G"
    predictions_layout = "Annotations/VIDEO/FRAME.png (or VIDEO/FRAME.png), palette or grey, values = object ids"
    truth_layout = "Annotations/VIDEO/FRAME.png and meta.json; categories.json where the seen ones are not the usual 65"
    official = CONVENTION

    def open(self, predictions: Path, truth: Path, options: Mapping[str, Any]) -> GivenObjects:
        """A scoring of these folders. Raises UserError where a folder or the meta file is missing."""
        what = "one folder of label pictures per video"
        annotations = folder(truth / "Annotations", what)
        json_file(truth / "meta.json")
        groups = _category_groups(truth / CATEGORY_FILE) if (truth / CATEGORY_FILE).is_file() else None
        return GivenObjects(
            first_folder(predictions, ("Annotations", ""), what), annotations, truth / "meta.json", groups
        )


class Expressions(Scoring):
    """What an expression means, in all annotated frames of its video."""

    def __init__(self, predictions: Path, truth: Path, meta: Path) -> None:
        self.predictions, self.truth, self.meta = predictions, truth, meta

    def sequences(self) -> list[str]:
        """VIDEO/EXPRESSION of every expression in the meta file."""
        videos = member(json_file(self.meta), "videos", dict, str(self.meta))
        return [f"{video}/{name}" for video in videos for name in self._expressions(video)]

    def _expressions(self, video: str) -> dict[str, Any]:
        where = f"Video {video} of {self.meta}"
        return member(json_file(self.meta)["videos"][video], "expressions", dict, where)

    def own_files(self, sequence: str) -> Sequence[Path]:
        return self.predictions / sequence, self.truth / sequence.partition("/")[0]

    def measure(self, sequence: str) -> Parts:
        """J and F [T]. Raises BrokenSequence."""
        video, _, name = sequence.partition("/")
        where = f"Expression {sequence} of {self.meta}"
        try:
            number = int(self._expressions(video)[name]["obj_id"])
        except (KeyError, TypeError, ValueError) as error:
            raise BrokenSequence(f"{where} has no obj_id; expected the id of one object.") from error
        annotated = set(frames_in(self.truth / video))
        entry = json_file(self.meta)["videos"][video]
        named = members(entry, "frames", str, f"Video {video} of {self.meta}") if "frames" in entry else None
        frames = sorted(annotated) if named is None else named
        scored = [frame for frame in frames if frame in annotated]
        pairs = paired_labels(self.predictions / video / name, self.truth / video, scored)
        scores = [object_scores(prediction != 0, truth == number, [1]) for _, prediction, truth in pairs]
        return {"J": np.array([own[0][0] for own in scores]), "F": np.array([own[1][0] for own in scores])}

    def summarise(self, measured: Mapping[str, Parts]) -> Summary:
        """Means over all expressions."""
        metric = ExpressionScores()
        for sequence in self.sequences():
            if sequence in measured:
                metric.update(sequence, measured[sequence]["J"], measured[sequence]["F"])
        return expression_summary(metric)


def expression_summary(metric: ExpressionScores) -> Summary:
    """The summary of a metric over expressions."""
    figures = metric.compute()
    rows = [
        {"sequence": name, "object": "expression", "J": regions, "F": boundaries}
        for name, (regions, boundaries) in figures["per_expression"].items()
    ]
    return Summary(figures, [(name, figures[name]) for name in ("J&F", "J", "F")], objects=rows)


class ReferringYouTubeVos(Benchmark):
    """Objects named by expressions, with annotations at hand, such as those of the training videos."""

    name = "ref-youtube-vos"
    summary = "Ref-YouTube-VOS with local annotations: J&F over all expressions"
    predictions_layout = "Annotations/VIDEO/EXPRESSION/FRAME.png (or without Annotations/); whatever is not 0 is meant"
    truth_layout = "Annotations/VIDEO/FRAME.png and meta_expressions.json with the obj_id of every expression"
    official = CONVENTION

    def open(self, predictions: Path, truth: Path, options: Mapping[str, Any]) -> Expressions:
        """A scoring of these folders. Raises UserError where a folder or the meta file is missing."""
        what = "one folder per video"
        json_file(truth / "meta_expressions.json")
        return Expressions(
            first_folder(predictions, ("Annotations", ""), what),
            folder(truth / "Annotations", what),
            truth / "meta_expressions.json",
        )

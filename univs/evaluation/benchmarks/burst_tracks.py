"""Tracking of objects as BURST scores it: HOTA and track mAP of three tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from univs.errors import UserError
from univs.evaluation.annotations import member, members
from univs.evaluation.benchmark import Benchmark, BrokenSequence, Parts, Scoring, Summary
from univs.evaluation.benchmarks.burst_categories import COMMON, DISTRACTORS
from univs.evaluation.benchmarks.burst_figures import class_figures, details_of, table_of, without_tracks
from univs.evaluation.burst_videos import (
    VideoFile,
    VideoTracks,
    category_of,
    frame_names,
    read_videos,
    video_tracks,
)
from univs.evaluation.json_layouts import one_json
from univs.evaluation.metrics.hota import hota_of_tables
from univs.evaluation.metrics.track_map import TrackSizes, matched_tracks
from univs.evaluation.track_similarity import ClassRule, ClassTables, VideoSimilarity, counts_of

TASKS = ("class_guided", "exemplar_guided", "open_world")
AS_INTENDED = "exemplars_as_intended"
"""What the official program means to do with exemplars and does not: score tracks of the ground truth only, with the
categories that they have there."""

SUBSETS = ("all", "common", "uncommon")
ONE_CLASS = 1
"""The class that stands for every object in the open world, also where lists of categories are looked up."""


class Burst(Benchmark):
    """HOTA, DetA, AssA and track AP, or OWTA, over all, common and uncommon categories."""

    name = "burst"
    summary = "tracking of many objects (HOTA, DetA, AssA, track mAP; OWTA in the open world)"
    predictions_layout = "results.json (sequences with track_category_ids and segmentations: rle, score)"
    truth_layout = "all_classes.json, for the open world common_classes.json and uncommon_classes.json too"
    official = "Ali2500/BURST-benchmark, burstapi/eval (HOTA and TrackMAP of TrackEval)"
    options: Mapping[str, Any] = {"task": "class_guided", "common": sorted(COMMON), "uncommon": [0][:0]}
    option_help: Mapping[str, str] = {
        "task": "class_guided, exemplar_guided or open_world",
        "common": "ids of the common categories",
        "uncommon": "ids of the uncommon categories; none given: all others",
    }

    def open(self, predictions: Path, truth: Path, options: Mapping[str, Any]) -> BurstScoring:
        if options["task"] not in TASKS:
            raise UserError(f"The task {options['task']!r} is not known; choose one of {', '.join(TASKS)}.")
        return BurstScoring(one_json(predictions), _truth_files(truth, options["task"]), options)


def _truth_files(truth: Path, task: str) -> dict[str, Path]:
    """The ground truth of each subset; tasks with classes need one file only."""
    if task != "open_world":
        whole = truth / "all_classes.json"
        return {"all": whole if whole.is_file() else one_json(truth)}
    files = {subset: truth / f"{subset}_classes.json" for subset in SUBSETS}
    for path in files.values():
        if not path.is_file():
            raise UserError(f"{path} is missing; the open world needs {', '.join(p.name for p in files.values())}.")
    return files


class BurstScoring(Scoring):
    """A video is a sequence, named dataset/name. A video without predictions counts as missed, as officially."""

    each_alone = False  # hundreds of classes, of which a video has a few

    def __init__(self, predictions: Path, truth: Mapping[str, Path], options: Mapping[str, Any]) -> None:
        self._predictions, self._truth, self._options = predictions, dict(truth), dict(options)

    def __getstate__(self) -> dict[str, Any]:
        return {name: self.__dict__[name] for name in ("_predictions", "_truth", "_options")}

    @property
    def _open_world(self) -> bool:
        return self._options["task"] == "open_world"

    @cached_property
    def _true_files(self) -> dict[str, VideoFile]:
        return {subset: read_videos(path) for subset, path in self._truth.items()}

    @cached_property
    def _predicted(self) -> VideoFile:
        found = read_videos(self._predictions)
        unknown = next((name for name in found.videos if name not in self._true_files["all"].videos), None)
        if unknown is not None:
            raise UserError(f"{self._predictions} has the video {unknown}, which the ground truth does not have.")
        return found

    def sequences(self) -> list[str]:
        files = self._true_files.values()
        return sorted({name for file in files for name in file.videos}, key=lambda name: name.replace("/", "-"))

    def measure(self, sequence: str) -> Parts:
        parts: Parts = {}
        for subset, file in self._true_files.items():
            if sequence in file.videos:
                video = file.videos[sequence]
                where = f"{sequence} of {file.path}"
                frames = frame_names(video, where)
                truth = video_tracks(video, frames, DISTRACTORS, where)
                prediction = self._prediction_of(sequence, video, frames)
                if self._open_world:
                    truth, prediction = _as_one_class(truth), _as_one_class(prediction)
                parts[subset] = self._classes(video, truth, prediction)
                if self._options["task"] == "exemplar_guided":
                    known = self._prediction_of(sequence, video, frames, of_exemplars=True)
                    parts[AS_INTENDED] = self._classes(video, truth, known)
        return parts

    def _prediction_of(
        self, sequence: str, video: Mapping[str, Any], frames: Sequence[str], of_exemplars: bool = False
    ) -> VideoTracks:
        """of_exemplars: only tracks of the ground truth, with the categories that they have there."""
        found = self._predicted.videos.get(sequence)
        if found is None:
            found = {**video, "track_category_ids": {}, "segmentations": [{} for _ in frames]}
        if of_exemplars:
            kinds = video["track_category_ids"]
            seen = [
                {track: mask for track, mask in frame.items() if track in kinds} for frame in found["segmentations"]
            ]
            found = {**found, "track_category_ids": kinds, "segmentations": seen}
        return video_tracks(found, frames, (), f"{sequence} of {self._predictions}")

    def _classes(self, video: Mapping[str, Any], truth: VideoTracks, prediction: VideoTracks) -> dict[int, Any]:
        similarity = VideoSimilarity(truth, prediction)
        at = f"{video['dataset']}/{video['seq_name']} of the ground truth"
        absent, partial = (
            members({name: [], **video}, name, int, at) for name in ("neg_category_ids", "not_exhaustive_category_ids")
        )
        guided = self._options["task"] != "exemplar_guided"
        present = set(truth.categories.tolist()) | set(prediction.categories.tolist())
        return {
            category: class_parts(similarity, category, ClassRule(category in absent, category not in partial, guided))
            for category in sorted(present)
        }

    def summarise(self, measured: Mapping[str, Parts]) -> Summary:
        details, masks, counts, objects = {}, {}, {}, []
        for subset, file in self._true_files.items():
            categories = _categories(file, self._open_world)
            figures = self._by_class(measured, subset, categories)
            details[subset] = details_of(figures, categories, "hota", counted=not self._open_world)
            counts[subset] = {categories[category]: one["count"] for category, one in figures.items()}
            masks[subset] = details_of(figures, categories, "hota_masks", counted=not self._open_world)
            objects += [{"subset": subset, **row} for row in _rows(details[subset])]
        groups = self._groups()
        table = table_of(details, groups, self._open_world)
        mask_table = table_of(masks, groups, self._open_world)
        lines = [(f"{name} {subset}", value) for name, row in table.items() for subset, value in row.items()]
        corrected: dict[str, Any] = {"mask_iou": {"table": mask_table, "details": without_tracks(masks)}}
        if self._open_world:
            corrected["Count"] = counts
        if self._options["task"] == "exemplar_guided":
            figures = self._by_class(measured, AS_INTENDED, categories)
            intended = {"all": details_of(figures, categories, "hota", counted=True)}
            corrected[AS_INTENDED] = {"table": table_of(intended, groups, False), "details": intended}
        return Summary({"table": table, "details": details}, lines, corrected, objects)

    def _by_class(
        self, measured: Mapping[str, Parts], subset: str, categories: Mapping[int, str]
    ) -> dict[int, dict[str, Any]]:
        """Figures of each class over the measured videos."""
        found: dict[int, list[Any]] = {category: [] for category in categories}
        for name in self.sequences():
            if name in measured:
                for category, part in measured[name].get(subset, {}).items():
                    if int(category) in found:
                        found[int(category)].append(part)
        return {category: class_figures(parts) for category, parts in found.items()}

    def _groups(self) -> dict[str, set[str] | None]:
        """Names of the classes of each column of the table; None: all."""
        names = _categories(self._true_files["all"], self._open_world)
        common = set(self._options["common"])
        uncommon = set(self._options["uncommon"]) or set(names) - common
        return {
            "all": None,
            "common": {names[category] for category in names if category in common},
            "uncommon": {names[category] for category in names if category in uncommon},
        }


def class_parts(similarity: VideoSimilarity, category: int, rule: ClassRule) -> dict[str, Any]:
    """What one class in one video gives: HOTA with box and with mask overlap, matches of tracks, counts."""
    tables = ClassTables(similarity, category)
    boxes, masks = tables.judged(tables.boxes, rule), tables.judged(tables.masks, rule)
    true_rows, found_rows = tables.truth_rows, tables.prediction_rows
    if not len(true_rows) and not rule.known_absent:
        found_rows = found_rows[:0]  # nobody looked for the class in this video
    sizes = [
        TrackSizes(tracks.mean_areas()[chosen], tracks.frame_counts()[chosen])
        for tracks, chosen in ((similarity.truth, true_rows), (similarity.prediction, found_rows))
    ]
    overlaps = similarity.track_iou[np.ix_(found_rows, true_rows)]
    return {
        "hota": hota_of_tables(boxes),
        "hota_masks": hota_of_tables(masks),
        "map": matched_tracks(overlaps, similarity.prediction.scores[found_rows], *sizes, rule.exhaustive),
        "count": counts_of(boxes),
    }


def _as_one_class(tracks: VideoTracks) -> VideoTracks:
    return replace(tracks, categories=np.full_like(tracks.categories, ONE_CLASS))


def _categories(file: VideoFile, open_world: bool) -> dict[int, str]:
    """Names of the classes with ground truth anywhere, in the order of their ids."""
    if open_world:
        return {ONE_CLASS: "object"}
    found = set()
    for name, video in file.videos.items():
        where = f"{name} of {file.path}"
        kinds = member(video, "track_category_ids", dict, where)
        try:
            found |= {
                category_of(kinds, track, where)
                for frame in members(video, "segmentations", dict, where)
                for track in frame
            }
        except BrokenSequence as error:
            raise UserError(str(error)) from error
    return {category: file.category_names.get(category, str(category)) for category in sorted(found - DISTRACTORS)}


def _rows(details: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [
        {"class": name, **row["HOTA"], "AP": row["TrackMAP"]["AP_all"]}
        for name, row in details.items()
        if not name.startswith("cls_comb")
    ]

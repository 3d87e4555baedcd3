"""Panoptic quality of pictures, as the panoptic task of COCO scores it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from univs.evaluation.annotations import member, read_json, thing_categories, unique_by
from univs.evaluation.benchmark import Benchmark, BrokenSequence, Parts, Scoring, Summary
from univs.evaluation.metrics.panoptic_matching import MatchedWindows
from univs.evaluation.metrics.panoptic_quality import PanopticQuality
from univs.evaluation.panoptic_layouts import ListedFrame, Reading, find_listing, frame_pair, listed_frame


class PanopticImages(Benchmark):
    """PQ, SQ and RQ."""

    name = "coco-panoptic"
    summary = "panoptic quality of pictures (PQ, SQ, RQ)"
    predictions_layout = (
        "NAME.json (annotations with segments_info) beside the folder NAME of id PNG (R + 256 G + 65536 B)"
    )
    truth_layout = "the same, with categories (isthing) and areas"
    official = "cocodataset/panopticapi, evaluation.py"

    def open(self, predictions: Path, truth: Path, options: Mapping[str, Any]) -> PanopticImagesScoring:
        return PanopticImagesScoring(find_listing(predictions), find_listing(truth))


class PanopticImagesScoring(Scoring):
    """Every picture is a sequence; the second entry of a repeated segment id replaces the first, as officially."""

    each_alone = False

    def __init__(self, predictions: tuple[Path, Path], truth: tuple[Path, Path]) -> None:
        self._predictions, self._truth = predictions, truth

    def __getstate__(self) -> dict[str, Any]:
        return {"_predictions": self._predictions, "_truth": self._truth}

    @cached_property
    def _is_thing(self) -> dict[int, bool]:
        path = self._truth[0]
        return thing_categories(read_json(path, dict), path)

    @cached_property
    def _true_frames(self) -> dict[str, ListedFrame]:
        return _frames(*self._truth)

    @cached_property
    def _predicted_frames(self) -> dict[str, ListedFrame]:
        return _frames(*self._predictions)

    def sequences(self) -> list[str]:
        return list(self._true_frames)

    def own_files(self, sequence: str) -> Sequence[Path]:
        sides = self._true_frames, self._predicted_frames
        return [frames[sequence].picture for frames in sides if sequence in frames]

    def measure(self, sequence: str) -> Parts:
        if sequence not in self._predicted_frames:
            raise BrokenSequence(f"{self._predictions[0]} has no annotation for the picture {sequence}.")
        places = {category: place for place, category in enumerate(self._is_thing)}
        frame = frame_pair(self._true_frames[sequence], self._predicted_frames[sequence], Reading(places, "replace"))
        tables = MatchedWindows([frame], len(places))
        parts = {"sums": PanopticQuality(self._is_thing).sums_of(tables)}
        if not tables.areas_agree:
            parts["counted"] = PanopticQuality(self._is_thing, stated_truth_areas=False).sums_of(tables)
        if tables.several_crowds:
            parts["every_crowd"] = PanopticQuality(self._is_thing).sums_of(tables, every_crowd=True)
        return parts

    def summarise(self, measured: Mapping[str, Parts]) -> Summary:
        metric, counted, forgiving = (PanopticQuality(self._is_thing) for _ in range(3))
        objects = []
        for sequence in self.sequences():
            if sequence in measured:
                parts = measured[sequence]
                sums = parts["sums"]
                metric.merge(sums)
                counted.merge(parts.get("counted", sums))
                forgiving.merge(parts.get("every_crowd", sums))
                objects += [
                    {
                        "sequence": sequence,
                        "category": category,
                        "iou": row[0],
                        "tp": row[1],
                        "fp": row[2],
                        "fn": row[3],
                    }
                    for category, row in zip(self._is_thing, np.asarray(sums)[0].tolist(), strict=True)
                    if sum(row[1:])
                ]
        figures = metric.compute()[1]
        table = [
            (f"{figure.upper()} {group.lower()}", 100 * figures[group][figure])
            for group in ("All", "Things", "Stuff")
            for figure in ("pq", "sq", "rq")
        ]
        corrected = {"truth_areas_counted": counted.compute()[1], "every_crowd_forgives": forgiving.compute()[1]}
        return Summary(figures, table, corrected, objects)


def _frames(path: Path, folder: Path) -> dict[str, ListedFrame]:
    entries = member(read_json(path, dict), "annotations", list, str(path))
    by_id = unique_by(entries, lambda entry: _image_of(entry, path), str(path), "the picture")
    return {name: listed_frame(entry, folder, path) for name, entry in by_id.items()}


def _image_of(entry: Any, path: Path) -> str:
    number = entry.get("image_id") if isinstance(entry, dict) else None
    return number if isinstance(number, str) else str(member(entry, "image_id", int, f"An annotation of {path}"))

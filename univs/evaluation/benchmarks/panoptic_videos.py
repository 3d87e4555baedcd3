"""Video panoptic quality as VIPSeg and Cityscapes-VPS score it, and STQ as it is computed for VIPSeg."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from univs.errors import UserError
from univs.evaluation.annotations import member, read_json, thing_categories, unique_by
from univs.evaluation.benchmark import Benchmark, BrokenSequence, Parts, Scoring, Summary
from univs.evaluation.benchmarks.video_labels import VideoLabels, figures_of_labels
from univs.evaluation.metrics.panoptic_matching import FramePair, MatchedWindows
from univs.evaluation.metrics.panoptic_quality import PanopticQuality, video_quality_figures
from univs.evaluation.panoptic_layouts import (
    ListedFrame,
    Reading,
    empty_prediction,
    find_listing,
    frame_pair,
    frames_by_name,
    listed_frame,
    matching_frames,
)

PAPER_WINDOWS = (1, 2, 4, 6)
GROUPS = ("all", "thing", "stuff")
LAYOUT = "JSON (annotations of videos, each with annotations of frames) beside a folder VIDEO/FRAME.png of id pictures"


class VipSeg(Benchmark):
    """VPQ of both programs in use and STQ."""

    name = "vipseg"
    summary = "video panoptic quality (VPQ over windows of 1, 2, 4, 6, 8 frames) and STQ"
    predictions_layout = f"pred.json and pan_pred/: {LAYOUT}"
    truth_layout = f"panoptic_gt.json and panomasksRGB/: {LAYOUT}; with categories (isthing)"
    official = "MinghanLi/UniVS, eval_vpq_vps.py and eval_stq_vps.py; VIPSeg/VIPSeg-Dataset, eval_vpq_vspw.py"
    options: Mapping[str, Any] = {
        "protocol": "univs",
        "metrics": ["vpq", "stq"],
        "windows": [1, 2, 4, 6, 8],
        "classes": 124,
    }
    option_help: Mapping[str, str] = {
        "protocol": "univs: true areas counted in the picture, stated predicted areas checked; original: true areas "
        "from the list, predicted ones counted (the former also reports the latter's numbers)",
        "metrics": "which to compute: vpq, stq",
        "windows": "frames per window of VPQ; the papers' value is the mean over 1, 2, 4, 6",
        "classes": "number of classes of STQ",
    }

    def open(self, predictions: Path, truth: Path, options: Mapping[str, Any]) -> VipSegScoring:
        if options["protocol"] not in ("univs", "original"):
            raise UserError(f"The protocol {options['protocol']!r} is not known; choose univs or original.")
        unknown = sorted(set(options["metrics"]) - {"vpq", "stq"})
        if unknown or not options["metrics"]:
            raise UserError(f"The metrics {unknown or 'none'} are not known; choose vpq, stq or both.")
        return VipSegScoring(find_listing(predictions), find_listing(truth), options)


class VideoPanopticScoring(Scoring):
    """What the benchmarks of video panoptic quality share: videos of listed frames, and the figures of VPQ."""

    def __init__(self, predictions: tuple[Path, Path], truth: tuple[Path, Path], options: Mapping[str, Any]) -> None:
        self._predictions, self._truth, self._options = predictions, truth, dict(options)

    def __getstate__(self) -> dict[str, Any]:
        return {name: self.__dict__[name] for name in ("_predictions", "_truth", "_options")}

    @property
    def _windows(self) -> tuple[int, ...]:
        return tuple(self._options["windows"])

    @cached_property
    def _is_thing(self) -> dict[int, bool]:
        return thing_categories(self._truth_content, self._truth[0])

    @cached_property
    def _truth_content(self) -> dict[str, Any]:
        return read_json(self._truth[0], dict)

    @cached_property
    def _places(self) -> dict[int, int]:
        return {category: place for place, category in enumerate(self._is_thing)}

    @property
    @abstractmethod
    def _true_videos(self) -> dict[str, dict[str, ListedFrame]]:
        """The frames that the ground truth lists, by video and name."""

    def sequences(self) -> list[str]:
        return list(self._true_videos)

    def _metric(self, stated_truth_areas: bool) -> PanopticQuality:
        return PanopticQuality(self._is_thing, self._windows, stated_truth_areas)

    def _vpq(
        self, measured: Mapping[str, Parts], name: str, with_missing: bool = False, rather: str = ""
    ) -> dict[str, Any]:
        """Figures of the sums that the parts hold under ``name``, or ``rather`` where they have those.

        with_missing: unmeasured videos are misses.
        """
        metric = self._metric(True)
        for sequence in self.sequences():
            if sequence in measured:
                parts = measured[sequence]
                metric.merge(np.asarray(parts.get(rather, parts[name])))
            elif with_missing:
                metric.merge(self._missed(sequence))
        return video_quality_figures(metric.compute())

    def _missed(self, sequence: str) -> np.ndarray:
        frames = [empty_prediction(frame, Reading(self._places)) for frame in self._true_videos[sequence].values()]
        return self._metric(True).sums_of(MatchedWindows(frames, len(self._places)))

    def _corrected(self, measured: Mapping[str, Parts], name: str, figures: Mapping[str, Any]) -> dict[str, Any]:
        """Means over the windows that occur, and, where videos are missing, their tubes counted as missed."""
        occurring = [w for w in self._windows if figures[f"window_{w}"]["All"]["n"]]
        corrected = _means(figures, occurring, "over_occurring_windows")
        forgiving = self._vpq(measured, name, rather="every_crowd")
        corrected |= {f"final_vpq_{group}_every_crowd_forgives": forgiving[f"final_vpq_{group}"] for group in GROUPS}
        if any(sequence not in measured for sequence in self.sequences()):
            whole = self._vpq(measured, name, with_missing=True)
            corrected |= {f"final_vpq_{group}_missing_as_misses": whole[f"final_vpq_{group}"] for group in GROUPS}
        return corrected

    def _objects(self, measured: Mapping[str, Parts], name: str) -> list[dict[str, Any]]:
        """One row per video, window and category that occurs."""
        rows = []
        for sequence in self.sequences():
            if sequence in measured:
                for window, sums in zip(self._windows, np.asarray(measured[sequence][name]).tolist(), strict=True):
                    rows += [
                        {"sequence": sequence, "window": window, "category": category}
                        | dict(zip(("iou", "tp", "fp", "fn"), row, strict=True))
                        for category, row in zip(self._is_thing, sums, strict=True)
                        if sum(row[1:])
                    ]
        return rows


class VipSegScoring(VideoPanopticScoring):
    """Each picture is read once for all numbers."""

    @cached_property
    def _true_videos(self) -> dict[str, dict[str, ListedFrame]]:
        return {name: frames for name, frames in _videos(self._truth_content, *self._truth)}

    @cached_property
    def _predicted_videos(self) -> dict[str, dict[str, ListedFrame]]:
        return {name: frames for name, frames in _videos(read_json(self._predictions[0], dict), *self._predictions)}

    @property
    def _of_univs(self) -> bool:
        return self._options["protocol"] == "univs"

    def own_files(self, sequence: str) -> Sequence[Path]:
        sides = self._true_videos.get(sequence, {}), self._predicted_videos.get(sequence, {})
        return list({frame.picture.parent for frames in sides for frame in frames.values()})

    def measure(self, sequence: str) -> Parts:
        truth = self._true_videos[sequence]
        if sequence not in self._predicted_videos:
            raise BrokenSequence(f"{self._predictions[0]} has no annotations for the video {sequence}.")
        prediction = self._predicted_videos[sequence]
        matching_frames(truth, prediction, self._predictions[0])
        couples = [(frame, prediction[name]) for name, frame in truth.items()]
        parts: Parts = {}
        pairs = None
        if "vpq" in self._options["metrics"]:
            reading = Reading(self._places, areas_checked=self._of_univs)
            frames = [frame_pair(*couple, reading) for couple in couples]
            parts |= self._video_quality(frames)
            pairs = [frame.pairs for frame in frames]
        if "stq" in self._options["metrics"]:
            labels = VideoLabels(self._options["classes"], self._is_thing)
            parts |= labels.measure(couples, pairs, resized=self._of_univs)
        return parts

    def _video_quality(self, frames: Sequence[FramePair]) -> Parts:
        tables = MatchedWindows(frames, len(self._places))
        parts: Parts = {"stated": self._metric(True).sums_of(tables)}
        if self._of_univs:
            counted = parts["stated"] if tables.areas_agree else self._metric(False).sums_of(tables)
            parts["counted"] = counted
        if tables.several_crowds:
            parts["every_crowd"] = self._metric(not self._of_univs).sums_of(tables, every_crowd=True)
        return parts

    def summarise(self, measured: Mapping[str, Parts]) -> Summary:
        figures: dict[str, Any] = {}
        corrected: dict[str, Any] = {}
        table, objects = [], []
        if "vpq" in self._options["metrics"]:
            kept = "counted" if self._of_univs else "stated"
            figures["vpq_vipseg_original"] = vpq = self._vpq(measured, "stated")
            if self._of_univs:
                figures["vpq_univs"] = vpq = self._vpq(measured, "counted")
            table += _vpq_table(vpq, self._windows)
            corrected |= self._corrected(measured, kept, vpq)
            if set(PAPER_WINDOWS) <= set(self._windows):
                figures |= _means(vpq, PAPER_WINDOWS, "windows_1_2_4_6")
                table.append(("VPQ of windows 1, 2, 4, 6", figures["final_vpq_all_windows_1_2_4_6"]))
            objects += self._objects(measured, kept)
        if "stq" in self._options["metrics"]:
            labels = VideoLabels(self._options["classes"], self._is_thing)
            known = [(name, measured[name]) for name in self.sequences() if name in measured]
            figures["stq"] = stq = figures_of_labels(labels, known, first_instance=0)
            corrected["stq_instances_from_1"] = figures_of_labels(labels, known, first_instance=1)
            table += [("STQ", 100 * stq["STQ"]), ("AQ", 100 * stq["AQ"]), ("SQ", 100 * stq["IoU"])]
        return Summary(figures, table, corrected, objects)


class CityscapesVps(Benchmark):
    """VPQ over windows of 1 to 4 labelled frames."""

    name = "cityscapes-vps"
    summary = "video panoptic quality (VPQ over windows of 1, 2, 3, 4 labelled frames)"
    predictions_layout = "pred.json (annotations of frames in the order of their names) and pan_pred/ of id pictures"
    truth_layout = "panoptic_gt_val_city_vps.json (images, annotations, categories) and panoptic_video/ of id pictures"
    official = "mcahny/vps, tools/eval_vpq.py"
    options: Mapping[str, Any] = {"windows": [1, 2, 3, 4], "frames_per_video": 6}
    option_help: Mapping[str, str] = {
        "windows": "labelled frames per window",
        "frames_per_video": "labelled frames of every video; frames of one video follow each other by name",
    }

    def open(self, predictions: Path, truth: Path, options: Mapping[str, Any]) -> CityscapesVpsScoring:
        return CityscapesVpsScoring(find_listing(predictions), find_listing(truth), options)


class CityscapesVpsScoring(VideoPanopticScoring):
    """True areas are those that are stated, as officially."""

    @cached_property
    def _true_videos(self) -> dict[str, dict[str, ListedFrame]]:
        frames = _frames_by_image(self._truth_content, *self._truth)
        ordered = sorted(frames, key=lambda name: frames[name].picture.name)
        size = self._options["frames_per_video"]
        if len(ordered) % size:
            raise UserError(f"{self._truth[0]} has {len(ordered)} frames, which is no multiple of {size} per video.")
        return {
            ordered[at]: {name: frames[name] for name in ordered[at : at + size]} for at in range(0, len(ordered), size)
        }

    @cached_property
    def _predicted(self) -> dict[str, ListedFrame]:
        path = self._predictions[0]
        frames = _frames_by_image(read_json(path, dict), *self._predictions)
        names = [name for name in frames if any(name in video for video in self._true_videos.values())]
        if names != sorted(names):
            late = next(after for before, after in zip(names, names[1:], strict=False) if after < before)
            raise UserError(
                f"{path}: the annotation of {late} comes after a later frame; the official program pairs frames in the "
                "order of the list: sort it by image_id."
            )
        return frames

    def measure(self, sequence: str) -> Parts:
        frames = []
        for name, truth in self._true_videos[sequence].items():
            if name not in self._predicted:
                raise BrokenSequence(f"{self._predictions[0]} has no annotation for the frame {name}.")
            frames.append(frame_pair(truth, self._predicted[name], Reading(self._places)))
        tables = MatchedWindows(frames, len(self._places))
        stated = self._metric(True).sums_of(tables)
        counted = stated if tables.areas_agree else self._metric(False).sums_of(tables)
        parts: Parts = {"stated": stated, "counted": counted}
        if tables.several_crowds:
            parts["every_crowd"] = self._metric(True).sums_of(tables, every_crowd=True)
        return parts

    def summarise(self, measured: Mapping[str, Parts]) -> Summary:
        figures = self._vpq(measured, "stated")
        corrected = self._corrected(measured, "stated", figures)
        corrected["truth_areas_counted"] = self._vpq(measured, "counted")
        return Summary(figures, _vpq_table(figures, self._windows), corrected, self._objects(measured, "stated"))


def _videos(content: Mapping[str, Any], path: Path, folder: Path) -> list[tuple[str, dict[str, ListedFrame]]]:
    where = f"A video of {path}"
    entries = member(content, "annotations", list, str(path))
    by_id = unique_by(entries, lambda entry: member(entry, "video_id", str, where), str(path), "the video")
    return [
        (name, frames_by_name(member(entry, "annotations", list, f"{where} ({name})"), folder / name, path))
        for name, entry in by_id.items()
    ]


def _frames_by_image(content: Mapping[str, Any], path: Path, folder: Path) -> dict[str, ListedFrame]:
    entries = member(content, "annotations", list, str(path))
    where = f"An annotation of {path}"
    by_id = unique_by(entries, lambda entry: member(entry, "image_id", str, where), str(path), "the frame")
    return {name: listed_frame(entry, folder, path) for name, entry in by_id.items()}


def _means(figures: Mapping[str, Any], windows: Sequence[int], suffix: str) -> dict[str, float]:
    names = [f"vpq_{group}" for group in GROUPS]
    values = {name: [figures[f"window_{window}"][name] for window in windows] for name in names}
    return {f"final_{name}_{suffix}": float(np.mean(row)) if row else float("nan") for name, row in values.items()}


def _vpq_table(figures: Mapping[str, Any], windows: Sequence[int]) -> list[tuple[str, float]]:
    table = [("VPQ", figures["final_vpq_all"]), ("VPQ things", figures["final_vpq_thing"])]
    table.append(("VPQ stuff", figures["final_vpq_stuff"]))
    return table + [(f"VPQ{window}", figures[f"window_{window}"]["vpq_all"]) for window in windows]

"""Video instance segmentation as YouTube-VIS and OVIS score it: average precision of tracks."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from univs.errors import UserError
from univs.evaluation.annotations import coded_tracks, crowd_of, member, read_json, unique_by
from univs.evaluation.benchmark import Benchmark, BrokenSequence, Parts, Scoring, Summary
from univs.evaluation.json_layouts import one_json
from univs.evaluation.metrics.coded_tracks import CodedTracks, MalformedMask
from univs.evaluation.metrics.track_average_precision import (
    PredictedTracks,
    TrackAveragePrecision,
    TrueTracks,
    matched_ids,
    matched_video,
    mean_positive,
)


class YouTubeVis(Benchmark):
    """AP, AP50, AP75, AR1, AR10 of tracks, and AP by size."""

    name = "youtube-vis"
    summary = "video instance segmentation (AP, AP50, AP75, APs/m/l, AR1, AR10, AR100)"
    predictions_layout = "results.json: a list of tracks (video_id, category_id, score, segmentations: RLE or null)"
    truth_layout = "instances.json (videos, categories, annotations with segmentations and areas)"
    official = "youtubevos/cocoapi, YTVOSeval"
    options: Mapping[str, Any] = {"strict": False, "details": False}
    option_help: Mapping[str, str] = {
        "strict": "refuse what the official program passes over: masks of another size than their video, categories "
        "that the ground truth does not list, true tracks that share an id",
        "details": "add the IoU of every detection and the matches of every video to the figures",
    }

    def open(self, predictions: Path, truth: Path, options: Mapping[str, Any]) -> YouTubeVisScoring:
        return YouTubeVisScoring(one_json(predictions), one_json(truth), options)


class Ovis(YouTubeVis):
    """The same measures."""

    name = "ovis"


class YouTubeVisScoring(Scoring):
    """A video is a sequence, named by its id."""

    def __init__(self, predictions: Path, truth: Path, options: Mapping[str, Any]) -> None:
        self._predictions, self._truth, self._options = predictions, truth, dict(options)

    def __getstate__(self) -> dict[str, Any]:
        return {name: self.__dict__[name] for name in ("_predictions", "_truth", "_options")}

    @cached_property
    def _content(self) -> dict[str, Any]:
        return read_json(self._truth, dict)

    @cached_property
    def _categories(self) -> list[int]:
        entries = member(self._content, "categories", list, str(self._truth))
        where = f"A category of {self._truth}"
        return sorted(unique_by(entries, lambda entry: member(entry, "id", int, where), str(self._truth), "category"))

    @cached_property
    def _videos(self) -> dict[int, dict[str, Any]]:
        entries = member(self._content, "videos", list, str(self._truth))
        where = f"A video of {self._truth}"
        videos = unique_by(entries, lambda entry: member(entry, "id", int, where), str(self._truth), "video")
        return {number: videos[number] for number in sorted(videos)}

    @cached_property
    def _true_tracks(self) -> dict[int, list[dict[str, Any]]]:
        """Annotations by video. Officially, of two with one id the later one stands in both places."""
        path = self._truth
        entries = member(self._content, "annotations", list, str(path))
        by_id: dict[int, dict[str, Any]] = {}
        for entry in entries:
            number = member(entry, "id", int, f"An annotation of {path}")
            if number in by_id and self._options["strict"]:
                raise UserError(f"{path} has the annotation id {number} twice.")
            by_id[number] = entry
        tracks = defaultdict(list)
        known = set(self._categories)
        for entry in entries:
            kept = by_id[entry["id"]]
            at = f"Annotation {kept['id']} of {path}"
            category = member(kept, "category_id", int, at)
            if category in known:
                tracks[member(kept, "video_id", int, at)].append(kept)
            elif self._options["strict"]:
                raise UserError(f"{at} has the category {category}, which is not listed.")
        return tracks

    @cached_property
    def _predicted_tracks(self) -> dict[int, list[tuple[int, dict[str, Any]]]]:
        """Tracks by video, with their places in the file, from 1."""
        path = self._predictions
        entries = read_json(path, list)
        if not entries:
            raise UserError(f"{path} holds no track at all; the official program cannot score an empty list.")
        tracks = defaultdict(list)
        known = set(self._categories)
        for number, entry in enumerate(entries, 1):
            at = f"Track {number} of {path}"
            video, category = member(entry, "video_id", int, at), member(entry, "category_id", int, at)
            if video not in self._videos:
                raise UserError(f"{at} is of the video {video}, which the ground truth does not have.")
            member(entry, "score", float, at)
            if category in known:
                tracks[video].append((number, entry))
            elif self._options["strict"]:
                raise UserError(f"{at} has the category {category}, which the ground truth does not list.")
        return tracks

    def sequences(self) -> list[str]:
        return [str(number) for number in self._videos]

    def measure(self, sequence: str) -> Parts:
        video = int(sequence)
        truth = self._true_tracks.get(video, [])
        numbered = self._predicted_tracks.get(video, [])
        names = [f"Annotation {entry['id']} of {self._truth}" for entry in truth]
        names += [f"Track {number} of {self._predictions}" for number, _ in numbered]
        masks = self._masks(video, [*truth, *(entry for _, entry in numbered)], names)
        true_masks, predicted_masks = masks.parted(len(truth))
        parts, ious = matched_video(self._truth_of(truth, true_masks), _prediction_of(numbered, predicted_masks))
        return {**parts, "ious": ious} if self._options["details"] else parts

    def _truth_of(self, entries: Sequence[dict[str, Any]], masks: CodedTracks) -> TrueTracks:
        areas = [member(entry, "areas", list, f"Annotation {entry['id']} of {self._truth}") for entry in entries]
        frames = max(map(len, areas), default=0)
        table = np.zeros((len(entries), frames))
        for entry, row, values in zip(entries, table, areas, strict=True):
            try:
                row[: len(values)] = [value or 0 for value in values]
            except (TypeError, ValueError, OverflowError) as error:
                at = f"Annotation {entry['id']} of {self._truth}"
                raise BrokenSequence(f"{at} has areas that are neither null nor numbers ({error}).") from error
        return TrueTracks(
            np.array([entry["id"] for entry in entries], np.int64),
            np.array([entry["category_id"] for entry in entries], np.int64),
            np.array([crowd_of(entry, f"Annotation {entry['id']} of {self._truth}") for entry in entries], bool),
            mean_positive(table),
            masks,
        )

    def _masks(self, video: int, entries: Sequence[dict[str, Any]], ats: Sequence[str]) -> CodedTracks:
        about = self._videos[video]
        tracks = [member(entry, "segmentations", list, at) for entry, at in zip(entries, ats, strict=True)]
        try:
            coded = CodedTracks.of(tracks)
        except MalformedMask:  # or in another of the forms that the official program reads
            coded = coded_tracks([[_compressed(mask, about) for mask in track] for track in tracks], ats)
        if self._options["strict"]:
            height, width = about.get("height"), about.get("width")
            for place in np.flatnonzero((coded.heights != height) | (coded.widths != width)):
                raise BrokenSequence(
                    f"{ats[coded.rows[place]]}, frame {coded.frames[place]}: its mask is of {coded.heights[place]} x "
                    f"{coded.widths[place]} pixels; the video has {height} x {width}."
                )
        return coded

    def summarise(self, measured: Mapping[str, Parts]) -> Summary:
        metric = TrackAveragePrecision(self._categories)
        for sequence in self.sequences():
            if sequence in measured:
                metric.merge({int(sequence): _as_arrays(measured[sequence])})
        figures = metric.compute()
        objects = [{"category": category, **_numbers(row)} for category, row in figures["per_category"].items()]
        corrected: dict[str, Any] = {}
        if any((video["truth_ids"] == 0).any() for video in metric.state.values()):
            corrected["stats_id_zero_matches"] = metric.compute(id_zero_matches=True)["stats"]
        if self._options["details"]:
            figures |= _details(metric.state, self._categories)
        table = [(name, 100 * value if value > -1 else value) for name, value in figures["stats"].items()]
        return Summary(figures, table, corrected, objects)


def _prediction_of(numbered: Sequence[tuple[int, dict[str, Any]]], masks: CodedTracks) -> PredictedTracks:
    return PredictedTracks(
        np.array([number for number, _ in numbered], np.int64),
        np.array([entry["category_id"] for _, entry in numbered], np.int64),
        np.array([entry["score"] for _, entry in numbered], np.float64),
        masks,
    )


def _compressed(mask: Any, video: Mapping[str, Any]) -> Any:
    """A list of runs or polygons as a compressed code; anything else, and what cannot be one, as it is."""
    try:
        if isinstance(mask, dict) and isinstance(mask.get("counts"), list):
            coded = coco_mask.frPyObjects(mask, *mask["size"])
        elif isinstance(mask, list) and mask:
            coded = coco_mask.merge(coco_mask.frPyObjects(mask, video["height"], video["width"]))
        else:
            return mask
    except Exception:  # pycocotools has no error of its own for malformed masks
        return mask
    return {"size": list(coded["size"]), "counts": coded["counts"].decode()}


def _as_arrays(parts: Parts) -> dict[str, np.ndarray]:
    return {name: np.asarray(value) for name, value in parts.items()}


def _numbers(row: Mapping[str, Any]) -> dict[str, float]:
    return {name: value for name, value in row.items() if isinstance(value, float)}


def _details(state: Mapping[int, Mapping[str, np.ndarray]], categories: Sequence[int]) -> dict[str, Any]:
    """IoU of detections in order of score with true tracks in order of the file, and matches without area ranges."""
    overlaps: dict[str, list[list[float]]] = {}
    matches: list[dict[str, Any]] = []
    for category in categories:
        for video in sorted(state):
            part = state[video]
            rows = np.flatnonzero(part["categories"] == category)
            columns = np.flatnonzero(part["truth_categories"] == category)
            if len(rows):
                overlaps[f"video {video} class {category}"] = part["ious"][np.ix_(rows, columns)].tolist()
            if len(rows) or len(columns):
                matches.append({"video": video, "category": category, **_match_details(part, rows, columns)})
    return {"track_iou_sorted_by_score": overlaps, "matches_area_all": matches}


def _match_details(part: Mapping[str, np.ndarray], rows: np.ndarray, columns: np.ndarray) -> dict[str, list[int]]:
    ids, ignored = (table[0][:, rows] for table in matched_ids(part))
    of_truth = part["truth_ignored"][0, columns]
    order = np.argsort(of_truth, kind="stable")
    return {
        "dt_ids": part["ids"][rows].tolist(),
        "gt_ids": part["truth_ids"][columns][order].tolist(),
        "gt_ignore": of_truth[order].astype(int).tolist(),
        "dt_match_iou50": ids[0].tolist(),
        "dt_ignore_iou50": ignored[0].astype(int).tolist(),
        "dt_match_iou75": ids[5].tolist(),
    }

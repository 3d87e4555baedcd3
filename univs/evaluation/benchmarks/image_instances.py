"""Masks of objects in pictures: average precision as COCO and LVIS score it, through pycocotools and lvis."""

from __future__ import annotations

from abc import abstractmethod
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from univs.errors import UserError
from univs.evaluation.annotations import coded_tracks, crowd_of, member, members, read_json, unique_by
from univs.evaluation.benchmark import Benchmark, Parts, Scoring, Summary
from univs.evaluation.benchmarks.lvis_pictures import lvis_matches
from univs.evaluation.coded_masks import check_outline
from univs.evaluation.json_layouts import one_json
from univs.evaluation.metrics.average_precision import mean_of_known
from univs.evaluation.metrics.detection_average_precision import (
    AREAS,
    DetectionAveragePrecision,
    coco_matches,
    detection_figures,
)

RESULTS = "results.json: a list of detections (image_id, category_id, score, segmentation: RLE)"
SIZES = [(place, name[0]) for place, name in enumerate(AREAS) if place]
GROUPS = {"r": "APr", "c": "APc", "f": "APf"}


class CocoInstances(Benchmark):
    """AP, AP50, AP75, AP by size and AR of masks."""

    name = "coco-instance"
    summary = "masks of objects in pictures (AP, AP50, AP75, APs/m/l, AR1, AR10, AR100)"
    predictions_layout = RESULTS
    truth_layout = "instances.json (images, annotations, categories)"
    official = "cocodataset/cocoapi, COCOeval (pycocotools)"

    def open(self, predictions: Path, truth: Path, options: Mapping[str, Any]) -> InstancesScoring:
        return CocoScoring(one_json(predictions), one_json(truth))


class LvisInstances(Benchmark):
    """AP of masks over all, rare, common and frequent categories."""

    name = "lvis"
    summary = "masks of objects in pictures of many categories (AP, AP50, AP75, APs/m/l, APr/c/f, AR)"
    predictions_layout = RESULTS
    truth_layout = "lvis_v1_val.json (images with neg_category_ids and not_exhaustive_category_ids, categories)"
    official = "lvis-dataset/lvis-api, LVISEval"

    def open(self, predictions: Path, truth: Path, options: Mapping[str, Any]) -> InstancesScoring:
        return LvisScoring(one_json(predictions), one_json(truth))


class InstancesScoring(Scoring):
    """A picture is a sequence, named by its id."""

    each_alone = False

    def __init__(self, predictions: Path, truth: Path) -> None:
        self._predictions, self._truth = predictions, truth

    def __getstate__(self) -> dict[str, Any]:
        return {"_predictions": self._predictions, "_truth": self._truth}

    @cached_property
    def _content(self) -> dict[str, Any]:
        return read_json(self._truth, dict)

    def _by_id(self, table: str, what: str) -> dict[int, dict[str, Any]]:
        entries = member(self._content, table, list, str(self._truth))
        where = f"{what} of {self._truth}"
        found = unique_by(entries, lambda entry: member(entry, "id", int, where), str(self._truth), what)
        if not found and table != "annotations":
            raise UserError(f"{self._truth} lists no {table}.")
        return {number: found[number] for number in sorted(found)}

    @cached_property
    def _pictures(self) -> dict[int, dict[str, Any]]:
        return self._by_id("images", "the picture")

    @cached_property
    def _categories(self) -> dict[int, dict[str, Any]]:
        return self._by_id("categories", "the category")

    @cached_property
    def _annotations(self) -> dict[int, list[dict[str, Any]]]:
        found = defaultdict(list)
        for number, entry in self._by_id("annotations", "the annotation").items():
            at = f"Annotation {number} of {self._truth}"
            if member(entry, "category_id", int, at) in self._categories:
                found[member(entry, "image_id", int, at)].append(entry)
        return found

    @cached_property
    def _detections(self) -> dict[int, list[tuple[int, dict[str, Any]]]]:
        """Detections by picture, with their places in the file, from 1."""
        found = defaultdict(list)
        for number, entry in enumerate(read_json(self._predictions, list), 1):
            at = f"Detection {number} of {self._predictions}"
            picture = member(entry, "image_id", int, at)
            if picture not in self._pictures:
                raise UserError(f"{at} is of the picture {picture}, which the ground truth does not have.")
            member(entry, "score", float, at)
            if member(entry, "category_id", int, at) in self._categories:
                found[picture].append((number, entry))
        return found

    def sequences(self) -> list[str]:
        return [str(number) for number in self._pictures]

    def measure(self, sequence: str) -> Parts:
        picture = self._pictures[int(sequence)]
        numbered = self._detections.get(int(sequence), [])
        names = [f"Detection {number} of {self._predictions}" for number, _ in numbered]
        codes = coded_tracks([[entry.get("segmentation")] for _, entry in numbered], names)
        masks = dict(zip(codes.rows.tolist(), codes.areas.tolist(), strict=True))
        if len(masks) < len(numbered):
            missing = next(place for place in range(len(numbered)) if place not in masks)
            raise UserError(f"{names[missing]} has no segmentation; a run-length code is expected.")
        boxes = [_box_of(entry, name) for (_, entry), name in zip(numbered, names, strict=True)]
        detections = [
            _detection(number, entry, masks[place], boxes[place]) for place, (number, entry) in enumerate(numbered)
        ]
        truth = [self._checked(entry) for entry in self._annotations.get(int(sequence), [])]
        for side in ("height", "width"):
            member(picture, side, int, f"Picture {sequence} of {self._truth}")
        parts: Parts = {"as_given": self._matches(picture, truth, detections)}
        if any("bbox" in entry for _, entry in numbered):
            boxless = [{name: value for name, value in one.items() if name != "bbox"} for one in detections]
            of_masks = [{**one, "area": masks[place]} for place, one in enumerate(boxless)]
            parts["mask_areas"] = self._matches(picture, truth, of_masks)
        if any(entry["id"] == 0 for entry in truth):
            from_one = [{**entry, "id": number} for number, entry in enumerate(truth, 1)]
            parts["id_zero_matches"] = self._matches(picture, from_one, detections)
        return parts

    def _checked(self, entry: dict[str, Any]) -> dict[str, Any]:
        """An annotation of which the official programs can make a mask."""
        at = f"Annotation {entry['id']} of {self._truth}"
        member(entry, "area", float, at)
        check_outline(entry.get("segmentation"), f"The segmentation of {at[0].lower()}{at[1:]}")
        return {**entry, "iscrowd": crowd_of(entry, at)}

    @abstractmethod
    def _matches(
        self, picture: dict[str, Any], truth: Sequence[dict[str, Any]], detections: Sequence[dict[str, Any]]
    ) -> dict[str, np.ndarray]:
        """What the metric needs of one picture."""

    def _metric(self, measured: Mapping[str, Parts], which: str) -> DetectionAveragePrecision:
        metric = self._empty_metric()
        for sequence in self.sequences():
            if sequence in measured:
                parts = measured[sequence]
                part = parts.get(which, parts["as_given"])
                metric.update(int(sequence), {name: np.asarray(value) for name, value in part.items()})
        return metric

    @abstractmethod
    def _empty_metric(self) -> DetectionAveragePrecision:
        """A metric that has seen no picture."""

    @abstractmethod
    def _figures(self, metric: DetectionAveragePrecision) -> dict[str, float]:
        """The table of a metric."""

    def summarise(self, measured: Mapping[str, Parts]) -> Summary:
        metric = self._metric(measured, "as_given")
        stats = self._figures(metric)
        objects = [
            {"category": category, "name": self._categories[category].get("name", ""), "AP": _percent(curve)}
            for category, (curve, _) in metric.curves().items()
        ]
        corrected = {}
        for which in ("mask_areas", "id_zero_matches"):
            if any(which in measured[name] for name in self.sequences() if name in measured):
                corrected[f"stats_{which}"] = self._figures(self._metric(measured, which))
        table = [(name, 100 * value if value > -1 else value) for name, value in stats.items()]
        return Summary({"stats": stats, "per_category": objects}, table, corrected, objects)


class CocoScoring(InstancesScoring):
    """The area of a detection with a box is the box's, as in pycocotools; by the mask beside it."""

    def _matches(
        self, picture: dict[str, Any], truth: Sequence[dict[str, Any]], detections: Sequence[dict[str, Any]]
    ) -> dict[str, np.ndarray]:
        return coco_matches(picture, truth, detections)

    def _empty_metric(self) -> DetectionAveragePrecision:
        return DetectionAveragePrecision(list(self._categories))

    def _figures(self, metric: DetectionAveragePrecision) -> dict[str, float]:
        figures, recall = detection_figures(metric.curves().values())
        figures |= {f"AR{most}": mean_of_known(recall[:, place, 0]) for place, most in enumerate(metric.most)}
        return figures | {
            f"AR{name[0]}": mean_of_known(recall[:, -1, place]) for place, name in enumerate(AREAS) if place
        }


class LvisScoring(InstancesScoring):
    """Only categories that are known to be in a picture or not are scored there."""

    def _matches(
        self, picture: dict[str, Any], truth: Sequence[dict[str, Any]], detections: Sequence[dict[str, Any]]
    ) -> dict[str, np.ndarray]:
        at = f"Picture {picture['id']} of {self._truth}"
        for name in ("neg_category_ids", "not_exhaustive_category_ids"):
            members(picture, name, int, at)
        if len({"bbox" in detection for detection in detections}) > 1:
            raise UserError(
                f"{at} has detections with bbox and without in {self._predictions}; give all a box or none."
            )
        return lvis_matches(picture, truth, detections, list(self._categories.values()))

    @cached_property
    def _categories(self) -> dict[int, dict[str, Any]]:
        found = self._by_id("categories", "the category")
        for number, entry in found.items():
            if entry.get("frequency") not in list(GROUPS):
                raise UserError(
                    f"Category {number} of {self._truth} has the frequency {entry.get('frequency')!r}; r (rare), "
                    "c (common) or f (frequent) is expected."
                )
        return found

    def _empty_metric(self) -> DetectionAveragePrecision:
        return DetectionAveragePrecision(list(self._categories), most=(None,))

    def _figures(self, metric: DetectionAveragePrecision) -> dict[str, float]:
        curves = metric.curves()
        figures, recall = detection_figures(curves.values())
        for group, name in GROUPS.items():
            chosen = [
                curves[number][0].precision[0] for number, one in self._categories.items() if one["frequency"] == group
            ]
            figures[name] = mean_of_known(np.array(chosen))
        figures["AR@300"] = mean_of_known(recall[:, 0, 0])
        return figures | {
            f"AR{name[0]}@300": mean_of_known(recall[:, 0, place]) for place, name in enumerate(AREAS) if place
        }


def _box_of(entry: Mapping[str, Any], where: str) -> list[float]:
    """The box [x, y, width, height] of a detection; empty where it has none."""
    box = members(entry, "bbox", float, where) if entry.get("bbox") is not None else []
    if len(box) not in (0, 4):
        raise UserError(f"{where} has a bbox of {len(box)} numbers; [x, y, width, height] is expected.")
    return box


def _detection(number: int, entry: Mapping[str, Any], pixels: int, box: Sequence[float]) -> dict[str, Any]:
    given = {"area": box[2] * box[3], "bbox": box} if box else {"area": pixels}
    kept = {name: entry[name] for name in ("image_id", "category_id", "score", "segmentation")}
    return {**kept, **given, "id": number, "iscrowd": 0}


def _percent(curve: Any) -> float:
    value = mean_of_known(curve.precision[0])
    return 100 * value if value > -1 else value

"""Single frames segmented from a sentence: precision at IoU thresholds, overall and mean IoU, and COCO's AP."""

from __future__ import annotations

import contextlib
import io
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from pycocotools import mask as mask_codes
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from univs.evaluation.metrics.object_series import mean
from univs.evaluation.metrics.records import Records

THRESHOLDS = (0.5, 0.6, 0.7, 0.8, 0.9)
SMOOTHING = 1e-6
AP_NAMES = ("mAP 0.5:0.95", "AP 0.5", "AP 0.75", "AP 0.5:0.95 S", "AP 0.5:0.95 M", "AP 0.5:0.95 L")
CATEGORY = 1


class SentenceFrames(Records[dict[str, Any]]):
    """One true mask and scored candidates per image.

    For P@K and IoU the candidate with the highest score counts, the last one of the file among equals. IoU is taken in
    32-bit floats with 1e-6 added to both of its parts, so two empty masks have 1; P@K asks for more than K.
    """

    def update(
        self,
        image: int | str,
        size: tuple[int, int],
        truth: Sequence[Mapping[str, Any]],
        candidates: Sequence[Mapping[str, Any]],
    ) -> None:
        """Add an image; each id counts once.

        Args:
            image: its id in the annotation file.
            size: (height, width).
            truth: its annotations, with ``id``, ``area``, ``iscrowd`` and a run-length ``segmentation``; P@K and IoU
                look at the first.
            candidates: with ``score`` and a run-length ``segmentation``, in the order of the file.
        """
        kept = {"id", "area", "iscrowd", "segmentation"}
        self._add(
            str(image),
            {
                "image": image,
                "size": [int(side) for side in size],
                "truth": [{name: entry[name] for name in kept if name in entry} for entry in truth],
                "candidates": [{name: entry[name] for name in ("score", "segmentation")} for entry in candidates],
            },
        )

    def compute(self) -> dict[str, Any]:
        """AP by COCO's names, P@K, overall_iou, mean_iou and [IoU, intersection, union] per image.

        P@K and IoU are NaN where an image has no candidate; the official program stops there.
        """
        best = {name: _best_overlap(record) for name, record in self._ordered()}
        overlaps = [row for row in best.values() if row is not None]
        whole = len(overlaps) == len(best)
        ious = [row[0] for row in overlaps]
        common, union = (sum(row[place] for row in overlaps) for place in (1, 2))
        precision = {f"P@{k}": mean([iou > k for iou in ious]) if whole else math.nan for k in THRESHOLDS}
        return {
            **self.average_precision(),
            **precision,
            "overall_iou": common / union if whole and union else math.nan,
            "mean_iou": mean(ious) if whole else math.nan,
            "per_image_iou_intersection_union": {name: row for name, row in best.items() if row is not None},
        }

    def average_precision(self, first_id: int | None = None) -> dict[str, float]:
        """AP of COCOeval with one category for all sentences.

        COCOeval takes a match with the annotation id 0 for none; with ``first_id`` annotations are numbered anew.
        """
        records = [record for _, record in self._ordered()]
        images = [{"id": own["image"], "height": own["size"][0], "width": own["size"][1]} for own in records]
        truth = [{**entry, "image_id": own["image"]} for own in records for entry in own["truth"]]
        found = [{**entry, "image_id": own["image"]} for own in records for entry in own["candidates"]]
        for number, entry in enumerate(truth):
            entry.setdefault("iscrowd", 0)
            entry["category_id"] = CATEGORY
            entry["id"] = entry["id"] if first_id is None else first_id + number
        for number, entry in enumerate(found, 1):
            area = int(mask_codes.area(entry["segmentation"]))
            entry |= {"id": number, "category_id": CATEGORY, "area": area, "iscrowd": 0}
        return dict(zip(AP_NAMES, _coco_stats(images, truth, found), strict=True))


def _best_overlap(record: Mapping[str, Any]) -> list[float] | None:
    """IoU, intersection and union of the true mask and the best candidate; None without one."""
    candidates = record["candidates"]
    if not candidates:
        return None
    best = max(enumerate(candidates), key=lambda pair: (pair[1]["score"], pair[0]))[1]["segmentation"]
    pair = [best, record["truth"][0]["segmentation"]]
    common, union = (np.float32(mask_codes.area(mask_codes.merge(pair, intersect=inside))) for inside in (True, False))
    smoothing = np.float32(SMOOTHING)
    return [float((common + smoothing) / (union + smoothing)), float(common), float(union)]


def _coco_stats(images: list[dict], truth: list[dict], found: list[dict]) -> list[float]:
    """AP, AP50, AP75 and AP by area of COCOeval; it prints its table, which nobody asked for here."""
    with contextlib.redirect_stdout(io.StringIO()):
        sides = [_coco(images, annotations) for annotations in (truth, found)]
        evaluation = COCOeval(*sides, iouType="segm")
        evaluation.params.useCats = 0
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return [float(value) for value in evaluation.stats[: len(AP_NAMES)]]


def _coco(images: list[dict], annotations: list[dict]) -> COCO:
    side = COCO()
    side.dataset = {"images": images, "annotations": annotations, "categories": [{"id": CATEGORY, "name": "object"}]}
    side.createIndex()
    return side

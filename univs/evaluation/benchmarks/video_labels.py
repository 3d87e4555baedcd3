"""STQ of listed panoptic videos: the labels that segments get, as the STQ programs of VIPSeg paint them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from univs.errors import UserError
from univs.evaluation.annotations import member
from univs.evaluation.benchmark import BrokenSequence, Parts
from univs.evaluation.label_pictures import read_segment_map
from univs.evaluation.metrics.pixel_counts import PairCounts, counted_pairs, joined_pairs, pair_counts
from univs.evaluation.metrics.segmentation_tracking_quality import LabelFormat, SegmentationTrackingQuality
from univs.evaluation.panoptic_layouts import ListedFrame

BITS = 16
NOWHERE = 255
"""Class and instance of pixels that no segment covers."""
UNLISTED = (NOWHERE << BITS) + NOWHERE


class VideoLabels:
    """Labels class * 2^16 + instance of a video's segments.

    Instances are numbered from 0 in the order in which ids are first listed, stuff and things together. The instance 0
    of a true thing is a crowd to STQ: with a thing listed first, the official program leaves it out.
    """

    def __init__(self, classes: int, is_thing: Mapping[int, bool]) -> None:
        things = [category for category, thing in is_thing.items() if thing]
        self.format = LabelFormat(classes, things, ignore_label=NOWHERE, bits=BITS, offset=1 << 24)

    def measure(
        self, couples: Sequence[tuple[ListedFrame, ListedFrame]], pairs: Sequence[PairCounts] | None, resized: bool
    ) -> Parts:
        """Counts of label pairs over a video. ``pairs``: the id pairs of each frame where they are known.

        Raises:
            BrokenSequence: damaged files, sizes that differ unless ``resized``, or a class beyond the classes.
        """
        if pairs is None:
            pairs = [_id_pairs(truth, prediction, resized) for truth, prediction in couples]
        numbers: tuple[dict[int, int], dict[int, int]] = ({}, {})
        labelled = []
        for couple, found in zip(couples, pairs, strict=True):
            sides = zip(couple, numbers, (found.first, found.second), strict=True)
            labelled.append(counted_pairs(*(_labels(*side) for side in sides), found.counts))
        video = joined_pairs(labelled)
        for labels, frame in ((video.first, couples[0][0]), (video.second, couples[0][1])):
            try:
                self.format.classes(labels)
            except ValueError as error:
                raise BrokenSequence(f"The video of {frame.where}: {error}.") from error
        return {"first": video.first, "second": video.second, "counts": video.counts, "frames": len(couples)}


def _id_pairs(truth: ListedFrame, prediction: ListedFrame, resized: bool) -> PairCounts:
    true = read_segment_map(truth.picture)
    predicted = read_segment_map(prediction.picture, None if resized else true.shape[:2])
    if predicted.shape != true.shape:
        height, width = predicted.shape[:2]
        true = np.asarray(Image.fromarray(true).resize((width, height), Image.Resampling.NEAREST))
    return pair_counts(true, predicted)


def _labels(frame: ListedFrame, numbers: dict[int, int], ids: np.ndarray) -> np.ndarray:
    """Labels of ids in a frame; of several entries of an id the last one's class counts."""
    classes: dict[int, int] = {}
    for entry in frame.entries:
        try:
            number = member(entry, "id", int, f"A segment of {frame.where}")
            category = member(entry, "category_id", int, f"Segment {number} of {frame.where}")
        except UserError as error:
            raise BrokenSequence(str(error)) from error
        numbers.setdefault(number, len(numbers))
        classes[number] = category
    labels = [(classes[i] << BITS) + numbers[i] if i in classes else UNLISTED for i in ids.tolist()]
    return np.array(labels, np.int64)


def figures_of_labels(
    labels: VideoLabels, measured: Sequence[tuple[str, Mapping[str, Any]]], first_instance: int
) -> dict[str, Any]:
    """STQ over measured videos, with instances numbered from ``first_instance``."""
    metric = SegmentationTrackingQuality(labels.format)
    for number, (_, parts) in enumerate(measured):
        columns = [np.asarray(parts[name]) for name in ("first", "second")]
        columns = [np.where(column == UNLISTED, column, column + first_instance) for column in columns]
        metric.update(number, PairCounts(*columns, np.asarray(parts["counts"])), parts["frames"])
    return metric.compute()

"""Similarity of the objects of a video's frames, and which of them a class is scored on."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from univs.evaluation.burst_videos import VideoTracks
from univs.evaluation.metrics.coded_tracks import overlaps_from, shared_pixels
from univs.evaluation.metrics.hota import EPSILON, TrackedFrame, assigned

SURE_MATCH = 0.5


@dataclass(frozen=True)
class FrameObjects:
    """The objects of one class in a frame: places [G] and [D] of their masks."""

    truth: np.ndarray
    prediction: np.ndarray


class VideoSimilarity:
    """IoU of the boxes and of the masks of a video's objects, within classes."""

    def __init__(self, truth: VideoTracks, prediction: VideoTracks) -> None:
        self.truth, self.prediction = truth, prediction
        pairs = shared_pixels(prediction.masks, truth.masks, (prediction.categories, truth.categories))
        self.track_iou = overlaps_from(prediction.masks, truth.masks, pairs)
        self._mask_iou = {}
        predicted, true, pixels = pairs
        union = prediction.masks.areas[predicted] + truth.masks.areas[true] - pixels
        keys = zip(true.tolist(), predicted.tolist(), strict=True)
        self._mask_iou = dict(zip(keys, (pixels / union).tolist(), strict=True))

    def frames(self, category: int) -> list[FrameObjects]:
        """The frames in which the class is annotated or predicted."""
        found: dict[int, tuple[list[int], list[int]]] = defaultdict(lambda: ([], []))
        for side, tracks in enumerate((self.truth, self.prediction)):
            places = np.flatnonzero(tracks.categories[tracks.masks.rows] == category)
            for place, frame in zip(places.tolist(), tracks.masks.frames[places].tolist(), strict=True):
                found[frame][side].append(place)
        return [FrameObjects(*(np.array(side, np.int64) for side in found[frame])) for frame in sorted(found)]

    def of_boxes(self, objects: FrameObjects) -> np.ndarray:
        """IoU [G, D] of the boxes of the masks."""
        return box_overlaps(self.truth.boxes[objects.truth], self.prediction.boxes[objects.prediction])

    def of_masks(self, objects: FrameObjects) -> np.ndarray:
        """IoU [G, D] of the masks."""
        table = [[self._mask_iou.get((i, j), 0.0) for j in objects.prediction.tolist()] for i in objects.truth.tolist()]
        return np.array(table, np.float64).reshape(len(objects.truth), len(objects.prediction))


def box_overlaps(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """IoU [N, M] of boxes [N, 4] and [M, 4] (x, y, width, height); an empty box overlaps nothing."""
    start = np.maximum(first[:, None, :2], second[None, :, :2])
    end = np.minimum((first[:, :2] + first[:, 2:])[:, None], (second[:, :2] + second[:, 2:])[None])
    sides = np.maximum(end - start, 0)
    shared = sides[..., 0] * sides[..., 1]
    areas = first[:, 2] * first[:, 3], second[:, 2] * second[:, 3]
    union = areas[0][:, None] + areas[1][None] - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > EPSILON)


@dataclass(frozen=True)
class ClassRule:
    """How a class is annotated in a video.

    known_absent: the video was searched for the class; objects of it in a frame without any are false. exhaustive:
    every object of it is annotated. guided: predictions that cannot be judged are removed frame by frame.
    """

    known_absent: bool
    exhaustive: bool
    guided: bool = True


def scored_frames(
    objects: Sequence[FrameObjects],
    similarities: Sequence[np.ndarray],
    rows: tuple[np.ndarray, np.ndarray],
    rule: ClassRule,
) -> list[TrackedFrame]:
    """The frames without the predictions that cannot be judged.

    Args:
        similarities: [G, D] of each frame.
        rows: the track of every mask of ground truth and prediction, [K] each.
    """
    kept = []
    for frame, similarity in zip(objects, similarities, strict=True):
        judged = _judged(similarity, rule) if rule.guided else np.ones(similarity.shape[1], bool)
        truth, tracker = rows[0][frame.truth], rows[1][frame.prediction[judged]]
        if len(truth) or len(tracker):
            kept.append(TrackedFrame(truth, tracker, similarity[:, judged]))
    return kept


def _judged(similarity: np.ndarray, rule: ClassRule) -> np.ndarray:
    """Which predictions [D] of a frame count."""
    truths, predictions = similarity.shape
    if not truths and not rule.known_absent:
        return np.zeros(predictions, bool)
    if rule.exhaustive:
        return np.ones(predictions, bool)
    matched = np.zeros(predictions, bool)
    if truths and predictions:
        sure = np.where(similarity < SURE_MATCH - EPSILON, 0, similarity)
        rows, columns = assigned(sure)
        matched[columns[sure[rows, columns] > EPSILON]] = True
    return matched


def counts_of(frames: Sequence[TrackedFrame]) -> Mapping[str, int]:
    """Numbers of predicted and true objects and tracks."""
    truth = np.concatenate([np.zeros(0, np.int64), *(frame.truth for frame in frames)])
    tracker = np.concatenate([np.zeros(0, np.int64), *(frame.tracker for frame in frames)])
    ids = len(np.unique(tracker)), len(np.unique(truth))
    return {"Dets": len(tracker), "GT_Dets": len(truth), "IDs": ids[0], "GT_IDs": ids[1]}

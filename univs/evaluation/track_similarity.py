"""Similarity of the objects of a video's frames, and which of them a class is scored on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from univs.evaluation.burst_videos import VideoTracks
from univs.evaluation.metrics.coded_tracks import overlaps_from, shared_pixels
from univs.evaluation.metrics.hota import EPSILON, TrackedTables, assigned

SURE_MATCH = 0.5


@dataclass(frozen=True)
class ClassRule:
    """How a class is annotated in a video.

    known_absent: the video was searched for the class; objects of it in a frame without any are false. exhaustive:
    every object of it is annotated. guided: predictions that cannot be judged are removed frame by frame.
    """

    known_absent: bool
    exhaustive: bool
    guided: bool = True


class ClassTables:
    """The tracks of one class in a video of T frames: ``truth_rows`` [N] and ``prediction_rows`` [M] among all tracks,
    where they are, and the IoU of their ``boxes`` and ``masks``, [T, N, M] both."""

    def __init__(self, video: VideoSimilarity, category: int) -> None:
        self.truth_rows = np.flatnonzero(video.truth.categories == category)
        self.prediction_rows = np.flatnonzero(video.prediction.categories == category)
        self.truth, true_boxes = _boxes_by_frame(video.truth, self.truth_rows)
        self.prediction, predicted_boxes = _boxes_by_frame(video.prediction, self.prediction_rows)
        self.boxes = box_overlaps(true_boxes, predicted_boxes)
        self.masks = np.zeros_like(self.boxes)
        rows = np.searchsorted(self.truth_rows, video.pair_tracks[0])
        here = video.truth.categories[video.pair_tracks[0]] == category
        columns = np.searchsorted(self.prediction_rows, video.pair_tracks[1][here])
        self.masks[video.pair_frames[here], rows[here], columns] = video.pair_iou[here]

    def judged(self, similarity: np.ndarray, rule: ClassRule) -> TrackedTables:
        """The frames without the predictions that cannot be judged; ``similarity``: boxes or masks."""
        kept = self.prediction
        if rule.guided and not rule.known_absent:
            kept = kept & self.truth.any(1, keepdims=True)
        if rule.guided and not rule.exhaustive:
            kept = kept & self._surely_matched(similarity)
        return TrackedTables(self.truth, kept, similarity * kept[:, None])

    def _surely_matched(self, similarity: np.ndarray) -> np.ndarray:
        """Which predictions [T, M] have an object of their own that they overlap by half."""
        matched = np.zeros(self.prediction.shape, bool)
        for frame in np.flatnonzero(self.truth.any(1) & self.prediction.any(1)):
            truth, prediction = np.flatnonzero(self.truth[frame]), np.flatnonzero(self.prediction[frame])
            found = similarity[frame][truth[:, None], prediction]
            sure = np.where(found < SURE_MATCH - EPSILON, 0, found)
            rows, columns = assigned(sure)
            matched[frame, prediction[columns[sure[rows, columns] > EPSILON]]] = True
        return matched


class VideoSimilarity:
    """Which objects of one class share pixels in a video: their tracks, frames and IoU, [P] each."""

    def __init__(self, truth: VideoTracks, prediction: VideoTracks) -> None:
        self.truth, self.prediction = truth, prediction
        pairs = shared_pixels(prediction.masks, truth.masks, (prediction.categories, truth.categories))
        self.track_iou = overlaps_from(prediction.masks, truth.masks, pairs)
        predicted, true, pixels = pairs
        self.pair_tracks = truth.masks.rows[true], prediction.masks.rows[predicted]
        self.pair_frames = truth.masks.frames[true]
        self.pair_iou = pixels / (prediction.masks.areas[predicted] + truth.masks.areas[true] - pixels)


def _boxes_by_frame(tracks: VideoTracks, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where the tracks ``rows`` [N] are [T, N] bool, and their boxes [T, N, 4]."""
    places = np.flatnonzero(np.isin(tracks.masks.rows, rows))
    index = tracks.masks.frames[places], np.searchsorted(rows, tracks.masks.rows[places])
    present, boxes = np.zeros((tracks.frames, len(rows)), bool), np.zeros((tracks.frames, len(rows), 4))
    present[index], boxes[index] = True, tracks.boxes[places]
    return present, boxes


def box_overlaps(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """IoU [..., N, M] of boxes [..., N, 4] and [..., M, 4] (x, y, width, height); an empty box overlaps nothing."""
    start = np.maximum(first[..., :, None, :2], second[..., None, :, :2])
    ends = first[..., :2] + first[..., 2:], second[..., :2] + second[..., 2:]
    sides = np.maximum(np.minimum(ends[0][..., :, None, :], ends[1][..., None, :, :]) - start, 0)
    shared = sides[..., 0] * sides[..., 1]
    areas = first[..., 2] * first[..., 3], second[..., 2] * second[..., 3]
    union = areas[0][..., :, None] + areas[1][..., None, :] - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > EPSILON)


def counts_of(tables: TrackedTables) -> Mapping[str, int]:
    """Numbers of predicted and true objects and tracks."""
    return {
        "Dets": int(tables.tracker.sum()),
        "GT_Dets": int(tables.truth.sum()),
        "IDs": int(tables.tracker.any(0).sum()),
        "GT_IDs": int(tables.truth.any(0).sum()),
    }

"""Average precision and recall of tracks (Yang et al., Video Instance Segmentation, ICCV 2019)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from univs.evaluation.metrics.average_precision import (
    ABSENT,
    IOU_THRESHOLDS,
    PrecisionRecall,
    greedy_matches,
    mean_of_known,
    precision_recall,
)
from univs.evaluation.metrics.coded_tracks import CodedTracks, track_overlaps

AREAS = {"all": (0, 1e10), "small": (0, 128**2), "medium": (128**2, 256**2), "large": (256**2, 1e10)}
"""Ranges of a track's mean area in pixels, both ends included."""

MOST_DETECTIONS = (1, 10, 100)


@dataclass(frozen=True)
class TrueTracks:
    """True tracks of a video: ids, categories, crowd and mean areas [G], and their masks."""

    ids: np.ndarray
    categories: np.ndarray
    crowd: np.ndarray
    areas: np.ndarray
    masks: CodedTracks


@dataclass(frozen=True)
class PredictedTracks:
    """Predicted tracks of a video: ids, categories and scores [D], and their masks."""

    ids: np.ndarray
    categories: np.ndarray
    scores: np.ndarray
    masks: CodedTracks


class TrackAveragePrecision:
    """AP and AR over videos, each with at most 100 detections per category.

    A match is stored officially as the id of the true track, and 0 stands for none: a match with a track of the id 0
    is a miss. That is kept; ``compute(id_zero_matches=True)`` counts it as a match.
    """

    def __init__(self, categories: Sequence[int]) -> None:
        self.categories = tuple(categories)
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self._videos: dict[Any, dict[str, np.ndarray]] = {}

    def update(self, video: int | str, truth: TrueTracks, prediction: PredictedTracks) -> None:
        """Add a video."""
        self.merge({video: matched_video(truth, prediction)[0]})

    @property
    def state(self) -> dict[Any, dict[str, np.ndarray]]:
        """Matches of each video."""
        return dict(self._videos)

    def merge(self, state: Mapping[Any, Mapping[str, np.ndarray]]) -> None:
        """Add the videos of another metric."""
        self._videos |= {video: dict(part) for video, part in state.items()}

    def compute(self, id_zero_matches: bool = False) -> dict[str, Any]:
        """``stats`` (AP, AP50, AP75, APs/m/l, AR1/10/100, ARs/m/l) and ``per_category``; -1: no ground truth.

        Videos count in the order of their names, which decides between equal scores.
        """
        videos = [self._videos[video] for video in sorted(self._videos)]
        table = _joined(videos, id_zero_matches)
        found = {category: _of_category(table, category) for category in self.categories}
        per_category = {category: _category_figures(*parts) for category, parts in found.items()}
        return {"stats": _stats([parts for parts in found.values()]), "per_category": per_category}


def _joined(videos: Sequence[Mapping[str, np.ndarray]], id_zero_matches: bool) -> dict[str, np.ndarray]:
    """The detections of all videos, with the outcomes ``right`` and ``wrong`` [A, T, D'], and their true tracks."""
    none = np.zeros((len(AREAS), len(IOU_THRESHOLDS), 0), bool)
    outcomes = [_outcomes(video, id_zero_matches) for video in videos]
    names = ("categories", "scores", "ranks", "truth_categories", "truth_ignored")
    empty = {name: none[:, 0] if name == "truth_ignored" else none[0, 0] for name in names}
    table = {name: np.concatenate([empty[name], *(video[name] for video in videos)], -1) for name in names}
    for place, name in enumerate(("right", "wrong")):
        table[name] = np.concatenate([none, *(outcome[place] for outcome in outcomes)], -1)
    return table


def _of_category(table: Mapping[str, np.ndarray], category: int) -> tuple[PrecisionRecall, np.ndarray]:
    """Precision and recall of all AREAS, and the final recall [len(MOST_DETECTIONS), T] over all areas."""
    positives = (~table["truth_ignored"][:, table["truth_categories"] == category]).sum(1)
    chosen = np.flatnonzero(table["categories"] == category)
    right, wrong, ranks = table["right"][..., chosen], table["wrong"][..., chosen], table["ranks"][chosen]
    found = np.stack([right[0][:, ranks < most].sum(-1) for most in MOST_DETECTIONS])
    recall = found / positives[0] if positives[0] else np.full(found.shape, ABSENT)
    return precision_recall(table["scores"][chosen].astype(np.float64), right, wrong, positives), recall


def matched_video(truth: TrueTracks, prediction: PredictedTracks) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Matches of a video as plain arrays, and the IoU [D', G] of the kept detections with all true tracks.

    Of D detections the best 100 of each category are kept, by category and in order of score:
    ids, categories, scores, ranks [D'], ``matches`` [A, T, D'] (index of the true track or -1), ``outside`` [A, D']
    (mean area outside the range), truth_ids, truth_categories [G], truth_ignored [A, G].
    """
    order = np.lexsort((np.arange(len(prediction.scores)), -prediction.scores, prediction.categories))
    categories = prediction.categories[order]
    ranks = np.arange(len(order)) - np.searchsorted(categories, categories)
    order, ranks = order[ranks < MOST_DETECTIONS[-1]], ranks[ranks < MOST_DETECTIONS[-1]]
    categories = prediction.categories[order]
    areas = np.array(list(AREAS.values()))
    truth_ignored = truth.crowd | (truth.areas < areas[:, :1]) | (truth.areas > areas[:, 1:])
    mean_areas = mean_positive(prediction.masks.area_table())[order]
    ious = track_overlaps(prediction.masks, truth.masks, (prediction.categories, truth.categories))[order]
    # Tracks of different categories have no overlap, so all categories are matched together.
    matches = greedy_matches(ious, truth_ignored, truth.crowd, IOU_THRESHOLDS)
    parts = {
        "ids": prediction.ids[order],
        "categories": categories,
        "scores": prediction.scores[order],
        "ranks": ranks,
        "matches": matches,
        "outside": (mean_areas < areas[:, :1]) | (mean_areas > areas[:, 1:]),
        "truth_ids": truth.ids,
        "truth_categories": truth.categories,
        "truth_ignored": truth_ignored,
    }
    return parts, ious


def mean_positive(areas: np.ndarray) -> np.ndarray:
    """Mean over the frames with an area above 0 of [N, T]; 0 where there is none."""
    frames = (areas > 0).sum(1)
    return np.divide(areas.sum(1), frames, out=np.zeros(len(areas)), where=frames > 0)


def matched_ids(video: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Id of the matched true track (0: none) and whether the detection is ignored, [A, T, D'] both, as officially."""
    matches, truth_ids = video["matches"], video["truth_ids"]
    if not len(truth_ids):
        return np.zeros(matches.shape, np.int64), np.broadcast_to(video["outside"][:, None], matches.shape)
    ids = np.where(matches >= 0, truth_ids[matches], 0)
    return ids, _ignored(video, matches, ids == 0)


def _ignored(video: Mapping[str, np.ndarray], matches: np.ndarray, unmatched: np.ndarray) -> np.ndarray:
    setting = np.arange(len(matches))[:, None, None]
    by_match = (matches >= 0) & video["truth_ignored"][setting, matches]
    return by_match | (unmatched & video["outside"][:, None])


def _outcomes(video: Mapping[str, np.ndarray], id_zero_matches: bool) -> tuple[np.ndarray, np.ndarray]:
    """Which of a video's detections are right and which are wrong, [A, T, D'] both."""
    ids, ignored = matched_ids(video)
    matched = ids != 0
    if id_zero_matches and len(video["truth_ids"]):
        matched = video["matches"] >= 0
        ignored = _ignored(video, video["matches"], ~matched)
    return matched & ~ignored, ~matched & ~ignored


def _category_figures(curves: PrecisionRecall, recall: np.ndarray) -> dict[str, Any]:
    by_threshold = curves.precision.mean(-1)
    names = dict(zip(AREAS, by_threshold.mean(-1).tolist(), strict=True))
    return {
        "AP": names["all"],
        "AP50": float(by_threshold[0, 0]),
        "AP75": float(by_threshold[0, 5]),
        "AP_per_threshold": by_threshold[0].tolist(),
        **{f"AR{most}": float(row.mean()) for most, row in zip(MOST_DETECTIONS, recall, strict=True)},
        "recall_per_threshold": recall[-1].tolist(),
        **{f"AP_{name}": names[name] for name in ("small", "medium", "large")},
    }


def _stats(found: Sequence[tuple[PrecisionRecall, np.ndarray]]) -> dict[str, float]:
    shape = (0, len(AREAS), len(IOU_THRESHOLDS))
    precision = np.array([curves.precision for curves, _ in found]).reshape(-1, *shape[1:], 101)
    by_area = np.array([curves.recall for curves, _ in found]).reshape(-1, *shape[1:])
    recall = np.array([recall for _, recall in found]).reshape(-1, len(MOST_DETECTIONS), len(IOU_THRESHOLDS))
    stats = {"AP": mean_of_known(precision[:, 0])}
    stats |= {name: mean_of_known(precision[:, 0, step]) for name, step in (("AP50", 0), ("AP75", 5))}
    stats |= {f"AP{name[0]}": mean_of_known(precision[:, i]) for i, name in enumerate(AREAS) if i}
    stats |= {f"AR{most}": mean_of_known(recall[:, i]) for i, most in enumerate(MOST_DETECTIONS)}
    return stats | {f"AR{name[0]}": mean_of_known(by_area[:, i]) for i, name in enumerate(AREAS) if i}

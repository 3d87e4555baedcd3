"""Average precision and recall of the instances of pictures, from the matches that official programs find."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from univs.evaluation.metrics.average_precision import (
    ABSENT,
    IOU_THRESHOLDS,
    PrecisionRecall,
    mean_of_known,
    precision_recall,
)

AREAS = ("all", "small", "medium", "large")
"""Ranges of the area; of 32^2 and 96^2 pixels, the borders belong to both sides."""

CELLS = len(AREAS) * len(IOU_THRESHOLDS)
Entry = Mapping[str, Any]


class DetectionAveragePrecision:
    """AP and AR over pictures.

    Args:
        categories: ids, in the order of the table.
        most: numbers of best detections per picture and category for which the recall is computed, ascending; AP is of
            the last. None: all.
    """

    def __init__(self, categories: Sequence[int], most: Sequence[int | None] = (1, 10, 100)) -> None:
        self.categories, self.most = tuple(categories), tuple(most)
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self._pictures: dict[int, dict[str, np.ndarray]] = {}

    def update(self, picture: int, part: Mapping[str, np.ndarray]) -> None:
        """Add a picture, as ``matches_of_picture`` gives it."""
        self._pictures[picture] = dict(part)

    @property
    def state(self) -> dict[int, dict[str, np.ndarray]]:
        """The matches of each picture."""
        return dict(self._pictures)

    def merge(self, state: Mapping[int, Mapping[str, np.ndarray]]) -> None:
        """Add the pictures of another metric."""
        self._pictures |= {picture: dict(part) for picture, part in state.items()}

    def curves(self) -> dict[int, tuple[PrecisionRecall, np.ndarray]]:
        """By category: precision and recall of each of the AREAS, and final recalls [len(most), A, T].

        Pictures count in the order of their ids, which decides between equal scores.
        """
        parts = [self._pictures[picture] for picture in sorted(self._pictures)]
        table = {name: _joined(parts, name) for name in ("categories", "ranks", "scores", "right", "wrong")}
        positives: dict[int, np.ndarray] = {}
        for part in parts:
            for category, numbers in zip(part["true_categories"].tolist(), part["positives"], strict=True):
                positives[category] = positives.get(category, 0) + numbers
        order = np.argsort(table["categories"], kind="stable")
        ordered = table["categories"][order]
        none = np.zeros(len(AREAS), np.int64)
        found = {}
        for category in self.categories:
            start, stop = np.searchsorted(ordered, category), np.searchsorted(ordered, category, side="right")
            chosen = {name: column[..., order[start:stop]] for name, column in table.items()}
            found[category] = self._of_category(chosen, positives.get(category, none))
        return found

    def _of_category(
        self, table: Mapping[str, np.ndarray], positives: np.ndarray
    ) -> tuple[PrecisionRecall, np.ndarray]:
        right, wrong = (_unpacked(table[name]) for name in ("right", "wrong"))
        curves = precision_recall(table["scores"], right, wrong, positives)
        recall = np.full((len(self.most), *right.shape[:2]), ABSENT)
        known = positives > 0
        for row, most in zip(recall, self.most, strict=True):
            counted = right if most is None else right[..., table["ranks"] < most]
            row[known] = counted.sum(-1)[known] / positives[known, None]
        return curves, recall


def detection_figures(
    curves: Iterable[tuple[PrecisionRecall, np.ndarray]],
) -> tuple[dict[str, float], np.ndarray]:
    """AP, AP50, AP75, APs, APm, APl over the categories, and the recalls [C, len(most), A, T] for the figures of AR."""
    found = list(curves)
    precision = np.array([curve.precision for curve, _ in found])
    figures = {"AP": mean_of_known(precision[:, 0])}
    figures |= {name: mean_of_known(precision[:, 0, step]) for name, step in (("AP50", 0), ("AP75", 5))}
    figures |= {f"AP{name[0]}": mean_of_known(precision[:, place]) for place, name in enumerate(AREAS) if place}
    return figures, np.array([recall for _, recall in found])


def coco_matches(picture: Entry, truth: Sequence[Entry], detections: Sequence[Entry]) -> dict[str, np.ndarray]:
    """Matches of a picture's masks by pycocotools; of each category the best 100 detections are kept.

    Args:
        picture: its entry (id, height, width).
        truth: annotations of the picture. detections: its results, with the areas that count.

    Returns:
        Of D detections by category and score ``categories``, ``ranks``, ``scores`` [D], ``right`` and ``wrong``
        [5, D] bits of AREAS x IOU_THRESHOLDS; of C categories with truth ``true_categories`` [C] and ``positives``
        [C, A].
    """
    from pycocotools.coco import COCO  # with Matplotlib, which takes a second to load and draws nothing here
    from pycocotools.cocoeval import COCOeval

    categories = sorted({entry["category_id"] for entry in (*truth, *detections)})
    sides = []
    for entries in (truth, detections):
        side = COCO()
        side.dataset = {
            "images": [picture],
            "annotations": list(entries),
            "categories": [{"id": c} for c in categories],
        }
        with contextlib.redirect_stdout(io.StringIO()):
            side.createIndex()
        sides.append(side)
    evaluation = COCOeval(*sides, "segm")
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation.evaluate()
    names = ("category_id", "dtScores", "dtMatches", "dtIgnore", "gtIgnore")
    return matches_of_picture([[one[name] for name in names] for one in evaluation.evalImgs if one is not None])


def matches_of_picture(found: Sequence[Sequence[Any]]) -> dict[str, np.ndarray]:
    """Matches from the results of one picture by category and area range.

    A result is the category, the scores [D], the matches and whether they are ignored [T, D], and which true objects
    are ignored.
    """
    by_category: dict[int, list[Sequence[Any]]] = {}
    for category, *one in found:
        by_category.setdefault(category, []).append(one)
    columns: dict[str, list[np.ndarray]] = {"categories": [], "ranks": [], "scores": [], "right": [], "wrong": []}
    positives = []
    for category, ranges in by_category.items():
        scores = np.asarray(ranges[0][0], np.float64)
        matched = np.stack([np.asarray(matches) != 0 for _, matches, _, _ in ranges])
        ignored = np.stack([np.asarray(ignored, bool) for _, _, ignored, _ in ranges])
        columns["categories"].append(np.full(len(scores), category))
        columns["ranks"].append(np.arange(len(scores)))
        columns["scores"].append(scores)
        columns["right"].append(_packed(matched & ~ignored))
        columns["wrong"].append(_packed(~matched & ~ignored))
        positives.append([int((np.asarray(truth_ignored) == 0).sum()) for *_, truth_ignored in ranges])
    empty = {"categories": np.int64, "ranks": np.int64, "scores": np.float64, "right": np.uint8, "wrong": np.uint8}
    table = {
        name: np.concatenate([np.zeros(((CELLS + 7) // 8, 0) if kind is np.uint8 else 0, kind), *columns[name]], -1)
        for name, kind in empty.items()
    }
    return {
        **table,
        "true_categories": np.array(list(by_category), np.int64),
        "positives": np.array(positives, np.int64).reshape(-1, len(AREAS)),
    }


def _packed(table: np.ndarray) -> np.ndarray:
    """[A, T, D] bool as bits [5, D]."""
    return np.packbits(table.reshape(CELLS, -1), axis=0)


def _unpacked(bits: np.ndarray) -> np.ndarray:
    return np.unpackbits(bits, axis=0, count=CELLS).astype(bool).reshape(len(AREAS), len(IOU_THRESHOLDS), -1)


def _joined(parts: Sequence[Mapping[str, np.ndarray]], name: str) -> np.ndarray:
    if parts:
        return np.concatenate([part[name] for part in parts], -1)
    return np.zeros(((CELLS + 7) // 8, 0) if name in ("right", "wrong") else 0, np.uint8)

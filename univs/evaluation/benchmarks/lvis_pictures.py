"""Matches of the masks of pictures by the program of LVIS."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from univs.evaluation.metrics.detection_average_precision import Entry, matches_of_picture

LOGGER = logging.getLogger(__name__)


def lvis_matches(
    picture: Entry, truth: Sequence[Entry], detections: Sequence[Entry], categories: Sequence[Entry]
) -> dict[str, np.ndarray]:
    """Matches of a picture's masks by lvis: the best 300 detections, of categories that are known to be there or not.

    As ``coco_matches``; ``picture`` has neg_category_ids and not_exhaustive_category_ids, ``categories`` frequencies.
    """
    from lvis import LVIS, LVISEval  # with Matplotlib too

    present = {entry["category_id"] for entry in (*truth, *detections)}
    content = {
        "images": [picture],
        "annotations": [dict(entry) for entry in truth],
        "categories": [category for category in categories if category["id"] in present],
    }
    evaluation = LVISEval(_lvis(LVIS, content), _lvis_results(content, detections), "segm")
    evaluation.evaluate()
    names = ("category_id", "dt_scores", "dt_matches", "dt_ignore", "gt_ignore")
    return matches_of_picture([[one[name] for name in names] for one in evaluation.eval_imgs if one is not None])


def _lvis(kind: type, content: dict[str, Any]) -> Any:
    """An index of lvis over content that is not in a file."""
    index = kind.__new__(kind)
    index.dataset = content
    index.logger = LOGGER
    index._create_index()
    return index


def _lvis_results(content: dict[str, Any], detections: Sequence[Entry]) -> Any:
    from lvis import LVIS, LVISResults

    # It warns at each picture that the format is taken for right.
    logging.getLogger("lvis.results").setLevel(logging.ERROR)
    if not detections:  # lvis looks at the first one
        return _lvis(LVISResults, {**content, "annotations": []})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return LVISResults(_lvis(LVIS, content), [dict(entry) for entry in detections])

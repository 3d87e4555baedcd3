"""Tracks of instances in every form that the official program reads, and what is refused on request."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from tests.evaluation.attempts import attempt, reasons
from univs.evaluation.benchmarks.instance_tracks import YouTubeVis

HEIGHT, WIDTH = 20, 30


def square(left: int, width: int = 8) -> dict[str, Any]:
    mask = np.zeros((HEIGHT, WIDTH), np.uint8, order="F")
    mask[5:15, left : left + width] = 1
    code = coco_mask.encode(mask)
    return {"size": [HEIGHT, WIDTH], "counts": code["counts"].decode()}


def runs(mask: dict[str, Any]) -> dict[str, Any]:
    """The same mask as a list of runs."""
    pixels = coco_mask.decode(mask).ravel(order="F")
    edges = np.flatnonzero(np.diff(pixels)) + 1
    counts = np.diff([0, *edges, len(pixels)]).tolist()
    return {"size": mask["size"], "counts": counts if not pixels[0] else [0, *counts]}


def polygon(left: int, width: int = 8) -> list[list[float]]:
    """The same square as a polygon."""
    return [[left, 5, left + width, 5, left + width, 15, left, 15]]


def files(folder: Path, change: Callable[[dict, list], None] = lambda truth, results: None) -> tuple[Path, Path]:
    masks = [square(4), None, square(6)]
    truth = {
        "videos": [{"id": 1, "height": HEIGHT, "width": WIDTH, "length": 3}],
        "categories": [{"id": 1, "name": "one"}],
        "annotations": [
            {"id": 5, "video_id": 1, "category_id": 1, "iscrowd": 0, "segmentations": masks, "areas": [80, None, 80]}
        ],
    }
    results = [{"video_id": 1, "category_id": 1, "score": 0.5, "segmentations": [square(4), None, square(7)]}]
    truth, results = copy.deepcopy((truth, results))
    change(truth, results)
    paths = folder / "results.json", folder / "instances.json"
    for path, content in zip(paths, (results, truth), strict=True):
        path.write_text(json.dumps(content))
    return paths


def precision(paths: tuple[Path, Path]) -> list[float]:
    summary, broken = attempt(YouTubeVis(), *paths)
    assert not broken
    return summary.figures["per_category"][1]["AP_per_threshold"]


def test_lists_of_runs_and_polygons_are_read_too(tmp_path: Path) -> None:
    def other_forms(truth: dict, results: list) -> None:
        masks = truth["annotations"][0]["segmentations"]
        masks[0], masks[2] = polygon(4), runs(masks[2])

    expected = precision(files(tmp_path))
    # 80 + 70 of 80 + 90 pixels are shared: right up to an IoU of .85.
    assert expected == pytest.approx([1.0] * 8 + [0.0] * 2)
    assert precision(files(tmp_path, other_forms)) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("mask", "reason"),
    [
        ({"size": [HEIGHT, WIDTH], "counts": [5, 6]}, "malformed"),
        ({"counts": [5, 6]}, "size"),
        ([["a"]], "size"),
        ({"size": [HEIGHT, -1], "counts": "0"}, "size"),
        ("mask", "size"),
    ],
)
def test_masks_in_no_form_are_named(tmp_path: Path, mask: Any, reason: str) -> None:
    def spoil(truth: dict, results: list) -> None:
        results[0]["segmentations"][2] = mask

    (found,) = reasons(YouTubeVis(), *files(tmp_path, spoil))
    assert "Track 1 of" in found and "frame 2" in found and reason in found


def other_size(truth: dict, results: list) -> None:
    results[0]["segmentations"][2]["size"] = [WIDTH, HEIGHT]


def other_category(truth: dict, results: list) -> None:
    results[0]["category_id"] = 7


def repeated_id(truth: dict, results: list) -> None:
    truth["annotations"].append(truth["annotations"][0])


@pytest.mark.parametrize(
    ("change", "reason"), [(other_size, "20 x 30"), (other_category, "category 7"), (repeated_id, "id 5 twice")]
)
def test_what_the_official_program_passes_over_is_refused_on_request(
    tmp_path: Path, change: Callable, reason: str
) -> None:
    paths = files(tmp_path, change)
    assert not reasons(YouTubeVis(), *paths)
    (found,) = reasons(YouTubeVis(), *paths, strict=True)
    assert reason in found

"""Masks of pictures, scored picture by picture, give what pycocotools and lvis give on the whole."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lvis import LVIS, LVISEval, LVISResults
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from tests.evaluation.attempts import attempt
from univs.errors import UserError
from univs.evaluation.benchmarks.image_instances import CocoInstances, LvisInstances

SIZE = (120, 160)


def coded(mask: np.ndarray) -> dict[str, Any]:
    code = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {"size": [int(side) for side in code["size"]], "counts": code["counts"].decode()}


def rectangle(generator: np.random.Generator) -> np.ndarray:
    mask = np.zeros(SIZE, bool)
    height, width = generator.integers(4, 110, 2)
    top, left = generator.integers(0, SIZE[0] - height), generator.integers(0, SIZE[1] - width)
    mask[top : top + height, left : left + width] = True
    return mask


def content(generator: np.random.Generator, with_boxes: bool, first_id: int = 1) -> tuple[dict, list]:
    """A small ground truth with crowds, and detections with equal scores and wrong categories."""
    truth: dict[str, list] = {"images": [], "annotations": [], "categories": []}
    truth["categories"] = [{"id": c, "name": f"c{c}", "frequency": "rcf"[c % 3]} for c in (1, 3, 4, 7, 8)]
    detections = []
    for picture in range(1, 9):
        lists = {"neg_category_ids": [8], "not_exhaustive_category_ids": [3] if picture % 2 else []}
        truth["images"].append({"id": picture, "height": SIZE[0], "width": SIZE[1], **lists})
        for _ in range(generator.integers(0, 5)):
            mask, category = rectangle(generator), int(generator.choice([1, 3, 4]))
            number = len(truth["annotations"]) + first_id
            truth["annotations"].append(
                {"id": number, "image_id": picture, "category_id": category, "area": int(mask.sum())}
                | {"iscrowd": int(generator.random() < 0.1), "bbox": [0, 0, 1, 1], "segmentation": coded(mask)}
            )
            for shift in range(generator.integers(0, 4)):
                found = {"image_id": picture, "category_id": int(generator.choice([category, category, 7, 8]))}
                found["score"] = round(float(generator.random()), 1)
                found["segmentation"] = coded(np.roll(mask, shift * 3, 1))
                detections.append(found | ({"bbox": [0, 0, 90, 30 + shift]} if with_boxes else {}))
    return truth, detections


def written(folder: Path, truth: dict, detections: list) -> tuple[Path, Path]:
    paths = folder / "results.json", folder / "instances.json"
    for path, one in zip(paths, (detections, truth), strict=True):
        path.write_text(json.dumps(one))
    return paths


@pytest.mark.parametrize("with_boxes", [False, True])
@pytest.mark.parametrize("seed", [0, 1])
def test_pictures_one_by_one_are_what_pycocotools_gives(tmp_path: Path, seed: int, with_boxes: bool) -> None:
    truth, detections = content(np.random.default_rng(seed), with_boxes)
    paths = written(tmp_path, truth, detections)
    whole = COCO(str(paths[1]))
    evaluation = COCOeval(whole, whole.loadRes(str(paths[0])), "segm")
    evaluation.evaluate(), evaluation.accumulate(), evaluation.summarize()
    summary, broken = attempt(CocoInstances(), *paths)
    assert not broken
    assert list(summary.figures["stats"].values()) == pytest.approx(evaluation.stats.tolist(), abs=1e-12)
    precision = evaluation.eval["precision"][:, :, :, 0, 2]
    per_category = [100 * row.mean() if row.max() > -1 else -1 for row in np.moveaxis(precision, 2, 0)]
    assert [row["AP"] for row in summary.objects] == pytest.approx(per_category, abs=1e-9)
    assert ("stats_mask_areas" in summary.corrected) == with_boxes


@pytest.mark.parametrize("seed", [0, 1])
def test_pictures_one_by_one_are_what_lvis_gives(tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(np, "float", float, raising=False)  # lvis is older than NumPy 2
    truth, detections = content(np.random.default_rng(seed), with_boxes=False)
    paths = written(tmp_path, truth, detections)
    whole = LVIS(str(paths[1]))
    evaluation = LVISEval(whole, LVISResults(whole, str(paths[0])), "segm")
    evaluation.run()
    summary, broken = attempt(LvisInstances(), *paths)
    assert not broken
    assert summary.figures["stats"] == pytest.approx({k: float(v) for k, v in evaluation.results.items()}, abs=1e-12)


def test_a_match_with_the_id_zero_is_lost_officially_and_counted_beside_it(tmp_path: Path) -> None:
    mask = np.zeros(SIZE, bool)
    mask[10:60, 20:90] = True
    entry = {"image_id": 1, "category_id": 1, "segmentation": coded(mask)}
    truth = {
        "images": [{"id": 1, "height": SIZE[0], "width": SIZE[1]}],
        "categories": [{"id": 1, "name": "one"}],
        "annotations": [{**entry, "id": 0, "area": int(mask.sum()), "iscrowd": 0}],
    }
    summary, _ = attempt(CocoInstances(), *written(tmp_path, truth, [{**entry, "score": 0.5}]))
    assert summary.figures["stats"]["AP"] == 0
    assert summary.corrected["stats_id_zero_matches"]["AP"] == pytest.approx(1)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"image_id": 99}, "picture 99"),
        ({"image_id": 1.0}, "an integer is expected"),
        ({"score": float("nan")}, "a number is expected"),
        ({"segmentation": None}, "no segmentation"),
        ({"segmentation": {"size": list(SIZE), "counts": "abc"}}, "malformed"),
        ({"segmentation": {"size": list(SIZE)}}, "run-length code"),
    ],
)
def test_wrong_detections_are_named(tmp_path: Path, change: dict, reason: str) -> None:
    truth, detections = content(np.random.default_rng(0), with_boxes=False)
    detections[0] = {**detections[0], **change}
    paths = written(tmp_path, truth, detections)
    with pytest.raises(UserError, match=reason) as caught:
        _, broken = attempt(CocoInstances(), *paths)
        raise UserError("; ".join(broken.values()))
    assert "Detection 1 of" in str(caught.value)

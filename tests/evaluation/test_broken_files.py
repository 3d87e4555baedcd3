"""Files that do not fit: `univs score` names the file, the frame and what was expected, and exits with 1 or 2."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.evaluation.tiny_layouts import TRUTH, write_layouts
from univs.errors import UserError
from univs.evaluation.benchmarks import find_benchmark
from univs.evaluation.scoring import Request, score


@pytest.fixture(scope="module")
def layouts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("layouts")
    write_layouts(folder)
    return folder


def told(layouts: Path, folder: Path, name: str, spoil: Callable[[Path], Any]) -> str:
    """What is said of spoilt predictions: of one sequence, or of all at once."""
    shutil.copytree(layouts / "results" / name, folder / "results")
    spoil(folder / "results")
    return said_of(name, folder / "results", layouts / "data" / TRUTH[name], folder)


def said_of(name: str, predictions: Path, truth: Path, folder: Path) -> str:
    """What is said of files that cannot all be scored."""
    request = Request(find_benchmark(name), predictions, truth, folder / "out")
    try:
        outcome = score(request)
    except UserError as error:
        return str(error)
    assert not outcome.unexpected, outcome.broken
    assert outcome.exit_code() == 1
    (problem,) = outcome.broken.values()
    return problem


def second_picture(folder: Path) -> Path:
    """The second frame of the first video; most benchmarks score it."""
    return sorted(folder.rglob("*.png"))[1]


def changed(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        path = second_picture(folder)
        with Image.open(path) as image:
            pixels = np.array(image)
        Image.fromarray(change(pixels)).save(path)

    return spoil


def cut(folder: Path) -> None:
    second_picture(folder).write_bytes(second_picture(folder).read_bytes()[:70])


def remove(folder: Path) -> None:
    second_picture(folder).unlink()


def in_colour(ids: np.ndarray) -> np.ndarray:
    return np.stack([ids, ids * 90, ids], axis=2) if ids.ndim == 2 else ids[..., 0]


PICTURES = {
    "davis2017": "00005.png",
    "davis2017-unsupervised": "00005.png",
    "ref-davis17": "00005.png",
    "mose": "00005.png",
    "lvos": "00000006.png",
    "youtube-vos": "00005.png",
    "viposeg": "00005.png",
    "ref-youtube-vos": "00005.png",
    "mevis": "00005.png",
    "vspw": "00005.png",
    "vipseg": "00005.png",
    "cityscapes-vps": "0000_0001_alpha",
    "kitti-step": "00005.png",
    "coco-panoptic": "0000_0001_alpha",
}
"""Benchmarks of pictures, and the name of the second one."""

SPOILERS = {
    "missing": remove,
    "another size": changed(lambda pixels: pixels[:-2]),
    "truncated": cut,
}


@pytest.mark.parametrize("spoiler", SPOILERS)
@pytest.mark.parametrize("name", PICTURES)
def test_pictures_that_cannot_be_scored_are_named(name: str, spoiler: str, layouts: Path, tmp_path: Path) -> None:
    problem = told(layouts, tmp_path, name, SPOILERS[spoiler])
    assert Path(PICTURES[name]).stem in problem, problem
    assert "expected" in problem or "ground truth" in problem, problem


LABELS = [name for name in PICTURES if name not in ("mevis", "ref-youtube-vos")]


@pytest.mark.parametrize("name", LABELS)
def test_colours_and_grey_values_are_not_mixed_up(name: str, layouts: Path, tmp_path: Path) -> None:
    problem = told(layouts, tmp_path, name, changed(in_colour))
    assert PICTURES[name] in problem, problem


@pytest.mark.parametrize(
    ("name", "expected"),
    [("davis2017", "207"), ("davis2017-unsupervised", "207"), ("vipseg", "207"), ("coco-panoptic", "207")],
)
def test_unknown_ids_are_named(name: str, expected: str, layouts: Path, tmp_path: Path) -> None:
    def paint(pixels: np.ndarray) -> np.ndarray:
        pixels = pixels.copy()
        pixels[-3:, -3:] = (207, 0, 0) if pixels.ndim == 3 else 207
        return pixels

    problem = told(layouts, tmp_path, name, changed(paint))
    assert PICTURES[name] in problem and expected in problem, problem


def edited(change: Callable[[Any], Any]) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        path = folder if folder.suffix == ".json" else next(folder.glob("*.json"))
        content = json.loads(path.read_text())
        change(content)
        path.write_text(json.dumps(content))

    return spoil


def first_mask(content: Any) -> dict[str, Any]:
    entry = content["sequences"][0]["segmentations"][1]["1"] if isinstance(content, dict) else content[0]
    return entry if isinstance(content, dict) else entry.get("segmentation") or entry["segmentations"][1]


def spoil_code(content: Any) -> None:
    mask = first_mask(content)
    key = "rle" if "rle" in mask else "counts"
    mask[key] = mask[key][:-2]


TRACKS = ("youtube-vis-2021", "ovis", "burst", "coco-instance", "lvis", "a2d-sentences", "jhmdb-sentences")


@pytest.mark.parametrize("name", TRACKS)
def test_malformed_masks_are_named(name: str, layouts: Path, tmp_path: Path) -> None:
    problem = told(layouts, tmp_path, name, edited(spoil_code))
    assert ".json" in problem and any(word in problem.lower() for word in ("mask", "run-length", "rle")), problem


@pytest.mark.parametrize("name", [name for name in TRACKS if name != "burst"])
def test_ids_that_are_no_integers_are_named(name: str, layouts: Path, tmp_path: Path) -> None:
    problem = told(layouts, tmp_path, name, edited(lambda content: content[0].update(category_id=1.5, image_id=1.5)))
    assert "1.5" in problem, problem


def frame_entry(content: dict[str, Any]) -> dict[str, Any]:
    entry = content["annotations"][0]
    return entry["annotations"][1] if "annotations" in entry else content["annotations"][1]


@pytest.mark.parametrize("name", ["vipseg", "cityscapes-vps", "coco-panoptic"])
@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda segments: segments[0].update(id=1.5), "1.5"),
        (lambda segments: segments[0].update(category_id=77), "77"),
        (lambda segments: segments.append({"id": 99, "category_id": 1}), "99"),
        (lambda segments: segments.pop(0), "id 1"),
    ],
)
def test_segments_that_do_not_fit_are_named(
    name: str, change: Callable, expected: str, layouts: Path, tmp_path: Path
) -> None:
    problem = told(layouts, tmp_path, name, edited(lambda content: change(frame_entry(content)["segments_info"])))
    assert expected in problem, problem


def set_in(place: str, value: Any) -> Callable[[Any], None]:
    """Change the value at a place such as ``annotations.0.area``."""

    def change(content: Any) -> None:
        *path, last = place.split(".")
        for step in path:
            content = content[int(step)] if isinstance(content, list) else content[step]
        content[int(last) if isinstance(content, list) else last] = value

    return change


IN_TRUTH = [
    ("davis-interactive", "sequences.json", "alpha.num_objects", 10**30, "alpha in .* has num_objects = 1000"),
    ("davis-interactive", "sequences.json", "alpha.num_scribbles", 0, "num_scribbles = 0 where 1 to 1000"),
    ("youtube-vos", "meta.json", "videos.beta.objects.2.frames", -1, "Object 2 of video beta of .*frames = -1"),
    ("youtube-vos", "meta.json", "videos.beta.objects.2.frames", [7], "7 at place 0 of frames, where a text"),
    ("ref-youtube-vos", "meta_expressions.json", "videos.beta.frames", False, "Video beta of .* has frames = false"),
    ("jhmdb-sentences", "annotations_coco_format.json", "annotations.0.area", [], "has area = .. where a number"),
    ("jhmdb-sentences", "annotations_coco_format.json", "annotations.0.iscrowd", 1e308, "where 0 or 1 is expected"),
    ("ovis", "instances.json", "annotations.0.areas", [[1]], "Annotation 1 of .* has areas that are neither"),
    ("ovis", "instances.json", "annotations.0.iscrowd", "x", "Annotation 1 of .* has iscrowd"),
    ("burst", "all_classes.json", "sequences.0.annotated_image_paths.0", {}, "at place 0 of annotated_image_paths"),
    ("burst", "all_classes.json", "sequences.0.segmentations", [1, 2], "segmentations"),
    (
        "burst",
        "all_classes.json",
        "sequences.0.track_category_ids",
        "x",
        "has track_category_ids = .x. where an object",
    ),
    ("burst", "all_classes.json", "sequences.0.neg_category_ids", 5, "has neg_category_ids = 5 where a list"),
    ("burst", "all_classes.json", "categories", 5, "has categories = 5 where a list"),
    ("coco-panoptic", "panoptic.json", "annotations.0.segments_info.0.iscrowd", "", "Segment 1 of .* has iscrowd"),
    ("coco-panoptic", "panoptic.json", "annotations.0.segments_info.0.id", 10**30, "has id = 1000"),
    ("coco-panoptic", "panoptic.json", "annotations.0.segments_info.0.area", 1e308, "Segment 1 of .* has the area 1e"),
    ("coco-instance", "instances.json", "annotations.0.segmentation", {"a": 1}, "segmentation of annotation 3 of"),
    ("coco-instance", "instances.json", "annotations.0.segmentation", [[1, 2, 3]], "is none; expected polygons"),
    ("coco-instance", "instances.json", "annotations.0.area", "9", "Annotation 3 of .* has area"),
    ("coco-instance", "instances.json", "images.0.width", None, "Picture 1 of .* has width = null"),
    ("coco-instance", "instances.json", "categories", [], "lists no categories"),
    ("lvis", "lvis_v1_val.json", "categories.0.frequency", 0, "Category 1 of .* has the frequency 0; r .rare"),
    ("lvis", "lvis_v1_val.json", "images.0.neg_category_ids", ["a"], "at place 0 of neg_category_ids"),
]


@pytest.mark.parametrize(("name", "file", "place", "value", "problem"), IN_TRUTH)
def test_junk_in_the_truth_is_named(
    name: str, file: str, place: str, value: Any, problem: str, layouts: Path, tmp_path: Path
) -> None:
    source = layouts / "data" / TRUTH[name]
    truth = tmp_path / "truth"
    if source.is_dir():
        shutil.copytree(source, truth)
    else:
        truth.mkdir()
        shutil.copy(source, truth)
    content = json.loads((truth / file).read_text())
    set_in(place, value)(content)
    (truth / file).write_text(json.dumps(content))
    assert re.search(problem, said_of(name, layouts / "results" / name, truth, tmp_path)), problem


@pytest.mark.parametrize(
    ("name", "place", "value", "problem"),
    [
        ("coco-instance", "0.bbox", 7, "Detection 1 of .* has bbox = 7"),
        ("coco-instance", "0.bbox", [1, 2, 3], "Detection 1 of .* has a bbox of 3 numbers"),
        ("lvis", "0.bbox", [1, None, 3, 4], "null at place 1 of bbox"),
    ],
)
def test_junk_in_detections_is_named(
    name: str, place: str, value: Any, problem: str, layouts: Path, tmp_path: Path
) -> None:
    assert re.search(problem, told(layouts, tmp_path, name, edited(set_in(place, value))))


@pytest.mark.parametrize("name", [*TRACKS, "vipseg", "coco-panoptic", "cityscapes-vps"])
def test_lists_that_are_cut_off_are_one_sentence(name: str, layouts: Path, tmp_path: Path) -> None:
    def spoil(folder: Path) -> None:
        path = next(folder.glob("*.json"))
        path.write_bytes(path.read_bytes()[:-20])

    assert "JSON" in told(layouts, tmp_path, name, spoil)

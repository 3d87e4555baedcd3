"""Layouts of label pictures: values worked out by hand, corrected values, and files that do not fit."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from univs.errors import UserError
from univs.evaluation.benchmark import BrokenSequence, Summary
from univs.evaluation.benchmarks import find_benchmark
from univs.evaluation.coded_masks import decoded_mask
from univs.evaluation.label_pictures import read_foreground, read_labels

SIZE = 12, 20


def square(label: int = 1, left: int = 4) -> np.ndarray:
    """A label map [H, W] with a square of 16 pixels."""
    labels = np.zeros(SIZE, np.uint8)
    labels[4:8, left : left + 4] = label
    return labels


def save(path: Path, labels: np.ndarray, palette: tuple[int, ...] | None = (0, 0, 0, 128, 0, 0)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(labels)
    if palette:
        picture = picture.convert("P")
        picture.putpalette((*palette, *bytes(768))[:768])  # with fewer colours, fewer bits would be kept
    picture.save(path)


def save_video(folder: Path, maps: list[np.ndarray]) -> None:
    for number, labels in enumerate(maps):
        save(folder / f"{number:05d}.png", labels)


def scored(name: str, root: Path, **options: Any) -> Summary:
    benchmark = find_benchmark(name)
    scoring = benchmark.open(root / "pred", root / "gt", {**benchmark.options, **options})
    return scoring.summarise({sequence: scoring.measure(sequence) for sequence in reversed(scoring.sequences())})


def davis(root: Path, truth: list[np.ndarray], prediction: list[np.ndarray], annotations: str = "Annotations") -> Path:
    save_video(root / "gt" / annotations / "480p" / "cow", truth)
    save_video(root / "pred" / "cow", prediction)
    for year in ("2016", "2017"):
        path = root / "gt" / "ImageSets" / year / "val.txt"
        path.parent.mkdir(parents=True)
        path.write_text("cow\n")
    return root


def test_one_object_is_whatever_is_not_black(tmp_path: Path) -> None:
    davis(tmp_path, [square(255)] * 4, [square(7), square(200), square(1, left=6), square(3)])
    summary = scored("davis2016", tmp_path)
    assert summary.figures["per_frame"]["cow"]["J"] == [[1.0, pytest.approx(8 / 24)]]
    assert summary.objects[0]["object"] == "1"


def test_matched_proposals_are_named_by_object_beside_the_official_names(tmp_path: Path) -> None:
    truth = np.maximum(square(1, left=2), square(2, left=12))
    prediction = np.maximum(square(2, left=2), square(1, left=14))
    summary = scored(
        "davis2017-unsupervised", davis(tmp_path, [truth] * 2, [prediction] * 2, "Annotations_unsupervised")
    )
    assert summary.figures["per_object"]["cow_1"]["J-Mean"] == pytest.approx(8 / 24)  # the first proposal's object is 2
    assert summary.corrected["per_object_by_object_id"]["cow_1"]["J-Mean"] == 1


def test_proposals_that_only_lie_under_void_are_empty_ones(tmp_path: Path) -> None:
    """The second object soon leaves; the empty third proposal, not the false second one, is taken for it."""
    gone_later = [np.maximum(square(1, left=2), square(2, left=12)), *[square(1, left=2)] * 5]
    gone_later[1][0, 0] = 255
    prediction = [np.maximum(square(1, left=2), square(2, left=16)) for _ in gone_later]
    prediction[1][0, 0] = 3
    root = davis(tmp_path, gone_later, prediction, "Annotations_unsupervised")
    objects = scored("davis2017-unsupervised", root).corrected["per_object_by_object_id"]
    assert objects["cow_2"]["J-Mean"] == pytest.approx(5 / 6)


def test_decay_of_long_videos_is_corrected_beside_the_official_one(tmp_path: Path) -> None:
    gone = np.zeros(SIZE, np.uint8)
    davis(tmp_path, [square()] * 302, [square()] * 225 + [gone] * 77)
    summary = scored("davis2017", tmp_path)
    assert np.isnan(summary.figures["global"]["J-Decay"])
    assert summary.corrected["decay_over_all_frames"]["global"]["J-Decay"] == 1


def test_categories_are_seen_or_unseen_by_default(tmp_path: Path) -> None:
    frames = ["00000", "00001", "00002"]
    objects = {"1": {"category": "zebra", "frames": frames}, "2": {"category": "kiwi", "frames": frames[1:]}}
    (tmp_path / "gt").mkdir()
    (tmp_path / "gt" / "meta.json").write_text(json.dumps({"videos": {"v": {"objects": objects}}}))
    both = np.maximum(square(1, left=2), square(2, left=12))
    save_video(tmp_path / "gt" / "Annotations" / "v", [square(1, left=2), both, both])
    save_video(tmp_path / "pred" / "v", [both, square(1, left=2), np.maximum(square(1, left=2), square(2, left=14))])
    summary = scored("youtube-vos", tmp_path)
    assert summary.figures["scores"]["J_seen"] == 1
    assert summary.figures["scores"]["J_unseen"] == pytest.approx(8 / 24)  # one frame: the one after its first
    (tmp_path / "gt" / "categories.json").write_text(json.dumps({"seen": ["kiwi"], "unseen": ["zebra"]}))
    assert scored("youtube-vos", tmp_path).figures["scores"]["J_unseen"] == 1


def test_expressions_weigh_the_same(tmp_path: Path) -> None:
    expressions = {"0": {"exp": "left", "obj_id": "1"}, "1": {"exp": "right", "obj_id": "2"}}
    meta = {"videos": {"v": {"frames": ["00000", "00001", "00009"], "expressions": expressions}}}
    (tmp_path / "gt").mkdir()
    (tmp_path / "gt" / "meta_expressions.json").write_text(json.dumps(meta))
    save_video(tmp_path / "gt" / "Annotations" / "v", [np.maximum(square(1, left=2), square(2, left=12))] * 2)
    save_video(tmp_path / "pred" / "Annotations" / "v" / "0", [square(255, left=2)] * 2)
    save_video(tmp_path / "pred" / "Annotations" / "v" / "1", [square(255, left=2)] * 2)
    figures = scored("ref-youtube-vos", tmp_path).figures
    assert figures["per_expression"] == {"v/0": [1, 1], "v/1": [0, 0]}
    assert figures["J&F"] == 0.5


def test_an_object_that_is_introduced_twice_counts_twice(tmp_path: Path) -> None:
    for folder in ("gt/Annotations_gt", "gt/Annotations", "pred"):
        save_video(tmp_path / folder / "v", [square(1)] * 3)
    (tmp_path / "gt" / "Annotations" / "v" / "00002.png").unlink()
    (tmp_path / "gt" / "obj_class.json").write_text(json.dumps({"v": {"1": 60}}))
    scoring = find_benchmark("viposeg").open(tmp_path / "pred", tmp_path / "gt", {})
    parts = scoring.measure("v")
    assert parts["objects"] == [1, 1, 1] and parts["counts"] == [1, 2, 2]
    assert scored("viposeg", tmp_path).figures["thing_seen_iou"] == 1


# --- files that do not fit ------------------------------------------------------------------------------------------


def in_colour(path: Path) -> None:
    Image.fromarray(np.zeros((*SIZE, 3), np.uint8)).save(path)


def cut_off(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-30])


def larger(path: Path) -> None:
    save(path, np.zeros((SIZE[0], SIZE[1] + 1), np.uint8))


def unknown_id(path: Path) -> None:
    save(path, square(9))


def other_palette(path: Path) -> None:
    save(path, square(9), palette=(200, 10, 10, 0, 0, 0))


PROBLEMS: dict[Callable[[Path], None], str] = {
    Path.unlink: "is missing; expected the picture of frame 00001",
    in_colour: "frame 00001. is a RGB picture; expected one object id per pixel",
    cut_off: "frame 00001.* damaged or cut off.*expected a whole PNG",
    larger: "frame 00001.* has 21x12 pixels; expected 20x12",
    unknown_id: "frame 00001.* holds the id 9; expected ids 0 to 1",
    other_palette: "its palette may have been sorted anew .its colours begin with .200, 10, 10",
}


@pytest.mark.parametrize("spoil", PROBLEMS, ids=lambda spoil: spoil.__name__)
def test_pictures_that_do_not_fit(spoil: Callable[[Path], None], tmp_path: Path) -> None:
    davis(tmp_path, [square()] * 3, [square()] * 3)
    spoil(tmp_path / "pred" / "cow" / "00001.png")
    with pytest.raises(BrokenSequence, match=PROBLEMS[spoil]) as caught:
        scored("davis2017", tmp_path)
    assert str(tmp_path / "pred" / "cow" / "00001.png") in str(caught.value)


def test_missing_folders_and_lists(tmp_path: Path) -> None:
    davis(tmp_path, [square()] * 3, [square()] * 3)
    with pytest.raises(UserError, match="train.txt is not there"):
        scored("davis2017", tmp_path, subset="train")
    with pytest.raises(UserError, match="expected there: SEQUENCE/FRAME.png"):
        find_benchmark("davis2017").open(tmp_path / "nothing", tmp_path / "gt", {"subset": "val", "resolution": "480p"})
    (tmp_path / "gt" / "ImageSets" / "2017" / "val.txt").write_text("cow\nhen\n")
    with pytest.raises(BrokenSequence, match="hen is not there; expected one label picture per frame"):
        scored("davis2017", tmp_path)


def test_grey_pictures_of_sixteen_bits_are_labels(tmp_path: Path) -> None:
    labels = np.arange(300, dtype=np.uint16).reshape(15, 20)
    Image.fromarray(labels).save(tmp_path / "a.png")
    assert (read_labels(tmp_path / "a.png") == labels).all()
    with pytest.raises(BrokenSequence, match="is a 16-bit grey picture; expected one id of 8 bits"):
        read_foreground(tmp_path / "a.png")


def test_foreground_is_what_is_not_black(tmp_path: Path) -> None:
    save(tmp_path / "a.png", np.array([[0, 1, 2]], np.uint8), palette=(0, 0, 0, 0, 0, 0, 9, 9, 9))
    assert read_foreground(tmp_path / "a.png").tolist() == [[False, False, True]]
    save(tmp_path / "b.png", np.array([[0, 1, 255]], np.uint8), palette=None)
    assert read_foreground(tmp_path / "b.png").tolist() == [[False, True, True]]


@pytest.mark.parametrize(
    ("code", "problem"),
    [
        (None, "is no mask: a mask has size and counts"),
        ({"size": [4], "counts": "x"}, "its size is .4., not .height, width"),
        ({"size": [4, 5], "counts": "0"}, "its runs cover 0 pixels of 20"),
        ({"size": [4, 5], "counts": "~~~~~~"}, "hold the letter '~'"),
        ({"size": [4, 5], "counts": "P"}, "end within a number"),
        ({"size": [4, 5], "counts": "PPPPPPP0"}, "a number without an end"),
        ({"size": [4, 5], "counts": "\u00e9"}, "hold the letter '\u00e9'"),
        ({"size": [4, 5], "counts": "d0p"}, "hold the letter 'p'"),
        ({"size": [1 << 20, 1 << 20], "counts": "0"}, "its picture has"),
        ({"size": [4, 5], "counts": "O0"}, "a run of -1 pixels"),
        ({"size": [4, 5], "counts": [3, 4]}, "its runs cover 7 pixels of 20"),
        ({"size": [4, 5], "counts": ""}, "its counts are empty"),
    ],
)
def test_malformed_masks(code: Any, problem: str) -> None:
    with pytest.raises(BrokenSequence, match=problem):
        decoded_mask(code, "Mask 3")


def test_listed_runs_are_masks_too() -> None:
    mask = decoded_mask({"size": [2, 3], "counts": [1, 2, 3]}, "Mask 3")
    assert mask.tolist() == [[False, True, False], [True, False, False]]


def test_reports_with_cells_that_are_no_numbers(tmp_path: Path) -> None:
    columns = "sequence,scribble_idx,interaction,object_id,frame,jaccard,contour,j_and_f,timing"
    (tmp_path / "report.csv").write_text(f"{columns}\ncow,1,1,1,0,0.5,0.5,0.5,3\ncow,1,1,1,1,much,0.5,0.5,3\n")
    (tmp_path / "sequences.json").write_text(json.dumps({"cow": {"num_scribbles": 1, "num_objects": 1}}))
    benchmark = find_benchmark("davis-interactive")
    scoring = benchmark.open(tmp_path, tmp_path, benchmark.options)
    with pytest.raises(BrokenSequence, match="Line 3 .*frame 1.* no number"):
        scoring.measure("cow")
    (tmp_path / "sequences.json").write_text(json.dumps({"hen": {"num_scribbles": 1, "num_objects": 1}}))
    with pytest.raises(UserError, match="rows of cow"):
        benchmark.open(tmp_path, tmp_path, benchmark.options)


def test_expression_of_another_size_is_named(tmp_path: Path) -> None:
    meta = {"videos": {"v": {"frames": ["00000"], "expressions": {"0": {"exp": "it", "anno_id": [5]}}}}}
    (tmp_path / "gt").mkdir()
    (tmp_path / "gt" / "meta_expressions.json").write_text(json.dumps(meta))
    (tmp_path / "gt" / "mask_dict.json").write_text(json.dumps({"5": [{"size": [2, 3], "counts": [6]}]}))
    save(tmp_path / "pred" / "v" / "0" / "00000.png", square(255), palette=None)
    with pytest.raises(BrokenSequence, match="frame 00000 of v has 20x12 pixels; expected 3x2"):
        scored("mevis", tmp_path)

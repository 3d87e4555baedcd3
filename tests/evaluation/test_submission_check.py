"""Every usual mistake in a submission is found, and said with how to mend it."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.evaluation.tiny_submission import written
from univs.errors import UserError
from univs.evaluation.submissions import SUBMISSIONS
from univs.evaluation.submissions.check import check_submission
from univs.evaluation.submissions.pack import zip_folder
from univs.evaluation.submissions.problems import Problem, lines_of


def kinds(problems: list[Problem]) -> list[str]:
    return sorted({problem.kind for problem in problems})


# --- mistakes in submissions of pictures --------------------------------------------------------------------------


def parameters(mistakes: list[tuple[str, str, Callable, str]]) -> list:
    return [pytest.param(*each[1:], id=f"{each[1]} {each[0]}") for each in mistakes]


def repaint(path: Path, change: Callable[[Image.Image], Image.Image]) -> None:
    with Image.open(path) as image:
        changed = change(image)
    changed.save(path)


def first_picture(folder: Path) -> Path:
    return sorted(folder.rglob("*.png"))[0]


def repainted(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Path], None]:
    """Change the values of the first picture; it keeps its palette where it can."""

    def spoil(folder: Path) -> None:
        repaint(first_picture(folder), lambda image: Image.fromarray(change(np.array(image))))

    return spoil


def unpacked_top(folder: Path) -> None:
    shutil.move(folder / "Annotations" / "v0", folder)
    (folder / "Annotations").rmdir()


def to_colour(folder: Path) -> None:
    repaint(first_picture(folder), lambda image: image.convert("RGB"))


PICTURE_MISTAKES: list[tuple[str, str, Callable[[Path], object], str]] = [
    ("missing frame", "mose", lambda folder: first_picture(folder).unlink(), "1 of 3 frames are missing: 00000"),
    ("unknown frame", "mose", lambda f: first_picture(f).rename(f / "v0/7.png"), "1 frames are not in the list: 7"),
    ("missing video", "mose", lambda f: (f / "v0").rename(f / "v9"), "v0"),
    ("wrong size", "mose", repainted(lambda ids: ids[::2, ::2]), "8x6 pixels; 16x12"),
    ("unknown id", "mose", repainted(lambda ids: ids * 9), "9, 18; known are 1, 2"),
    ("colours", "mose", to_colour, "v0/00000.png (frame 00000) is a RGB picture"),
    ("floats", "mose", repainted(lambda ids: ids.astype(np.uint16)), "is a 16-bit grey picture"),
    ("grey", "mose", repainted(lambda ids: ids), "is grey"),
    ("cut", "mose", lambda f: first_picture(f).write_bytes(first_picture(f).read_bytes()[:60]), "or cut off"),
    ("nested", "mose", lambda f: shutil.move(f / "v0", f / "results/v0"), "everything lies in one folder results"),
    ("other files", "mose", lambda f: (f / "notes.txt").write_text("x"), "notes.txt"),
    ("loose picture", "mose", lambda f: shutil.copy(first_picture(f), f / "x.png"), "x.png"),
    ("flat", "youtube-vos", unpacked_top, "lie at the top"),
    ("other top", "youtube-vos", lambda f: (f / "Annotations").rename(f / "Masks"), "Masks"),
    ("202", "ref-youtube-vos", lambda f: shutil.rmtree(f / "Annotations/v7"), "201 videos; the server expects 202"),
    ("missing sentence", "mevis", lambda f: shutil.rmtree(f / "v0/1"), "v0/1"),
    ("one for white", "mevis", repainted(lambda grey: grey // 255), "00000.png has 0, 1"),
    ("void class", "vspw", repainted(lambda grey: grey | 255), "00000.png has 255"),
    ("annotator", "ref-davis17", lambda f: shutil.rmtree(f / "anno_2"), "anno_2"),
    ("nothing", "mose", lambda f: shutil.rmtree(f / "v0"), "there is no PNG file"),
]


@pytest.mark.parametrize(("name", "spoil", "told"), parameters(PICTURE_MISTAKES))
def test_mistakes_in_pictures_are_told(name: str, spoil: Callable, told: str, tmp_path: Path) -> None:
    folder, expected = written(name, tmp_path / "folder")
    spoil(folder)
    problems = check_submission(folder, SUBMISSIONS[name], expected)
    assert any(told in problem.text for problem in problems), problems
    assert all(problem.mend for problem in problems)
    zip_folder(folder, tmp_path / "packed.zip")
    assert kinds(check_submission(tmp_path / "packed.zip", SUBMISSIONS[name], expected)) == kinds(problems)


def test_a_check_says_how_far_it_is(tmp_path: Path) -> None:
    folder, expected = written("ref-davis17", tmp_path)
    steps = []
    check_submission(folder, SUBMISSIONS["ref-davis17"], expected, lambda done, total: steps.append((done, total)))
    assert steps == [(done, 4) for done in (1, 2, 3, 4)]


def test_only_a_missing_palette_is_a_note(tmp_path: Path) -> None:
    folder, expected = written("mose", tmp_path)
    repaint(first_picture(folder), lambda image: Image.fromarray(np.array(image)))
    (problem,) = check_submission(folder, SUBMISSIONS["mose"], expected)
    assert problem.note and problem.kind == "no palette"


def test_ids_in_other_colours_are_noted(tmp_path: Path) -> None:
    """As of a picture that was made from colours: its ids are numbered anew."""
    folder, expected = written("mose", tmp_path)

    def recolour(image: Image.Image) -> Image.Image:
        changed = image.copy()
        changed.putpalette([0, 0, 0, 0, 128, 0, 128, 0, 0])
        return changed

    repaint(first_picture(folder), recolour)
    (problem,) = check_submission(folder, SUBMISSIONS["mose"], expected)
    assert problem.note and problem.kind == "another palette"
    assert "the id 1 as (0, 128, 0); published masks show it as (128, 0, 0)" in problem.text


# --- mistakes in lists --------------------------------------------------------------------------------------------


def edit(folder: Path, change: Callable[[object], object]) -> None:
    (path,) = folder.glob("*.json")
    content = json.loads(path.read_text())
    changed = change(content)
    path.write_text(json.dumps(content if changed is None else changed))


def mask_of(content: list) -> dict:
    return content[0]["segmentations"][0]


def frame_of(content: dict) -> dict:
    return content["annotations"][0]["annotations"][0]


def segments_of(content: dict) -> list:
    return frame_of(content)["segments_info"]


def tracks_of(content: dict) -> dict:
    return content["sequences"][0]["segmentations"][0]


LIST_MISTAKES: list[tuple[str, str, Callable, str]] = [
    ("no score", "ovis", lambda c: c[0].pop("score") and None, "entry 0 has no 'score'"),
    ("score as text", "ovis", lambda c: c[0].update(score="high"), 'score = "high" where a number'),
    ("float id", "ovis", lambda c: c[0].update(video_id=1.0), "video_id = 1.0"),
    ("unknown video", "ovis", lambda c: c[0].update(video_id=9), "video_id = 9; known are 1"),
    ("unknown category", "ovis", lambda c: c[0].update(category_id=4), "category 4; known are 3, 7"),
    ("no category", "ovis", lambda c: c[0].update(category_id=None), "category_id = None"),
    ("short track", "ovis", lambda c: c[0]["segmentations"].pop() and None, "2 masks; video 1 has 3 frames"),
    ("mask of another size", "ovis", lambda c: mask_of(c).update(size=[16, 12]), "12x16 pixels; 16x12 are expected"),
    ("short mask", "ovis", lambda c: mask_of(c).update(counts=mask_of(c)["counts"][:-2]), "its runs cover"),
    ("letters", "ovis", lambda c: mask_of(c).update(counts="~~"), "hold the letter '~'"),
    ("endless number", "ovis", lambda c: mask_of(c).update(counts="o" * 40), "a number without an end"),
    ("cut number", "ovis", lambda c: mask_of(c).update(counts="o"), "end within a number"),
    ("no size", "ovis", lambda c: mask_of(c).pop("size") and None, "a mask has size and counts"),
    ("float size", "ovis", lambda c: mask_of(c).update(size=[12.0, 16]), "not [height, width]"),
    ("a box for a mask", "ovis", lambda c: mask_of(c).update(counts={"a": 1}), "neither text nor a list"),
    ("no entries", "ovis", lambda c: [], "is an empty list"),
    ("an object for a list", "ovis", lambda c: {"results": c}, "results.json holds an object where a list"),
    ("entry is a number", "ovis", lambda c: [3], "entry 0 is"),
    ("no picture", "coco-instance", lambda c: c[0].update(image_id=77), "image_id = 77"),
    ("polygon", "coco-instance", lambda c: c[0].update(segmentation=[[1, 2]]), "segmentation ="),
    ("empty mask", "burst", lambda c: tracks_of(c)["1"].update(rle="P6"), "YFCC/v0, frame 0, track 1"),
    ("mask without text", "burst", lambda c: tracks_of(c)["1"].pop("rle") and None, "neither text nor a list"),
    ("unlisted track", "burst", lambda c: tracks_of(c).update({"9": tracks_of(c)["1"]}), "track 9"),
    ("track id", "burst", lambda c: c["sequences"][0]["track_category_ids"].update({"0": 3}), "the track '0'"),
    ("missing frame", "burst", lambda c: c["sequences"][0]["segmentations"].pop() and None, "2 frames; 3 are expected"),
    ("sequence twice", "burst", lambda c: c["sequences"].append(c["sequences"][0]), "YFCC/v0"),
    ("missing sequence", "burst", lambda c: c.update(sequences=[]), "YFCC/v0"),
    ("unknown sequence", "burst", lambda c: c["sequences"][0].update(seq_name="v5"), "YFCC/v5"),
    ("frame is a list", "burst", lambda c: c["sequences"][0]["segmentations"].__setitem__(0, []), "YFCC/v0, frame 0"),
    ("duplicate ids", "vipseg", lambda c: segments_of(c).append(segments_of(c)[0]), "00000.png: 1"),
    ("unlisted id", "vipseg", lambda c: segments_of(c).pop() and None, "00000.png: 2"),
    ("absent id", "vipseg", lambda c: segments_of(c).append({"id": 5, "category_id": 3}), "00000.png: 5"),
    ("wrong area", "vipseg", lambda c: segments_of(c)[0].update(area=9), "36 pixels, its area says 9"),
    ("float id", "vipseg", lambda c: segments_of(c)[0].update(id=1.0), "id = 1.0 where an integer"),
    ("unknown category", "vipseg", lambda c: segments_of(c)[0].update(category_id=99), "has 99; known"),
    ("missing frame", "vipseg", lambda c: c["annotations"][0]["annotations"].pop() and None, "missing 00010"),
    ("missing picture", "vipseg", lambda c: frame_of(c).update(file_name="x.png"), "v0/x.png is missing"),
    ("missing video", "vipseg", lambda c: c["annotations"][0].update(video_id="v8"), "v8"),
    ("unknown picture", "coco-panoptic", lambda c: c["annotations"][0].update(image_id=44), "image_id = 44"),
]


@pytest.mark.parametrize(("name", "change", "told"), parameters(LIST_MISTAKES))
def test_mistakes_in_lists_are_told(name: str, change: Callable, told: str, tmp_path: Path) -> None:
    folder, expected = written(name, tmp_path)
    edit(folder, change)
    problems = check_submission(folder, SUBMISSIONS[name], expected)
    assert any(told in problem.text for problem in problems), problems
    assert all(problem.mend and not problem.note for problem in problems)


@pytest.mark.parametrize("mode", ["L", "cut"])
def test_id_pictures_must_be_whole_and_coloured(mode: str, tmp_path: Path) -> None:
    folder, expected = written("vipseg", tmp_path)
    path = first_picture(folder)
    if mode == "cut":
        path.write_bytes(path.read_bytes()[:50])
    else:
        repaint(path, lambda image: image.convert(mode))
    (problem,) = check_submission(folder, SUBMISSIONS["vipseg"], expected)
    assert problem.kind == "unusable pictures" and "v0/00000.png" in problem.text


def test_the_list_must_lie_where_it_is_looked_for(tmp_path: Path) -> None:
    folder, expected = written("ovis", tmp_path / "folder")
    submission = SUBMISSIONS["ovis"]
    assert check_submission(folder / "results.json", submission, expected) == []
    (folder / "inner").mkdir()
    shutil.move(folder / "results.json", folder / "inner")
    assert kinds(check_submission(folder, submission, expected)) == ["nested"]
    (folder / "inner" / "results.json").rename(folder / "output.json")
    assert kinds(check_submission(folder, submission, expected)) == ["no list"]
    assert kinds(check_submission(folder / "output.json", submission, expected)) == ["name of the list"]
    (folder / "results.json").write_text("[{")
    assert kinds(check_submission(folder, submission, expected)) == ["unreadable list"]
    with pytest.raises(UserError, match="is not there"):
        check_submission(tmp_path / "nothing.zip", submission, expected)


def test_clutter_of_file_managers_is_noted(tmp_path: Path) -> None:
    folder, expected = written("mose", tmp_path / "folder")
    zip_folder(folder, tmp_path / "s.zip")
    with zipfile.ZipFile(tmp_path / "s.zip", "a") as archive:
        archive.writestr("__MACOSX/v0/._00000.png", "")
    (problem,) = check_submission(tmp_path / "s.zip", SUBMISSIONS["mose"], expected)
    assert problem.note and problem.kind == "files of a file manager"


def test_the_same_mistake_is_said_once() -> None:
    lines = list(lines_of([Problem("missing frames", f"v{index}", "write them") for index in range(9)]))
    assert lines == [
        "wrong: missing frames (9)",
        "  v0",
        "  v1",
        "  v2",
        "  ... and 6 more",
        "  to mend it: write them",
    ]


@pytest.mark.parametrize(("name", "fits"), [("detections_val_x_results.json", True), ("detections.json", False)])
def test_lists_under_the_name_that_a_server_wants(name: str, fits: bool, tmp_path: Path) -> None:
    folder, expected = written("coco-instance", tmp_path / "folder")
    (folder / "results.json").rename(folder / name)
    assert (check_submission(folder, SUBMISSIONS["coco-instance"], expected) == []) == fits
    assert (check_submission(folder / name, SUBMISSIONS["coco-instance"], expected) == []) == fits

"""Readers of videos, stills and sentences."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from univs.data.formats.expressions import mirror_words
from univs.data.formats.palette_folders import read_palette_videos, read_sequences
from univs.data.formats.stills_index import is_held_back, read_stills
from univs.errors import UserError

from .tiny import FRAMES, make_data, save_palette, save_picture


def test_sequences_are_read_with_their_names_and_sentences(tiny_root: Path) -> None:
    east, two = read_sequences(tiny_root, "train")
    assert (east.name, two.name, len(east)) == ("east", "two", FRAMES)
    assert two.categories == {1: ("square",), 2: ("square",)}
    assert east.expressions == {1: ("the red one on the left",)} and two.expressions == {}
    assert all(path.is_file() for path in (*east.image_files, *east.mask_files))


def test_validation_sequences_stay_out_whatever_their_split_says(tiny_root: Path) -> None:
    assert json.loads((tiny_root / "manifest.json").read_text())["sequences"]["kept"]["split"] == "train"
    assert "kept" not in [sequence.name for sequence in read_sequences(tiny_root, "train")]
    assert [sequence.name for sequence in read_sequences(tiny_root, "val")] == ["kept"]


def test_stills_fall_on_one_side_by_their_name(tiny_root: Path) -> None:
    parts = {split: {still.name for still in read_stills(tiny_root, split)} for split in ("train", "val", "all")}
    assert parts["train"] | parts["val"] == parts["all"] and not parts["train"] & parts["val"]
    assert len(parts["all"]) == 12
    share = np.mean([is_held_back(str(number)) for number in range(5000)])
    assert 0.08 < share < 0.12


def test_still_objects_have_all_their_facts(tiny_root: Path) -> None:
    still = next(item for item in read_stills(tiny_root, "all") if item.name == "3")
    first, second = still.objects
    assert (first.object_id, first.categories, first.box, first.area) == (1, ("square",), (9, 8, 25, 24), 256)
    assert second.is_thing and not second.is_crowd and still.partial_annotation


@pytest.mark.parametrize(
    ("sentence", "mirrored"),
    [
        ("Left of the right one", "Right of the left one"),
        ("a bright light", "a bright light"),
        ("leftmost", "leftmost"),
    ],
)
def test_flipping_swaps_sides_in_sentences(sentence: str, mirrored: str) -> None:
    assert mirror_words(sentence) == mirrored


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda text: text[:-5], "not valid JSON"),
        (lambda text: text.replace('"frames"', '"count"'), "no 'frames'"),
        (lambda text: text.replace('{"1":', '{"300":'), "300 is not within 1..199"),
    ],
)
def test_a_broken_manifest_is_told_apart(tmp_path: Path, tiny_root: Path, change, told: str) -> None:
    text = (tiny_root / "manifest.json").read_text()
    (tmp_path / "manifest.json").write_text(change(text))
    with pytest.raises(UserError, match=told):
        read_sequences(tmp_path, "train")


def test_a_missing_folder_points_to_the_layout(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"datasets/README\.md"):
        read_sequences(tmp_path, "train")


def test_an_index_without_boxes_is_refused(tmp_path: Path) -> None:
    root = make_data(tmp_path, stills=1)
    file = root / "stills/own/index.json"
    file.write_text(file.read_text().replace("bbox_xyxy", "bbox"))
    with pytest.raises(UserError, match="'bbox_xyxy'"):
        read_stills(root, "all")


def test_folders_of_frames_and_masks_are_videos(tmp_path: Path) -> None:
    for name, frames in (("b", 3), ("a", 2), ("c", 1)):
        for frame in range(frames):
            save_picture(tmp_path / f"images/{name}/{frame:03d}.jpg", np.zeros((8, 8, 3), np.uint8))
    save_palette(tmp_path / "masks/b/001.png", np.ones((8, 8), np.uint8))
    (tmp_path / "list.txt").write_text("b\n\na\n")
    first, second = read_palette_videos(tmp_path / "images", tmp_path / "masks", tmp_path / "list.txt")
    assert (first.name, len(first), second.name, len(second)) == ("a", 2, "b", 3)
    assert [file is not None for file in second.mask_files] == [False, True, False]
    assert len(read_palette_videos(tmp_path / "images", tmp_path / "masks")) == 3
    shutil.rmtree(tmp_path / "images/a")
    with pytest.raises(UserError, match="has no frames"):
        read_palette_videos(tmp_path / "images", tmp_path / "masks", tmp_path / "list.txt")

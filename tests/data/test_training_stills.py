"""Single pictures with every object of the crop."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from univs.data.formats.stills_index import read_stills
from univs.data.training_stills import StillSettings, TrainingStills
from univs.errors import UserError

from .tiny import make_data

SMALL = StillSettings(sizes=((32, 56), (40, 40)), group=2, colour=0.0, video_share=0.3)


@pytest.fixture(scope="module")
def stills(tiny_root: Path) -> TrainingStills:
    return TrainingStills.from_folder(tiny_root, SMALL, seed=1)


def test_samples_are_what_their_docstring_says(stills: TrainingStills) -> None:
    for sample in (stills[index] for index in range(30)):
        (image,), (ids,) = sample["image"], sample["id_map"]
        assert image.shape[1:] == ids.shape == (sample["height"], sample["width"]) and image.dtype == torch.uint8
        objects = len(sample["categories"])
        assert objects == len(sample["is_thing"]) == len(sample["expressions"]) >= 1
        assert set(ids.unique().tolist()) - {0, 255} == set(range(1, objects + 1))


def test_masks_lie_on_their_objects(stills: TrainingStills) -> None:
    found = 0
    for sample in (stills[index] for index in range(30)):
        for number, names in enumerate(sample["categories"], 1):
            inside = sample["image"][0][:, sample["id_map"][0] == number].float()
            if names == ["tile"] and inside.shape[1] > 30:
                found += 1
                assert (inside[1] > inside[0] + 80).float().mean() > 0.7
    assert found > 5


def test_sizes_are_shared_by_groups_and_samples_repeat(stills: TrainingStills) -> None:
    sizes = [stills[index]["id_map"].shape[1:] for index in range(16)]
    assert sizes[::2] == sizes[1::2] and set(sizes) == {(32, 56), (40, 40)}
    assert torch.equal(stills[7]["image"][0], stills[7]["image"][0])


def test_full_and_partial_annotation_are_told_apart(stills: TrainingStills) -> None:
    partial = {sample["name"]: sample["partial_annotation"] for sample in (stills[index] for index in range(60))}
    assert partial["east"] and partial["3"] and not partial["2"]


def test_objects_too_small_to_count_are_unknown_ground(tiny_root: Path) -> None:
    settings = StillSettings(sizes=((40, 64),), least_pixels=0.08, zoom=(1.0, 2.0), video_share=0.0, turn_degrees=0.0)
    samples = [TrainingStills.from_folder(tiny_root, settings)[index] for index in range(30)]
    cut = [sample for sample in samples if len(sample["categories"]) == 1 and (sample["id_map"] == 255).any()]
    assert cut and all((sample["id_map"] == 255).sum() < 0.08 * 40 * 64 for sample in cut)


def test_held_back_stills_are_never_opened(tmp_path: Path) -> None:
    root = make_data(tmp_path)
    kept = {still.name for still in read_stills(root, "val")}
    for name in kept:
        (root / f"stills/own/images/{name}.jpg").unlink()
        (root / f"stills/own/masks/{name}.png").unlink()
    dataset = TrainingStills.from_folder(root, SMALL)
    dataset.preload()
    names = {dataset[index]["name"] for index in range(60)}
    assert kept and not kept & names and len(names) > 8


def test_no_stills_are_refused() -> None:
    with pytest.raises(UserError, match="no stills"):
        TrainingStills([], [])

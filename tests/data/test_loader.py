"""The table of data sets, and batches from a configuration."""

from __future__ import annotations

import itertools
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog
from torch.utils.data import Dataset

from univs.config import get_config
from univs.data import catalog
from univs.data.loader import MappedRecords, MixedDataSets, build_train_dataset, build_train_loader, jitter_settings
from univs.data.mapper import TrainingMapper
from univs.errors import UserError

OPTIONS = {
    "DATASETS.TRAIN": ("univs_mini_clips_train", "univs_mini_stills_train", "univs_mini_video_train"),
    "INPUT.FORMAT": "RGB",
    "INPUT.CLIPS.SIZE": [32, 56],
    "INPUT.STILLS.SIZES": [[32, 56]],
    "INPUT.AUGMENTATION.IMAGE_SIZE": 48,
    "SOLVER.IMS_PER_BATCH": 2,
    "DATALOADER.NUM_WORKERS": 0,
}


def options(**changes: Any) -> list[Any]:
    values = {**OPTIONS, **{key.replace("__", "."): value for key, value in changes.items()}}
    return [item for pair in values.items() for item in pair]


class Numbered(Dataset):
    def __init__(self, name: str):
        self.name = name

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {"name": self.name, "sample": index}


@pytest.fixture
def data_folder(tiny_root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("UNIVS_DATA", str(tiny_root))
    return tiny_root


def test_every_row_is_usable_and_named_once() -> None:
    names = [row.name for row in catalog.TABLE]
    assert len(set(names)) == len(names)
    for row in catalog.TABLE:
        assert row.layout in catalog.LAYOUTS and row.kind in ("records", "clips", "stills")
        assert row.task in ("detection", "sot", "grounding") and row.reach in ("near", "video", "tracking")


def test_rows_are_registered_once_with_their_facts(data_folder: Path) -> None:
    catalog.register_datasets()
    catalog.register_datasets()
    facts = MetadataCatalog.get("univs_mini_video_val")
    assert (facts.task, facts.evaluator_type) == ("sot", "davis")
    (record,) = DatasetCatalog.get("univs_mini_video_val")
    assert record["video_id"] == "kept" and record["task"] == "sot"


def test_benchmark_folders_are_found_below_their_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    monkeypatch.delenv("UNIVS_DATA", raising=False)
    assert catalog.development_root() == tmp_path / "univs_mini"
    with pytest.raises(UserError, match="is missing"):
        catalog.load_records(catalog.find("mots_mose_train"))
    with pytest.raises(UserError, match="There is no data set 'nonsense'"):
        catalog.find("nonsense")


def test_data_sets_are_mixed_by_their_ratios() -> None:
    mixed = MixedDataSets([Numbered("a"), Numbered("b"), Numbered("c")], [3, 1, 0], group=4, seed=2)
    names = [mixed[index]["name"] for index in range(1600)]
    assert 0.68 < Counter(names)["a"] / 1600 < 0.82 and "c" not in names
    assert all(len(set(names[first : first + 4])) == 1 for first in range(0, 1600, 4))
    assert len({tuple(names[first : first + 4]) for first in range(0, 1600, 4)}) == 2
    alone = MixedDataSets([Numbered("a"), Numbered("b")], [1, 1], group=1)
    assert len({alone[index]["name"] for index in range(4, 12)}) == 2


@pytest.mark.parametrize("ratios", [[1], [1, -1], [0, 0]])
def test_ratios_that_make_no_sense_are_refused(ratios: list[float]) -> None:
    with pytest.raises(UserError, match="TRAIN_RATIO"):
        MixedDataSets([Numbered("a"), Numbered("b")], ratios, group=1)


def test_a_configuration_gives_batches_of_one_kind(data_folder: Path) -> None:
    batches = list(itertools.islice(build_train_loader(get_config(None, options())), 10))
    kinds = Counter()
    for batch in batches:
        assert len(batch) == 2 and len({("instances" in sample, len(sample["image"])) for sample in batch}) == 1
        kinds["records" if "instances" in batch[0] else f"{len(batch[0]['image'])} frames"] += 1
    assert set(kinds) == {"records", "3 frames", "1 frames"}
    again = list(itertools.islice(build_train_loader(get_config(None, options()), first_step=7), 3))
    assert [[s["sample"] for s in batch] for batch in again] == [[14, 15], [16, 17], [18, 19]]
    assert [s["name"] for batch in again for s in batch] == [s["name"] for batch in batches[7:] for s in batch]


def test_mixed_batches_do_not_depend_on_workers(data_folder: Path) -> None:
    alone, shared = (
        list(itertools.islice(build_train_loader(get_config(None, options(DATALOADER__NUM_WORKERS=workers))), 8))
        for workers in (0, 2)
    )
    assert len({sample["dataset_name"] for batch in alone for sample in batch}) > 1
    for one, other in zip(itertools.chain(*alone), itertools.chain(*shared), strict=True):
        assert one.keys() == other.keys() and (one["sample"], one["name"]) == (other["sample"], other["name"])
        assert all(map(torch.equal, one["image"], other["image"]))
        masks = [
            [frame.gt_masks.tensor for frame in sample["instances"]] if "instances" in sample else [sample["id_map"]]
            for sample in (one, other)
        ]
        assert all(map(torch.equal, *masks))


@pytest.mark.parametrize("workers", [1, 2])
def test_several_workers_find_the_pictures_decoded(data_folder: Path, workers: int) -> None:
    changes = {"DATASETS__TRAIN": ("univs_mini_stills_train",), "DATALOADER__NUM_WORKERS": workers}
    (stills,) = build_train_dataset(get_config(None, options(**changes)), 2).datasets
    paths = [item.image_file for item in stills.stills]
    for path in paths:
        path.rename(path.with_suffix(".away"))
    try:
        if workers == 1:
            with pytest.raises(UserError, match="missing"):
                _ = [stills[index] for index in range(20)]
        else:
            assert len([stills[index] for index in range(20)]) == 20
    finally:
        for path in paths:
            path.with_suffix(".away").rename(path)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"DATASETS__TRAIN": ()}, "DATASETS.TRAIN is empty"),
        ({"DATASETS__TRAIN": ("nonsense",)}, "no data set 'nonsense'"),
        ({"INPUT__FORMAT": "BGR"}, "INPUT.FORMAT"),
        ({"DATALOADER__MIXING": "often"}, "DATALOADER.MIXING"),
        ({"DATASETS__TRAIN_RATIO": [1.0]}, "TRAIN_RATIO"),
        ({"SOLVER__IMS_PER_BATCH": 3}, "cannot be shared by 2 processes"),
    ],
)
def test_settings_that_contradict_each_other_are_told(data_folder: Path, changes: dict[str, Any], told: str) -> None:
    with pytest.raises(UserError, match=told):
        build_train_loader(get_config(None, options(**changes)), world_size=2)


def test_short_sides_come_as_a_choice_or_a_range() -> None:
    chosen = options(INPUT__MIN_SIZE_TRAIN=(40, 44))
    assert jitter_settings(get_config(None, chosen)).short_sides == (40, 44)
    ranged = [*chosen, "INPUT.MIN_SIZE_TRAIN_SAMPLING", "range"]
    assert jitter_settings(get_config(None, ranged)).short_sides == (40, 41, 42, 43, 44)


def test_records_without_objects_end_in_a_sentence(tiny_root: Path) -> None:
    with pytest.raises(UserError, match="no videos"):
        MappedRecords([], TrainingMapper())
    image = str(tiny_root / "videos/own/east/JPEGImages/00000.jpg")
    empty = {"file_names": [image], "mask_file_names": [None], "objects": {}, "video_id": "x"}
    with pytest.raises(UserError, match="no object is visible"):
        MappedRecords([{**empty, "task": "sot", "dataset_name": "own"}], TrainingMapper())[0]

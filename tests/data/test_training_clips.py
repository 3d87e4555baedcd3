"""Made-up clips: the same for the same number, with masks that follow the objects."""

from __future__ import annotations

import itertools
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from univs.data.clip_makers import RawClip
from univs.data.clip_objects import choose_objects
from univs.data.clip_settings import ClipSettings
from univs.data.instances import to_instances
from univs.data.training_clips import TrainingClips, clip_loader
from univs.errors import UserError

from .tiny import make_data

SMALL = ClipSettings(frames=3, size=(40, 64), scale_width=80, gaps=(1, 3), gap_samples=100, colour=0.0)


def clips(root: Path, seed: int = 0, **changes: Any) -> TrainingClips:
    return TrainingClips.from_folder(root, ClipSettings(**{**vars(SMALL), **changes}), seed)


def same(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    return one == other


def test_samples_are_what_their_docstring_says(tiny_root: Path) -> None:
    for index in range(30):
        sample = clips(tiny_root)[index]
        assert len(sample["image"]) == 3 and sample["id_map"].shape == (3, 40, 64)
        assert all(frame.shape == (3, 40, 64) and frame.dtype == torch.uint8 for frame in sample["image"])
        objects = len(sample["categories"])
        assert len(sample["expressions"]) == objects and 1 <= objects <= 3
        assert set(sample["id_map"][0].unique().tolist()) - {0, 255} == set(range(1, objects + 1))
        assert set(sample["id_map"].unique().tolist()) <= {0, 255, *range(1, objects + 1)}
        assert sample["frame_indices"] == sorted(sample["frame_indices"]) and sample["frame_indices"][0] == 0


def test_equal_numbers_give_equal_clips(tiny_root: Path) -> None:
    first, second = clips(tiny_root, seed=4), clips(tiny_root, seed=4)
    _ = [first[index] for index in range(5)]  # history must not matter
    assert all(same(first[index], second[index]) for index in (9, 3))
    assert not same(first[3], clips(tiny_root, seed=5)[3])


def test_batches_do_not_depend_on_workers_or_on_where_a_run_starts(tiny_root: Path) -> None:
    dataset = clips(tiny_root)
    alone = list(itertools.islice(clip_loader(dataset, 2), 4))
    later = list(itertools.islice(clip_loader(dataset, 2, first_step=2, num_workers=2), 2))
    assert same(alone[2:], later)
    halves = [next(iter(clip_loader(dataset, 1, first_step=1, rank=rank, world_size=2))) for rank in (0, 1)]
    assert same(alone[1], halves[0] + halves[1])


def test_masks_of_video_lie_on_the_object(tiny_root: Path) -> None:
    dataset = clips(tiny_root, video_share=1.0, paste_share=0.0)
    seen = Counter()
    for index in range(20):
        sample = dataset[index]
        for frame, ids in zip(sample["image"], sample["id_map"], strict=True):
            for number in range(1, len(sample["categories"]) + 1):
                if not (ids == number).any():
                    continue
                colour = frame[:, ids == number].float().median(dim=1).values
                seen["red" if colour[0] > colour[1] else "green"] += 1
                assert abs(float(colour[0] - colour[1])) > 150
    assert seen["red"] and seen["green"]


def test_masks_of_moving_stills_lie_on_the_object(tiny_root: Path) -> None:
    dataset = clips(tiny_root, video_share=0.0, still_share=1.0)
    for index in range(20):
        sample = dataset[index]
        for number, names in enumerate(sample["categories"], 1):
            inside = sample["image"][0][:, sample["id_map"][0] == number].float()
            red, green, _ = inside.mean(dim=1)  # the outlines of what is pasted are softened
            assert (red - green if names[0] == "square" else green - red) > 60


def test_two_objects_keep_their_numbers_through_a_clip(tiny_root: Path) -> None:
    dataset = clips(tiny_root, video_share=1.0, paste_share=0.0)
    for sample in (dataset[index] for index in range(30)):
        if len(sample["categories"]) < 2:
            continue
        for number in (1, 2):
            reds = [
                frame[0, ids == number].float().median() > 150
                for frame, ids in zip(sample["image"], sample["id_map"], strict=True)
                if (ids == number).sum() > 20
            ]
            assert len(set(map(bool, reds))) == 1
        return
    pytest.fail("no clip had two objects")


def test_validation_sequences_and_stills_are_never_opened(tmp_path: Path) -> None:
    root = make_data(tmp_path)
    shutil.rmtree(root / "videos/own/kept")
    dataset = clips(root)
    dataset.preload()
    names = {dataset[index]["name"] for index in range(40)}
    assert {"east", "two"} <= names and "kept" not in names


def test_all_kinds_of_clips_come_in_their_shares(tiny_root: Path) -> None:
    dataset = clips(tiny_root)
    names = Counter("video" if dataset[index]["name"] in ("east", "two") else "still" for index in range(120))
    assert 40 < names["video"] < 80


def test_gaps_grow_and_sentences_follow_the_flip(tiny_root: Path) -> None:
    dataset = clips(tiny_root, video_share=1.0, paste_share=0.0)
    early = [dataset[index]["frame_indices"] for index in range(20)]
    late = [dataset[index]["frame_indices"] for index in range(1000, 1020)]
    assert max(np.diff(early).max(axis=1)) == 1 and max(np.diff(late).max(axis=1)) > 1
    sentences = {text for index in range(20) for texts in dataset[index]["expressions"] for text in texts}
    assert sentences == {"the red one on the left", "the red one on the right"}


def test_a_group_shares_its_length(tiny_root: Path) -> None:
    dataset = clips(tiny_root, frames=(3, 6), group=4)
    lengths = [[len(dataset[4 * group + place]["image"]) for place in range(4)] for group in range(8)]
    assert all(len(set(row)) == 1 for row in lengths) and len({row[0] for row in lengths}) > 1


def test_videos_alone_are_enough(tmp_path: Path) -> None:
    root = make_data(tmp_path, stills=0)
    assert clips(root, video_share=0.1)[0]["name"] in ("east", "two")


def test_nothing_at_all_is_refused() -> None:
    with pytest.raises(UserError, match="neither"):
        TrainingClips([], [])


def test_masks_without_objects_are_told(tmp_path: Path, tiny_root: Path) -> None:
    root = Path(shutil.copytree(tiny_root, tmp_path / "empty"))
    manifest = root / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"1":', '"9":').replace('"2":', '"8":'))
    with pytest.raises(UserError, match="No clip with a visible object"):
        clips(root, video_share=1.0, paste_share=0.0)[0]


def test_wanted_objects_come_first_and_tiny_ones_never(tiny_root: Path) -> None:
    ids = np.zeros((20, 20), np.uint8)
    ids[:5, :5], ids[10:15, 10:15], ids[0, 19] = 3, 7, 9
    names = {key: ("thing",) for key in (3, 7, 9)}
    clip = RawClip([], [ids], names, "name", "source", [0], wanted=(7, 3, 7))
    chosen = [choose_objects(np.random.default_rng(seed), clip, 3, least_pixels=4) for seed in range(20)]
    assert {tuple(keys) for keys in chosen} == {(7,), (7, 3)}


def test_instances_list_every_object_in_every_frame() -> None:
    id_map = torch.zeros(2, 6, 8, dtype=torch.uint8)
    id_map[0, 1:3, 2:5], id_map[:, 4, 6] = 1, 2
    sample = {"id_map": id_map, "categories": [["cat", "tabby"], ["cup"]]}
    first, second = to_instances(sample, {"tabby": 5})
    assert first.gt_boxes.tensor.tolist() == [[2, 1, 5, 3], [6, 4, 7, 5]]
    assert first.gt_classes.tolist() == [5, -1] and first.gt_ids.tolist() == [0, 1]
    assert second.gt_classes.tolist() == [-1, -1] and second.gt_ids.tolist() == [-1, 1]
    assert second.gt_masks.tensor.shape == (2, 6, 8) and not second.gt_masks.tensor[0].any()

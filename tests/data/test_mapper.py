"""From records to samples."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from univs.data.formats.palette_folders import read_sequences
from univs.data.formats.records import sequence_record
from univs.data.mapper import MapperSettings, TrainingMapper
from univs.data.sampling import following_frames, reference_frames, shift_into_range
from univs.data.scale_jitter import JitterSettings
from univs.errors import UserError

from .tiny import FRAMES, RED, save_picture

JITTER = JitterSettings(image_size=64, min_scale=0.6, max_scale=1.4)


@pytest.fixture
def record(tiny_root: Path) -> dict[str, Any]:
    return sequence_record(read_sequences(tiny_root, "train")[0], "sot", "own")


def mapped(record: dict[str, Any], seed: int, frames: int = 3, jitter: JitterSettings = JITTER) -> dict[str, Any]:
    return TrainingMapper(MapperSettings(frames, 4, jitter))(record, np.random.default_rng(seed))


def test_samples_have_detectron2s_form(record: dict[str, Any]) -> None:
    sample = mapped(record, 0)
    assert [frame.shape for frame in sample["image"]] == [(3, 64, 64)] * 3
    assert sample["image"][0].dtype == torch.uint8 and (sample["task"], sample["dataset_name"]) == ("sot", "own")
    assert len(sample["instances"]) == 3 and all(len(item) == 1 for item in sample["instances"])
    assert sample["frame_indices"] == sorted(sample["frame_indices"])


def test_masks_and_boxes_lie_on_the_object(record: dict[str, Any]) -> None:
    checked = 0
    for seed in range(12):
        sample = mapped(record, seed)
        for frame, item in zip(sample["image"], sample["instances"], strict=True):
            mask = item.gt_masks.tensor[0]
            assert (item.gt_ids[0] == 0) == bool(mask.any())
            if mask.sum() < 40:
                continue
            checked += 1
            assert (frame[:, mask].float().median(dim=1).values - torch.tensor(RED)).abs().max() < 40
            x0, y0, x1, y1 = item.gt_boxes.tensor[0].int().tolist()
            assert mask[y0:y1, x0:x1].sum() == mask.sum() and mask[y0].any() and mask[:, x1 - 1].any()
    assert checked > 10


def test_equal_generators_give_equal_samples(record: dict[str, Any]) -> None:
    one, two = mapped(record, 5), mapped(record, 5)
    assert all(torch.equal(a, b) for a, b in zip(one["image"], two["image"], strict=True))
    assert one["frame_indices"] == two["frame_indices"] and one["prompts"] == two["prompts"]


def test_prompts_are_for_objects_of_the_key_frame(record: dict[str, Any]) -> None:
    for seed in range(8):
        sample = mapped(record, seed)
        for item in sample["prompts"]:
            mask = sample["instances"][item["frame"]].gt_masks.tensor[item["object"]]
            assert mask.any()
            if item["prompt"].kind == "point":
                x, y = item["prompt"].points[0]
                assert mask[int(y), int(x)]


def test_sentences_swap_sides_with_the_picture(record: dict[str, Any]) -> None:
    settings = JitterSettings(square=False, short_sides=(48,), rotation=0.0)
    sides = {}
    for seed in range(10):
        sample = mapped(record, seed, 1, settings)
        columns = torch.nonzero(sample["instances"][0].gt_masks.tensor[0])[:, 1].float()
        place = sample["frame_indices"][0]
        middle = 4 + 4 * place + 8  # of the square in the frame as it is stored
        mirrored = abs(float(columns.mean()) - middle) > 3
        sides[mirrored] = sample["expressions"]
    assert sides == {False: ["the red one on the left"], True: ["the red one on the right"]}


def test_a_picture_stands_for_a_still_video(record: dict[str, Any]) -> None:
    single = {**record, "file_names": record["file_names"][:1], "mask_file_names": record["mask_file_names"][:1]}
    sample = mapped(single, 1, 4)
    assert len(sample["image"]) == 4 and max(sample["frame_indices"]) < 12


def test_videos_without_visible_objects_give_no_sample(record: dict[str, Any]) -> None:
    assert mapped({**record, "mask_file_names": [None] * FRAMES}, 0) is None


def test_absent_objects_are_marked(tiny_root: Path) -> None:
    record = sequence_record(read_sequences(tiny_root, "train")[1], "sot", "own")
    record["mask_file_names"] = [None if place % 2 else name for place, name in enumerate(record["mask_file_names"])]
    sample = mapped(record, 3, 4, JitterSettings(square=False, short_sides=(48,)))
    states = {tuple(item.gt_ids.tolist()) for item in sample["instances"]}
    assert states == {(0, 1), (-1, -1)}
    assert all((item.gt_classes == -1).all() for item in sample["instances"])


def test_masks_of_another_size_are_refused(tmp_path: Path, record: dict[str, Any]) -> None:
    save_picture(tmp_path / "large.jpg", np.zeros((60, 90, 3), np.uint8))
    with pytest.raises(UserError, match="90x60 pixels but its annotation is 80x48"):
        mapped({**record, "file_names": [str(tmp_path / "large.jpg")] * FRAMES}, 0)


def test_frames_lie_round_a_reference_frame() -> None:
    for seed in range(30):
        places = reference_frames(np.random.default_rng(seed), 50, 4, 5)
        assert len(places) == 4 and (np.diff(places) >= 0).all() and np.ptp(places) <= 10
        assert 0 <= places[0] and places[-1] < 50
    assert reference_frames(np.random.default_rng(0), 1, 3, 5).tolist() == [0, 0, 0]


def test_large_frame_numbers_are_shifted_together() -> None:
    for seed in range(20):
        places = shift_into_range(np.random.default_rng(seed), np.array([190, 195, 201]))
        assert np.diff(places).tolist() == [5, 6] and places[-1] <= 128 and places[0] >= 0
    assert shift_into_range(np.random.default_rng(0), np.array([3, 128])).tolist() == [3, 128]


@pytest.mark.parametrize(("length", "frames", "gap"), [(40, 3, 8), (5, 5, 8), (2, 4, 3), (9, 8, 2)])
def test_clips_to_follow_fit_into_the_video(length: int, frames: int, gap: int) -> None:
    backwards = set()
    for seed in range(20):
        places = following_frames(np.random.default_rng(seed), length, frames, gap)
        assert len(places) == frames and places.min() >= 0 and places.max() < length
        steps = np.diff(places)
        assert np.abs(steps).max() <= gap and (steps >= 0).all() | (steps <= 0).all()
        if length >= frames:
            assert np.abs(steps).min() >= 1
        backwards.add(bool(steps.sum() < 0))
    assert backwards == {True, False}

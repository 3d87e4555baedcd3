"""A cut to another scene and back, with the embedded model that ships and the bundled clip."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from univs import VideoPredictor
from univs.structures.tracks import FrameResult
from univs.video.palette import read_palette_mask
from univs.video.reader import open_video_file

CLIP = Path(__file__).parents[2] / "datasets" / "demo_clips"
BEFORE, CUT = 6, 7  # frames before the cut, of the other scene


@pytest.fixture(scope="module")
def results() -> list[FrameResult]:
    with open_video_file(CLIP / "dog_walk.mp4") as clip:
        frames = [clip.frame(i).copy() for i in range(BEFORE + 3)]
    others = [_other_scene(frame) for frame in frames[:CUT]]
    session = VideoPredictor.from_pretrained("univs_mini", device="cpu").open(
        [*frames[:BEFORE], *others, *frames[BEFORE:]]
    )
    session.add_id_map(0, read_palette_mask(CLIP / "dog_walk_masks" / "00000.png"))
    return list(session.propagate())


def _other_scene(frame: np.ndarray) -> np.ndarray:
    """Upside down, with the opposite colours: without a limit objects are found there."""
    return np.ascontiguousarray(255 - frame[::-1])


def test_no_object_is_in_another_scene(results: list[FrameResult]) -> None:
    assert not any(mask.any() for result in results[BEFORE : BEFORE + CUT] for mask in result.masks.values())


def test_objects_are_found_again_where_they_were(results: list[FrameResult]) -> None:
    before, after = results[BEFORE - 1].masks, results[BEFORE + CUT].masks
    assert len(before) >= 2
    for object_id, mask in before.items():
        assert (mask & after[object_id]).sum() / np.count_nonzero(mask | after[object_id]) > 0.8

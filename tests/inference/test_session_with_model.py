"""The session's rules with the embedded model itself, untrained and small: bits depend on prompts and frames alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from univs.config import get_config
from univs.inference.dense_bank import BankSettings
from univs.inference.loading import build_model
from univs.inference.predictor import VideoPredictor
from univs.inference.segmenter import SegmenterSettings, UniVSSegmenter
from univs.inference.session import VideoSession
from univs.resources import config_file

from .fake import propagated, square_at, squares

SIZE = (64, 96)
FRAMES = squares(9, SIZE, side=24)


@pytest.fixture(scope="module")
def predictor() -> VideoPredictor:
    torch.manual_seed(1)
    model = build_model(get_config(config_file("mini/univs_mini.yaml")))
    return VideoPredictor(UniVSSegmenter(model, SegmenterSettings(area=SIZE[0] * SIZE[1], bank=BankSettings(window=3))))


def given_mask(place: int, t: int) -> np.ndarray:
    mask = np.zeros(SIZE, bool)
    y, x = square_at(place, t, SIZE, 24)
    mask[y : y + 24, x : x + 24] = True
    return mask


def prompted(session: VideoSession, *objects: int) -> VideoSession:
    if 1 in objects:
        session.add_mask(1, 6, given_mask(0, 6))
        session.add_mask(1, 1, given_mask(0, 1))
    if 2 in objects:
        session.add_mask(2, 3, given_mask(1, 3))
        session.add_box(2, 0, (30, 30, 60, 60))
    return session


def test_objects_do_not_know_of_each_other(predictor: VideoPredictor) -> None:
    alone = prompted(predictor.open(FRAMES), 1)
    both = prompted(predictor.open(FRAMES), 2, 1)
    for session in (alone, both):
        list(session.propagate(direction="both"))
    for frame in range(9):
        ours, theirs = (s.preview(1, frame)[0] for s in (alone, both))
        assert (ours.mask == theirs.mask).all() and ours.score == theirs.score


def test_frame_by_frame_in_pieces_and_backwards_give_the_same_bits(predictor: VideoPredictor) -> None:
    expected = propagated(prompted(predictor.open(FRAMES), 1, 2), direction="both")
    session = prompted(predictor.open(FRAMES), 1, 2)
    for result in session.propagate(direction="backward"):
        if result.index == 4:
            break
    for _ in range(3):
        session.step()
    list(session.propagate(start=5, end=7))
    assert propagated(session, direction="both") == expected


def test_a_stream_gives_what_the_file_gives(predictor: VideoPredictor) -> None:
    file, stream = predictor.open(FRAMES), predictor.open_stream(SIZE)
    for session in (file, stream):
        session.add_mask(1, 0, given_mask(0, 0))
    expected = propagated(file)
    for index, frame in enumerate(FRAMES):
        assert expected[index][1].startswith(stream.step(frame).masks[1].tobytes())


def test_a_replay_from_a_file_gives_the_same_bits(predictor: VideoPredictor, tmp_path: Path) -> None:
    session = prompted(predictor.open(FRAMES), 1, 2)
    expected = propagated(session)
    session.save(tmp_path / "a.univs")
    again = predictor.load(tmp_path / "a.univs", FRAMES)
    again.forget_masks()
    assert propagated(again) == expected

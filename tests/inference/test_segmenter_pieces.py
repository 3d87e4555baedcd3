"""Far pieces in the segmenter: dropped from what is followed or clicked, kept where the user showed them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from univs.config import get_config
from univs.inference import dense_following
from univs.inference.dense_following import DenseReading
from univs.inference.loading import build_model
from univs.inference.segmenter import SegmenterSettings, UniVSSegmenter
from univs.resources import config_file
from univs.structures import BoxPrompt, PointPrompt

SIZE = (96, 160)


@pytest.fixture(scope="module")
def segmenter() -> UniVSSegmenter:
    model = build_model(get_config(config_file("mini/univs_mini.yaml")))
    return UniVSSegmenter(model, SegmenterSettings(area=96 * 160))


@pytest.fixture
def frame() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (*SIZE, 3), np.uint8)


def shown(*pieces: tuple[int, int, int]) -> torch.Tensor:
    logits = torch.full((24, 40), -5.0)
    for top, left, side in pieces:
        logits[top : top + side, left : left + side] = 4.0
    return logits


MAIN, FAR = (2, 2, 12), (20, 34, 2)


@pytest.mark.parametrize("first", [(MAIN,), (MAIN, FAR)], ids=["whole", "scattered"])
def test_followed_pieces(
    segmenter: UniVSSegmenter, frame: np.ndarray, monkeypatch: pytest.MonkeyPatch, first: tuple
) -> None:
    memory, features = segmenter.start(), segmenter.encode(frame)
    segmenter.remember(memory, 0, features, {1: shown(*first)}, permanent=True)
    reading = {1: DenseReading(shown(MAIN, FAR), torch.zeros(32))}
    monkeypatch.setattr(dense_following, "follow", lambda *_, **__: reading)
    assert torch.equal(segmenter.follow(memory, 1, features, [1])[1].mask_logits > 0, shown(*first) > 0)
    segmenter.forget(memory, [1], [0])
    assert torch.equal(segmenter.follow(memory, 2, features, [1])[1].mask_logits > 0, shown(MAIN) > 0)


def test_clicked_pieces(segmenter: UniVSSegmenter, frame: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    thing, other = (2, 2, 12), (2, 24, 14)
    logits = shown(thing, other)[None].repeat(3, 1, 1)
    monkeypatch.setattr(segmenter.model.prompt_answer, "answer", lambda *_: (logits, torch.tensor([0.5, 0.2, 0.7])))
    click = PointPrompt(((30.0, 30.0),), (1,))
    answers = segmenter.answer(segmenter.encode(frame), SIZE, [click], None, alternatives=True)
    assert all(torch.equal(item.mask_logits > 0, shown(thing) > 0) for item in answers)
    assert [round(item.score, 3) for item in answers] == [0.5, 0.7, 0.2]
    box = BoxPrompt((0.0, 0.0, 160.0, 96.0))
    (answer,) = segmenter.answer(segmenter.encode(frame), SIZE, [click, box], None)
    assert torch.equal(answer.mask_logits > 0, shown(thing, other) > 0)

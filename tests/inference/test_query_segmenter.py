"""A model without a dense memory, prompted by hand, frame by frame."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from tests.published_file import STATIC_TEXT, small_model
from univs.errors import UserError
from univs.inference.clips.settings import ClipSettings
from univs.inference.query_segmenter import QuerySegmenter
from univs.structures import BoxPrompt, MaskPrompt, PointPrompt, ScribblePrompt, TextPrompt

SIZE = (60, 90)


@pytest.fixture(scope="module")
def segmenter() -> QuerySegmenter:
    settings = ClipSettings(min_size=60, max_size=200, class_threshold=0.0, nms_threshold=0.99)
    return QuerySegmenter(copy.deepcopy(small_model(options=STATIC_TEXT)), settings)


@pytest.fixture(scope="module")
def frames() -> list[np.ndarray]:
    base = np.random.default_rng(0).integers(0, 255, (SIZE[0], SIZE[1] + 20, 3), np.uint8)
    return [np.ascontiguousarray(base[:, 4 * i : 4 * i + SIZE[1]]) for i in range(4)]


def mask_at(top: int, left: int) -> np.ndarray:
    mask = np.zeros(SIZE, bool)
    mask[top : top + 24, left : left + 24] = True
    return mask


def followed(segmenter: QuerySegmenter, frames: list[np.ndarray], masks: dict[int, np.ndarray]) -> dict[int, list]:
    memory, out = segmenter.start(), {i: [] for i in masks}
    for index, frame in enumerate(frames):
        features = segmenter.encode(frame)
        if index:
            answers = segmenter.follow(memory, index, features, sorted(masks))
            logits = {i: answer.mask_logits for i, answer in answers.items()}
            for i, mask in logits.items():
                out[i].append(mask)
        else:
            given = {i: [MaskPrompt.from_array(mask)] for i, mask in masks.items()}
            logits = {i: segmenter.answer(features, SIZE, p, None)[0].mask_logits for i, p in given.items()}
        segmenter.remember(memory, index, features, logits, permanent=index == 0)
    report = segmenter.memory_report(memory)
    assert (report["frames"], report["objects"]) == (2, len(masks))
    segmenter.forget(memory, [1], [0])
    assert list(memory.objects[1].tokens) == [3]
    segmenter.forget(memory)
    assert segmenter.memory_report(memory) == {"frames": 0, "objects": 0, "bytes": 0}
    return out


def test_objects_are_independent_to_the_last_bit(segmenter, frames):
    alone = followed(segmenter, frames, {1: mask_at(4, 6)})
    together = followed(segmenter, frames, {1: mask_at(4, 6), 2: mask_at(20, 40), 9: mask_at(6, 10)})
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(alone[1], together[1], strict=True))
    assert not torch.equal(together[1][0], together[2][0])


def test_a_given_mask_is_taken_as_it_is(segmenter, frames):
    mask = mask_at(8, 12)
    features = segmenter.encode(frames[0])
    (answer,) = segmenter.answer(features, SIZE, [MaskPrompt.from_array(mask)], None)
    geometry = segmenter.geometry(SIZE)
    assert answer.mask_logits.shape == geometry.grid
    assert ((answer.mask_logits.numpy() > 0) == geometry.shrink(mask)).mean() > 0.98


def test_every_kind_of_prompt_is_answered(segmenter, frames):
    features = segmenter.encode(frames[0])
    click = PointPrompt(((20.0, 15.0),), (1,))
    kinds = [click, BoxPrompt((5.0, 5.0, 40.0, 30.0)), ScribblePrompt((((5.0, 5.0), (40.0, 30.0)),), (1,))]
    answers = [segmenter.answer(features, SIZE, [prompt], None)[0].mask_logits for prompt in kinds]
    answers.append(segmenter.answer(features, SIZE, kinds, None)[0].mask_logits)
    answers.append(segmenter.answer(features, SIZE, [click], mask_at(4, 4))[0].mask_logits)
    answers.append(segmenter.answer(features, SIZE, [TextPrompt("a dog")], None)[0].mask_logits)
    assert all(answer.shape == segmenter.geometry(SIZE).grid and answer.isfinite().all() for answer in answers)
    for number, answer in enumerate(answers):
        assert not any(torch.equal(answer, other) for other in answers[:number])


def test_categories_are_found_with_their_names(segmenter, frames):
    found = segmenter.discover(segmenter.encode(frames[0]), SIZE, ["dog", "person"])
    assert found and {item.category for item in found} <= {"dog", "person"}
    assert [item.score for item in found] == sorted((item.score for item in found), reverse=True)


def test_sentences_without_a_word_are_refused(segmenter, frames):
    with pytest.raises(UserError, match="no word"):
        segmenter.answer(segmenter.encode(frames[0]), SIZE, [TextPrompt("123")], None)

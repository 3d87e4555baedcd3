"""Prompt queries beside the dense memory: independent objects, bounded tokens, joined masks."""

import numpy as np
import pytest
import torch

from univs.config import get_config
from univs.errors import UserError
from univs.inference.dense_bank import BankSettings, DenseBank, ObjectMemory
from univs.inference.loading import build_model
from univs.inference.query_following import QueryFollower, read_frames
from univs.inference.segmenter import SegmenterSettings, UniVSSegmenter
from univs.modeling.prompt_encoder import VisualTokens
from univs.resources import config_file

SIZE = (64, 96)
GRID = (16, 24)


@pytest.fixture(scope="module")
def model() -> torch.nn.Module:
    torch.manual_seed(0)
    model = build_model(get_config(config_file("mini/univs_mini_queries.yaml")))
    with torch.no_grad():
        model.mask_decoder.dense_gate.query_gate.fill_(0.5)
    return model


@pytest.fixture(scope="module")
def frames() -> list[np.ndarray]:
    base = np.random.default_rng(0).integers(0, 255, (SIZE[0], SIZE[1] + 20, 3), np.uint8)
    return [np.ascontiguousarray(base[:, 4 * i : 4 * i + SIZE[1]]) for i in range(4)]


def segmenter(model: torch.nn.Module, parts: str) -> UniVSSegmenter:
    settings = SegmenterSettings(area=SIZE[0] * SIZE[1], parts=parts, bank=BankSettings(window=3, wide_window=6))
    return UniVSSegmenter(model, settings)


def square(top: int, left: int) -> torch.Tensor:
    out = torch.full(GRID, -4.0)
    out[top : top + 6, left : left + 6] = 4.0
    return out


def followed(
    segmenter: UniVSSegmenter, frames: list[np.ndarray], objects: dict[int, torch.Tensor]
) -> tuple[dict[int, list[torch.Tensor]], DenseBank]:
    """Masks [h4, w4] of objects in all frames after the first, by id, and the memory then."""
    memory, out, logits = segmenter.start(), {i: [] for i in objects}, objects
    for index, frame in enumerate(frames):
        features = segmenter.encode(frame)
        if index:
            answers = segmenter.follow(memory, index, features, sorted(objects))
            logits = {i: answer.mask_logits for i, answer in answers.items()}
            for i, mask in logits.items():
                out[i].append(mask)
        segmenter.remember(memory, index, features, logits, permanent=index == 0)
    return out, memory


@pytest.mark.parametrize("parts", ["queries", "both"])
def test_objects_are_independent_to_the_last_bit(model, frames, parts):
    first = square(2, 3)
    alone, _ = followed(segmenter(model, parts), frames, {1: first})
    together, _ = followed(segmenter(model, parts), frames, {1: first, 2: square(8, 14), 7: square(5, 1)})
    for ours, theirs in zip(alone[1], together[1], strict=True):
        assert ours.shape == GRID and torch.equal(ours, theirs)


def test_parts_differ_and_a_closed_gate_leaves_the_dense_memory(model, frames):
    start = {1: square(2, 3)}
    dense, queries, both = (
        followed(segmenter(model, p), frames[:2], start)[0][1][0] for p in ("dense", "queries", "both")
    )
    gate = model.mask_decoder.dense_gate
    assert not torch.equal(dense, both) and not torch.equal(queries, both)
    with torch.no_grad():
        gate.query_gate.zero_()
        closed = followed(segmenter(model, "both"), frames[:2], start)[0][1][0]
        gate.query_gate.fill_(0.5)
    assert torch.equal(closed, dense)


def test_the_dense_memory_alone_does_not_pay_for_the_queries(model, frames):
    features = segmenter(model, "dense").encode(frames[0])
    assert features.levels == [] and features.mask_features.shape[1] == 0
    assert len(segmenter(model, "both").encode(frames[0]).levels) == 3


def test_tokens_are_bounded_and_forgotten(model, frames):
    machine = segmenter(model, "both")
    _, memory = followed(machine, [frames[i % 4] for i in range(12)], {1: square(2, 3)})
    assert sorted(memory.objects[1].tokens) == [0, 11]
    held = machine.memory_report(memory)["bytes"]
    machine.forget(memory, [1], frames=[11])
    assert list(memory.objects[1].tokens) == [0] and machine.memory_report(memory)["bytes"] < held
    machine.forget(memory)
    assert machine.memory_report(memory)["bytes"] == 0


def test_the_nearest_permanent_frames_and_the_last_one_are_read():
    blank = VisualTokens(torch.zeros(1, 2, 4), torch.zeros(1, 2, 4), torch.ones(1, dtype=torch.bool))
    item = ObjectMemory(tokens=dict.fromkeys((0, 50, 20, 30), blank), permanent={0, 20, 50}, last=30)
    assert read_frames(item, 31) == [20, 50, 30]
    assert read_frames(item, 5) == [0, 20, 30]


def test_models_that_cannot_follow_by_queries_are_refused(model):
    dense = build_model(get_config(config_file("mini/univs_mini.yaml")))
    with pytest.raises(UserError, match="QUERIES True"):
        segmenter(dense, "both")
    with pytest.raises(UserError, match="'neither' are unknown"):
        segmenter(model, "neither")
    mixing = build_model(get_config(config_file("mini/univs_mini_queries.yaml"), ["MODEL.UNIVS.SELF_ATTENTION", "sep"]))
    with pytest.raises(UserError, match="sep-blocked"):
        QueryFollower(mixing.mask_decoder)

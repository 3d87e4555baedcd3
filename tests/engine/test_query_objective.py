"""The objective of the queries: what it teaches, what it leaves alone, what a batch needs."""

import numpy as np
import pytest
import torch

from univs.config import get_config
from univs.engine.query_objective import ClipMemory, QueryObjective
from univs.modeling.losses.following import ClipMasks
from univs.modeling.meta_arch import UniVS
from univs.resources import config_file

SIZE = (64, 96)
NAMES = ["cat", "dog", "person"]
FROZEN = ("backbone", "dense_memory", "prompt_answer")


@pytest.fixture(scope="module")
def model() -> UniVS:
    torch.manual_seed(0)
    small = ["MODEL.UNIVS.LOSS.NUM_POINTS", 64, "MODEL.UNIVS.NUM_QUERIES", 6]
    model = UniVS(get_config(config_file("mini/univs_mini_queries.yaml"), small)).train()
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name.split(".")[0] not in FROZEN)
    return model


@pytest.fixture
def objective(model: UniVS) -> QueryObjective:
    model.zero_grad()
    return QueryObjective(model, NAMES)


def clip(sample: int, objects: int, frames: int = 3) -> dict:
    """Squares that move to the right over noise."""
    rng = np.random.default_rng(sample)
    ids = torch.zeros(frames, *SIZE, dtype=torch.uint8)
    for i in range(objects):
        for t in range(frames):
            ids[t, 20 * i : 20 * i + 16, 8 * t + 10 : 8 * t + 34] = i + 1
    images = [torch.from_numpy(rng.integers(0, 255, (3, *SIZE), np.uint8)) for _ in range(frames)]
    return {"image": images, "id_map": ids, "task": "sot", "sample": sample}


def still(sample: int, partial: bool) -> dict:
    base = clip(sample, 2, frames=1)
    names = {"categories": [["cat", "tabby"], ["person"]], "partial_annotation": partial, "frame_indices": [0]}
    return base | names | {"task": "detection", "dataset_name": "anything"}


def gradients(model: UniVS, losses: dict[str, torch.Tensor]) -> set[str]:
    sum(losses.values()).backward()
    return {name for name, value in model.named_parameters() if value.grad is not None and value.grad.abs().sum() > 0}


def sample_number(alone: bool) -> int:
    """A clip whose batch is (not) left without the dense memory."""
    return next(i for i in range(100) if (np.random.default_rng([i, 4]).random() < 0.35) == alone)


def test_clips_teach_the_queries_and_the_gate_and_nothing_else(model, objective):
    batch = [clip(sample_number(alone=False), 1), clip(500, 3)]
    losses = objective(batch)
    assert set(losses) == {"loss_joined_mask", "loss_joined_dice"}
    learned = gradients(model, losses)
    assert not any(name.startswith(FROZEN) for name in learned)
    assert "mask_decoder.dense_gate.query_gate" in learned and "mask_decoder.initial_queries.dense.weight" in learned
    assert any(name.startswith("pixel_decoder.") for name in learned)


def test_some_batches_leave_the_queries_alone(model, objective):
    losses = objective([clip(sample_number(alone=True), 2)])
    assert set(losses) == {"loss_alone_mask", "loss_alone_dice"}
    assert "mask_decoder.dense_gate.query_gate" not in gradients(model, losses)


def test_repeated_objects_of_a_padded_batch_do_not_count(model, objective):
    """Clips of one and of three objects: the mean over four objects, not over six."""
    number = sample_number(alone=True)
    model.eval()
    small, large = clip(number, 1), clip(number, 3)
    apart = [objective([item]) for item in (small, large)]
    joined = objective([small, large])
    model.train()
    for name in joined:
        one, three = apart[0][name], apart[1][name]
        assert joined[name].item() == pytest.approx((one.item() + 3 * three.item()) / 4, rel=0.05)


@pytest.mark.parametrize("alone", [False, True])
def test_clips_of_small_objects_still_have_losses(objective, alone):
    small = clip(sample_number(alone), 1)
    small["id_map"].zero_()
    small["id_map"][:, 20:25, 20:25] = 1
    assert all(torch.isfinite(value) for value in objective([small]).values())


def test_stills_use_the_criterion_and_its_classes(model, objective):
    losses = objective([still(1, partial=False), still(2, partial=False)])
    assert losses["loss_ce"] > 0 and losses["loss_mask"] > 0
    assert "mask_decoder.query_content.weight" in gradients(model, losses)


def test_partly_annotated_stills_have_masks_but_no_classes(model, objective):
    losses = objective([still(1, partial=True), still(2, partial=True)])
    assert losses["loss_ce"] == 0 and losses["loss_mask"] > 0


def test_the_dense_memory_carries_the_masks_of_a_still_scene(model):
    sample = clip(3, 2)
    sample["id_map"] = sample["id_map"][:1].expand(3, -1, -1)
    sample["image"] = sample["image"][:1] * 3
    features = model.encode(model.normalised_frames([sample]))
    masks = ClipMasks.from_id_map(sample["id_map"]).masks
    memory = ClipMemory(model.dense_memory, model.dense_memory.maps(features.backbone), masks[:, 0])
    logits, codes = memory.read(1)
    assert codes.shape == (2, 32) and not logits.requires_grad
    overlap = ((logits > 0) & (masks[:, 1] > 0.5)).sum() / (masks[:, 1] > 0.5).sum()
    assert overlap > 0.7

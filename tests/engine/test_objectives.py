"""The objectives of the dense parts: following clips and answering prompts, on a model without trained weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from detectron2.config import CfgNode
from torch import Tensor

from tests.data.tiny import make_data
from univs.config import get_config
from univs.engine.name_sampler import NameSampler
from univs.engine.objectives import (
    AnsweringObjective,
    FollowingObjective,
    PicturedObject,
    build_objective,
    choose_objects,
)
from univs.engine.optimizer import build_optimizer
from univs.engine.query_objective import QueryObjective
from univs.errors import UserError
from univs.modeling.meta_arch import UniVS
from univs.resources import config_file

SIZE = (64, 96)
NAMES = ["bowl", "cat", "cup", "dog"]


def mini(step: str) -> tuple[UniVS, CfgNode]:
    """The embedded model, frozen as step ``step`` of its training freezes it."""
    torch.manual_seed(0)
    cfg = get_config(config_file(f"train/univs_mini_{step}.yaml"), ["MODEL.EFFICIENTNET_LITE.PRETRAINED", False])
    model = UniVS(cfg).train()
    build_optimizer(cfg, model)
    return model, cfg


@pytest.fixture(scope="module")
def following_model() -> UniVS:
    return mini("follow")[0]


@pytest.fixture(scope="module")
def answering_model() -> UniVS:
    return mini("answer")[0]


@pytest.fixture
def following(following_model: UniVS) -> FollowingObjective:
    following_model.zero_grad()
    return FollowingObjective(following_model, steps=100)


@pytest.fixture
def answering(answering_model: UniVS) -> AnsweringObjective:
    answering_model.zero_grad()
    return AnsweringObjective(answering_model, NameSampler(answering_model.text_encoder.encode, NAMES, misfits=2))


def clip(sample: int, objects: int = 2, frames: int = 3, side: int = 24) -> dict[str, Any]:
    """Coloured squares that move to the right over noise."""
    rng = np.random.default_rng(sample)
    pixels = rng.integers(0, 90, (frames, 3, *SIZE), np.uint8)
    ids = np.zeros((frames, *SIZE), np.uint8)
    for i in range(objects):
        for t in range(frames):
            place = (t, slice(4 + 30 * i, 4 + 30 * i + side), slice(8 + 8 * t, 8 + 8 * t + side))
            ids[place] = i + 1
            pixels[t, i, place[1], place[2]] = 240
    return {"image": list(torch.from_numpy(pixels)), "id_map": torch.from_numpy(ids), "sample": sample}


def still(sample: int, partial: bool = False) -> dict[str, Any]:
    names = {"categories": [["cat"], ["cup"]], "expressions": [[], ["the cup below"]], "partial_annotation": partial}
    return clip(sample, frames=1) | names


def learned(model: UniVS, losses: dict[str, Tensor]) -> set[str]:
    sum(losses.values()).backward()
    return {name for name, value in model.named_parameters() if value.grad is not None and value.grad.abs().sum() > 0}


def test_following_has_losses_of_the_answer_and_of_what_was_carried(following: FollowingObjective) -> None:
    losses = following([clip(1), clip(2, objects=1)])
    assert set(losses) == {f"loss_{kind}_{term}" for kind in ("follow", "carried") for term in ("mask", "dice")}
    assert all(torch.isfinite(value) and value > 0 for value in losses.values())


def test_following_teaches_the_memory_and_the_late_blocks_on_its_own_predictions() -> None:
    model, _ = mini("follow")
    before = {name: value.detach().clone() for name, value in model.named_parameters()}
    objective = FollowingObjective(model, steps=100)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-3, weight_decay=0)
    totals = []
    for _ in range(8):
        total = sum(objective([clip(1)]).values())
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        totals.append(float(total.detach()))
    assert totals[-1] < 0.8 * totals[0]
    changed = {name for name, value in model.named_parameters() if not torch.equal(value, before[name])}
    assert {name for name in before if name.startswith("dense_memory.")} <= changed
    backbone = {name for name in changed if name.startswith("backbone.")}
    early = tuple(f"backbone.{part}." for part in ("stem", *(f"blocks.{i}" for i in range(5))))
    assert backbone and not any(name.startswith(early) for name in backbone)


def test_following_repeats_itself(following: FollowingObjective) -> None:
    first, again = (following([clip(5, frames=5)]) for _ in range(2))
    assert all(torch.equal(value, again[name]) for name, value in first.items())


def test_the_cross_entropy_turns_to_the_hardest_pixels(following: FollowingObjective) -> None:
    shares = []
    for following.step in (0, 25, 50, 100):
        shares.append(following.hard_share)
    assert shares == pytest.approx([1.0, 0.65, 0.3, 0.3])
    following.step = 0
    easy = following([clip(1)])["loss_follow_mask"]
    following.step = 100
    assert following([clip(1)])["loss_follow_mask"] > easy


def test_following_starts_from_the_principal_directions(following: FollowingObjective) -> None:
    match = following.model.dense_memory.match
    before = match.project.weight.detach().clone()
    following.start([clip(i)] for i in range(3))
    weight = match.project.weight.detach().flatten(1)
    torch.testing.assert_close(weight @ weight.t(), torch.eye(len(weight)), atol=1e-4, rtol=0)
    maps = [following.model.backbone(torch.stack(clip(i)["image"][:1]).float() / 127.5 - 1) for i in range(3)]
    seen = torch.cat([match.descriptors(m["res3"], m["res4"]).transpose(0, 1).flatten(1) for m in maps], 1).detach()
    kept = (weight @ seen).var(dim=1)
    assert (kept.diff() <= 1e-5).all() and kept.sum() > 2 * (before.flatten(1) @ seen).var(dim=1).sum()


def test_clips_of_small_objects_still_have_losses(following: FollowingObjective) -> None:
    losses = following([clip(1, side=6)])
    assert all(torch.isfinite(value) for value in losses.values())


def test_answering_teaches_the_answers_alone(answering: AnsweringObjective) -> None:
    losses = answering([still(1), still(2)])
    terms = ("mask", "dice", "others", "overlap")
    assert set(losses) == {"loss_text", *(f"loss_answer_{term}" for term in terms)}
    assert all(torch.isfinite(value) and value > 0 for value in losses.values())
    names = learned(answering.model, losses)
    assert {name.split(".")[0] for name in names} == {"prompt_answer"}
    parts = {name.split(".")[1] for name in names}
    assert parts >= {"language", "language_scale", "language_bias", "decoder", "prior", "base_gate", "overlap"}


def test_answering_learns_and_repeats_itself() -> None:
    model, _ = mini("answer")
    objective = AnsweringObjective(model, NameSampler(model.text_encoder.encode, NAMES, misfits=2))
    optimizer = torch.optim.AdamW(model.prompt_answer.parameters(), lr=1e-3)
    totals = []
    for _ in range(8):
        total = sum(objective([still(1)]).values())
        assert torch.equal(total, sum(objective([still(1)]).values()))
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        totals.append(float(total.detach()))
    assert totals[-1] < 0.8 * totals[0]


@pytest.mark.parametrize("partial", [False, True])
def test_ground_of_a_partly_annotated_picture_is_no_example(answering: AnsweringObjective, partial: bool) -> None:
    labelled, unknown = still(1, partial), still(1, partial)
    unknown["id_map"] = torch.where(unknown["id_map"] == 0, 255, unknown["id_map"])
    one, other = (float(answering([sample])["loss_text"].detach()) for sample in (labelled, unknown))
    assert (one == pytest.approx(other, rel=1e-6)) == partial


def pictured(seed: int) -> PicturedObject:
    return PicturedObject(0, 2, clip(1)["id_map"][0].numpy(), np.random.default_rng(seed))


def kind_of(item: PicturedObject) -> str:
    prompts = item.prompts
    given = {"text": prompts.text is not None, "box": prompts.box is not None, "points": len(prompts.points) > 0}
    stroke = "s" if len(prompts.points) > 1 else ""
    return "+".join(name for name, present in given.items() if present) + stroke


def test_first_prompts_are_of_every_kind_and_on_the_object() -> None:
    kinds = set()
    for seed in range(80):
        item = pictured(seed)
        item.start(torch.ones(4) if seed % 2 else None)
        kinds.add(kind_of(item))
        assert item.prompts.text is None or seed % 2
        for x, y in item.prompts.points.tolist():
            assert item.mask[int(y * SIZE[0]), int(x * SIZE[1])]
        assert (item.prompts.labels == 1).all() and len(item.prompts.labels) == len(item.prompts.points)
        if item.prompts.box is not None:
            x0, y0, x1, y1 = (item.prompts.box * torch.tensor([96, 64, 96, 64])).tolist()
            assert (x0, y0, x1, y1) == pytest.approx((8, 34, 32, 58), abs=2.5)
    assert kinds == {"text", "text+points", "box", "points", "pointss"}


def test_corrections_have_the_label_of_the_error() -> None:
    missed, surplus = torch.full((16, 24), -9.0), torch.full((16, 24), 9.0)
    for logits, label in ((missed, 1), (surplus, 0)):
        item = pictured(0)
        item.correct(logits)
        ((x, y),) = item.prompts.points.tolist()
        assert item.prompts.labels.tolist() == [label] and item.mask[int(y * 64), int(x * 96)] == bool(label)


def test_a_right_answer_needs_no_correction() -> None:
    item = pictured(0)
    item.unknown = ~item.mask
    item.correct(torch.full((16, 24), 9.0))
    assert len(item.prompts.points) == 0


def test_an_answer_is_looked_at_again_corrected_or_asked_for_afresh() -> None:
    logits, seen = torch.full((16, 24), 0.5), set()
    for seed in range(40):
        item = pictured(seed)
        item.start(None)
        before = len(item.prompts.points)
        item.go_on(logits)
        base, clicks = item.prompts.base, len(item.prompts.points) - before
        if clicks == 0:
            assert torch.equal(base, logits.sigmoid())
        elif base is not None:
            assert torch.equal(base, torch.ones(16, 24))
        seen.add((clicks, base is None))
    assert seen == {(0, False), (1, False), (1, True)}


def test_objects_that_touch_are_chosen_more_often(answering: AnsweringObjective) -> None:
    sample = still(1)
    sample["id_map"] = torch.zeros(1, *SIZE, dtype=torch.uint8)
    for i, left in enumerate((0, 20, 60)):
        sample["id_map"][0, 10:30, left : left + 20] = i + 1
    sample |= {"categories": [["cat"], ["cup"], ["dog"]], "expressions": [[], [], []]}
    answering.objects_per_picture = 1
    chosen = [choose_objects(0, sample | {"sample": i}, answering)[0].mask[15, [5, 25, 65]].argmax() for i in range(90)]
    counts = np.bincount(chosen, minlength=3)
    assert counts[0] > counts[2] < counts[1] and counts[2] > 5


def test_other_objects_are_known_as_such() -> None:
    item = pictured(0)
    assert item.target.shape == item.others.shape == (16, 24)
    assert float(item.target.sum()) == float(item.others.sum()) == 36
    assert not (item.target * item.others).any() and (item.known == 1).all()


def test_objectives_have_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, following_model: UniVS, answering_model: UniVS
) -> None:
    monkeypatch.setenv("UNIVS_DATA", str(make_data(tmp_path, stills=2)))
    cfg = get_config(config_file("train/univs_mini_follow.yaml"), ["SOLVER.MAX_ITER", 12])

    def built(name: str, model: UniVS) -> Any:
        cfg.MODEL.UNIVS.OBJECTIVE = name
        return build_objective(cfg, model)

    assert built("published", following_model) is None
    assert built("following", following_model).steps == 12
    answers = built("answering", answering_model)
    assert isinstance(answers, AnsweringObjective) and answers.names.vocabulary == ["square", "tile"]
    assert isinstance(built("queries", answering_model), QueryObjective)
    with pytest.raises(UserError, match="'guessing'; it must be published, following, answering or queries"):
        built("guessing", answering_model)

"""Groups of parameters and clipping of gradients."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from univs.engine.optimizer import build_optimizer, clip_gradients, parameter_groups
from univs.errors import UserError

from .tiny_model import config


class Parts(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Sequential(nn.Conv2d(1, 1, 1), nn.BatchNorm2d(1))
        self.backbone.relative_position_bias_table = nn.Parameter(torch.ones(2))
        self.query = nn.Embedding(2, 2)
        self.level_embed = nn.Parameter(torch.ones(2))
        self.head = nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2), nn.GroupNorm(1, 2))
        self.shared = self.head[0]


def groups(folder: Path, *options: object) -> dict[str, tuple[float, float]]:
    cfg = config(folder, "SOLVER.BASE_LR", 1.0, "SOLVER.WEIGHT_DECAY", 0.05, "SOLVER.WEIGHT_DECAY_NORM", 0.01, *options)
    return {
        name: (group["lr"], group["weight_decay"])
        for group in parameter_groups(cfg, Parts())
        for name in group["names"]
    }


def test_rates_and_decays_follow_what_a_parameter_is(tmp_path: Path) -> None:
    found = groups(tmp_path, "SOLVER.WEIGHT_DECAY_EMBED", 0.02)
    assert found["backbone.0.weight"] == found["backbone.0.bias"] == (0.1, 0.05)
    assert found["backbone.1.weight"] == (0.1, 0.01)
    assert found["backbone.relative_position_bias_table"] == (0.1, 0.02)
    assert found["query.weight"] == (1.0, 0.02) and found["level_embed"] == (1.0, 0.05)
    assert found["head.0.weight"] == (1.0, 0.05)
    assert found["head.1.bias"] == found["head.2.weight"] == (1.0, 0.01)
    assert len(found) == 13 - 0 and not any(name.startswith("shared") for name in found)


def test_patterns_set_rates_and_freeze(tmp_path: Path) -> None:
    model = Parts()
    rates = [["backbone.0.*", 0.0], ["backbone.*", 0.5], ["head.1.*", 3.0]]
    cfg = config(tmp_path, "SOLVER.BASE_LR", 2.0, "SOLVER.RATE_MULTIPLIERS", rates)
    found = {name: group["lr"] for group in parameter_groups(cfg, model) for name in group["names"]}
    assert found["backbone.1.weight"] == 1.0 and found["head.1.weight"] == 6.0 and found["head.0.weight"] == 2.0
    assert "backbone.0.weight" not in found and not model.backbone[0].weight.requires_grad


def test_frozen_parameters_are_left_out(tmp_path: Path) -> None:
    model = Parts()
    model.backbone.requires_grad_(False)
    names = [name for group in parameter_groups(config(tmp_path), model) for name in group["names"]]
    assert names and not any("backbone" in name for name in names)
    model.requires_grad_(False)
    with pytest.raises(UserError, match="No parameter of the model learns"):
        build_optimizer(config(tmp_path), model)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("SOLVER.OPTIMIZER", "LION"), "ADAMW or SGD"),
        (("SOLVER.RATE_MULTIPLIERS", [["neck.*", 1.0]]), r"'neck\.\*'"),
    ],
)
def test_unknown_optimisers_and_idle_patterns_are_refused(tmp_path: Path, options: tuple, told: str) -> None:
    with pytest.raises(UserError, match=told):
        build_optimizer(config(tmp_path, *options), Parts())


def test_optimisers_have_their_settings(tmp_path: Path) -> None:
    adam = build_optimizer(config(tmp_path, "SOLVER.BETAS", [0.8, 0.9]), Parts())
    assert isinstance(adam, torch.optim.AdamW) and adam.param_groups[0]["betas"] == (0.8, 0.9)
    sgd = build_optimizer(config(tmp_path, "SOLVER.OPTIMIZER", "sgd", "SOLVER.MOMENTUM", 0.7), Parts())
    assert isinstance(sgd, torch.optim.SGD) and sgd.param_groups[0]["momentum"] == 0.7


def parameters() -> list[nn.Parameter]:
    values = [nn.Parameter(torch.zeros(2)) for _ in range(3)]
    values[0].grad, values[1].grad = torch.tensor([3.0, 0.0]), torch.tensor([0.0, 4.0])
    return values


@pytest.mark.parametrize(
    ("kind", "first", "second", "norm"),
    [("full_model", 0.6, 0.8, 5.0), ("norm", 1.0, 1.0, None), ("value", 1.0, 1.0, None)],
)
def test_gradients_are_clipped(tmp_path: Path, kind: str, first: float, second: float, norm: float | None) -> None:
    values = parameters()
    options = ("SOLVER.CLIP_GRADIENTS.CLIP_TYPE", kind, "SOLVER.CLIP_GRADIENTS.CLIP_VALUE", 1.0)
    found = clip_gradients(config(tmp_path, *options), values)
    assert found == (None if norm is None else pytest.approx(norm))
    assert float(values[0].grad[0]) == pytest.approx(first, abs=1e-5)
    assert float(values[1].grad[1]) == pytest.approx(second, abs=1e-5)


def test_clipping_can_be_off_and_knows_its_kinds(tmp_path: Path) -> None:
    values = parameters()
    assert clip_gradients(config(tmp_path, "SOLVER.CLIP_GRADIENTS.ENABLED", False), values) is None
    assert values[1].grad[1] == 4
    with pytest.raises(UserError, match="full_model, norm or value"):
        clip_gradients(config(tmp_path, "SOLVER.CLIP_GRADIENTS.CLIP_TYPE", "some"), values)

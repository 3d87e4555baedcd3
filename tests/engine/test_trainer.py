"""Whole small runs: progress, logs, exact resume, averaged weights, losses that break."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from detectron2.config import CfgNode
from detectron2.engine import HookBase

from univs.engine.hooks import forget_later_lines
from univs.engine.objective import Objective
from univs.engine.trainer import Trainer
from univs.errors import UserError
from univs.modeling.weights import read_checkpoint

from .tiny_model import TinyForTests, batches, config, make_model


class Killed(BaseException):
    """Not an Exception, so that nothing tidies up after it."""


class KillAfter(HookBase):
    def __init__(self, step: int):
        self.step = step

    def after_step(self) -> None:
        if self.trainer.iter == self.step:
            raise Killed


def run(cfg: CfgNode, resume: bool = False, kill_after: int | None = None) -> Trainer:
    trainer = Trainer(cfg, make_model(cfg), batches, log_period=2)
    trainer.resume_or_load(resume)
    if kill_after is None:
        trainer.train()
        return trainer
    trainer.register_hooks([KillAfter(kill_after)])
    with pytest.raises(Killed):
        trainer.train()
    return trainer


def state_of(trainer: Trainer) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in trainer.plain_model.state_dict().items()}


def final_weights(folder: Path) -> dict[str, torch.Tensor]:
    return read_checkpoint(folder / "model_final.safetensors")["model"]


def test_training_lowers_the_loss_and_follows_the_schedule(tmp_path: Path) -> None:
    trainer = run(config(tmp_path, "SOLVER.MAX_ITER", 60))
    losses = trainer.plain_model.losses
    assert len(losses) == 60 and sum(losses[-10:]) < 0.5 * sum(losses[:10])
    rates = [line["lr"] for line in map(json.loads, (tmp_path / "metrics.json").read_text().splitlines())]
    assert max(rates) > 0.04 and rates[-1] < 0.01 * max(rates)


def test_a_killed_run_resumes_to_the_same_curve(tmp_path: Path) -> None:
    whole = run(config(tmp_path / "whole"))
    killed = run(config(tmp_path / "killed"), kill_after=6)
    assert killed.plain_model.losses == whole.plain_model.losses[:7]
    resumed = run(config(tmp_path / "killed"), resume=True)
    # The last checkpoint is that of step 3; steps 4 to 8 are run again.
    assert resumed.plain_model.losses == whole.plain_model.losses[4:]
    assert all(torch.equal(value, state_of(resumed)[name]) for name, value in state_of(whole).items())
    averages = final_weights(tmp_path / "whole"), final_weights(tmp_path / "killed")
    assert averages[0].keys() == averages[1].keys()
    assert all(torch.equal(value, averages[1][name]) for name, value in averages[0].items())
    steps = [json.loads(line)["iteration"] for line in (tmp_path / "killed/metrics.json").read_text().splitlines()]
    assert len(steps) == len(set(steps)) and steps[-1] == 8


def test_equal_seeds_give_equal_runs_and_others_do_not(tmp_path: Path) -> None:
    one, two, other = (run(config(tmp_path / str(i), "SEED", seed)) for i, seed in enumerate((3, 3, 4)))
    assert one.plain_model.losses == two.plain_model.losses != other.plain_model.losses


def test_a_finished_run_does_nothing_more(tmp_path: Path) -> None:
    run(config(tmp_path))
    again = run(config(tmp_path), resume=True)
    assert again.plain_model.losses == []


def test_resuming_nothing_starts_from_the_given_weights(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    run(config(tmp_path / "first"))
    start = tmp_path / "first/model_final.safetensors"
    with caplog.at_level(logging.WARNING):
        trainer = Trainer(config(tmp_path / "next", "MODEL.WEIGHTS", str(start)), make_model(config(tmp_path)), batches)
        trainer.resume_or_load(resume=True)
    assert "no checkpoint" in caplog.text and trainer.start_iter == 0
    assert all(torch.equal(value, final_weights(tmp_path / "first")[name]) for name, value in state_of(trainer).items())


def test_averaged_weights_are_the_running_mean_of_what_was(tmp_path: Path) -> None:
    seen = []

    class Watch(HookBase):
        def before_step(self) -> None:
            seen.append(self.trainer.plain_model.head.bias.detach().clone())

    cfg = config(tmp_path)
    trainer = Trainer(cfg, make_model(cfg), batches)
    trainer.register_hooks([Watch()])
    trainer.train()
    average = seen[0]
    for value in seen:
        average = 0.8 * average + 0.2 * value
    torch.testing.assert_close(final_weights(tmp_path)["head.bias"], average)
    assert not torch.equal(trainer.plain_model.head.bias.detach(), average)


def test_the_ramp_forgets_the_start(tmp_path: Path) -> None:
    slow = ("SOLVER.EMA.DECAY", 0.999)
    run(config(tmp_path / "plain", *slow))
    trainer = run(config(tmp_path / "ramp", *slow, "SOLVER.EMA.RAMP", True))
    distance = {
        name: float((final_weights(tmp_path / name)["head.weight"] - trainer.plain_model.head.weight).detach().norm())
        for name in ("plain", "ramp")
    }
    assert distance["ramp"] < 0.5 * distance["plain"]


def test_logs_are_written_for_eye_program_and_tensorboard(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        run(config(tmp_path, "SOLVER.EMA.ENABLED", False))
    assert "eta:" in caplog.text and "loss_square" in caplog.text
    lines = [json.loads(line) for line in (tmp_path / "metrics.json").read_text().splitlines()]
    assert {"iteration", "total_loss", "loss_square", "loss_size", "gradient_norm", "lr", "data_time"} <= lines[
        -1
    ].keys()
    assert list(tmp_path.glob("events.out.tfevents.*"))
    names = {path.name for path in tmp_path.glob("model*")}
    assert names == {"model_0000003.pth", "model_0000007.pth", "model_final.pth", "model_final.safetensors"}


def test_a_loss_that_is_not_finite_ends_the_run_in_one_sentence(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Breaks(TinyForTests):
        def forward(self, batch: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
            """Losses of samples with ``image`` [3, H, W]; the sixth is not a number."""
            losses = super().forward(batch)
            return {**losses, "loss_size": losses["loss_size"] * (math.nan if len(self.losses) == 6 else 1)}

    cfg = config(tmp_path)
    trainer = Trainer(cfg, Breaks(cfg), batches)
    with pytest.raises(UserError, match=r"step 5: \{'loss_size': nan\} \(samples \[10, 11\]"):
        trainer.train()
    assert not any(record.exc_info for record in caplog.records)
    assert not (tmp_path / "model_final.safetensors").exists() and (tmp_path / "last_checkpoint").exists()
    assert all(torch.isfinite(value).all() for value in state_of(trainer).values())


def test_negative_seeds_and_unknown_precisions_are_refused(tmp_path: Path) -> None:
    for options, told in ((("SEED", -1), "always seeded"), (("SOLVER.AMP.PRECISION", "int8"), "float16")):
        with pytest.raises(UserError, match=told):
            Trainer(config(tmp_path, *options), make_model(config(tmp_path)), batches)


def test_a_checkpoint_of_another_model_is_no_continuation(tmp_path: Path) -> None:
    run(config(tmp_path))
    cfg = config(tmp_path, "MODEL.WEIGHTS_PARTIAL", True)
    model = make_model(cfg)
    model.head = torch.nn.Linear(8, 2)
    with pytest.raises(UserError, match="do not fit the model"):
        Trainer(cfg, model, batches).resume_or_load(resume=True)


def test_weights_may_be_partial_where_it_is_asked_for(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "part.pth"
    torch.save({"head.bias": torch.full((1,), 9.0)}, file)
    cfg = config(tmp_path / "run", "MODEL.WEIGHTS", str(file))
    with pytest.raises(UserError, match="WEIGHTS_PARTIAL"):
        Trainer(cfg, make_model(cfg), batches).resume_or_load()
    cfg = config(tmp_path / "run", "MODEL.WEIGHTS", str(file), "MODEL.WEIGHTS_PARTIAL", True)
    trainer = Trainer(cfg, make_model(cfg), batches)
    with caplog.at_level(logging.WARNING):
        trainer.resume_or_load()
    assert trainer.plain_model.head.bias.item() == 9 and "loaded in part" in caplog.text


def test_an_objective_stands_between_model_and_trainer(tmp_path: Path) -> None:
    class Counted(Objective):
        started: list[int] = []
        steps: list[int] = []

        def start(self, some: Iterator[list[dict[str, Any]]]) -> None:
            self.started.append(len(list(some)))

        def forward(self, batch: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
            """Losses of samples with ``image`` [3, H, W]."""
            self.steps.append(self.step)
            return self.model(batch)

    def attempt(resume: bool) -> None:
        cfg = config(tmp_path)
        model = make_model(cfg)
        trainer = Trainer(cfg, model, batches, objective=Counted(model))
        trainer.resume_or_load(resume)
        trainer.train()

    attempt(resume=False)
    (tmp_path / "last_checkpoint").write_text("model_0000003.pth")
    attempt(resume=True)
    assert len(Counted.started) == 1 and Counted.started[0] > 0
    assert Counted.steps == [*range(9), *range(4, 9)]
    assert "head.bias" in final_weights(tmp_path)


def test_lines_of_a_dead_run_are_forgotten(tmp_path: Path) -> None:
    log = tmp_path / "metrics.json"
    forget_later_lines(log, 3)
    assert not log.exists()
    log.write_text('{"iteration": 1}\n{"iteration": 3}\n{"iteration": 2}\n{"itera')
    forget_later_lines(log, 3)
    assert log.read_text() == '{"iteration": 1}\n{"iteration": 2}\n'

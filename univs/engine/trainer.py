"""The trainer: Detectron2's loop and hooks round one step of optimisation."""

from __future__ import annotations

import itertools
import logging
import time
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from detectron2.config import CfgNode
from detectron2.engine import TrainerBase, hooks
from detectron2.solver import build_lr_scheduler
from detectron2.utils import comm
from detectron2.utils.events import CommonMetricPrinter, EventWriter, JSONWriter, TensorboardXWriter
from torch import Tensor, nn

from univs.data.loader import build_train_loader
from univs.errors import UserError

from .checkpoint import Checkpointer
from .distributed import wrap_model
from .hooks import AveragedWeights, FinalWeights, StepSeeds, forget_later_lines
from .objective import Objective
from .optimizer import build_optimizer, clip_gradients

_PRECISIONS = {"float16": torch.float16, "bfloat16": torch.bfloat16}
# batches that an objective may look at before the first step, and where in the endless data they lie
START_BATCHES, FAR_STEP = 12, 1_000_000
LoaderFactory = Callable[[int], Iterable[list[dict[str, Any]]]]


class Trainer(TrainerBase):
    """Trains ``model(batch) -> dict of losses`` as a configuration says, on any number of processes.

    Equal seeds give equal runs, and a run that was killed and resumed gives the curve that it would have had.
    ``make_loader(first_step)`` gives the batches from a step on; by default the loader of the configuration.
    ``objective`` gives the losses in place of the model, whose parameters it holds.
    """

    def __init__(
        self,
        cfg: CfgNode,
        model: nn.Module,
        make_loader: LoaderFactory | None = None,
        log_period: int = 20,
        objective: Objective | None = None,
    ) -> None:
        super().__init__()
        if cfg.SEED < 0:
            raise UserError(f"SEED is {cfg.SEED}; training is always seeded, choose a number from 0 on.")
        self.cfg = cfg
        self.max_iter = cfg.SOLVER.MAX_ITER
        self.optimizer = build_optimizer(cfg, model)
        self.plain_model = model.train()
        self.objective = objective
        self.model = wrap_model(objective or model)
        self.make_loader = make_loader or self._configured_loader
        self._precision = _precision(cfg, model)
        self._scaler = torch.amp.GradScaler("cuda", enabled=self._precision == torch.float16)
        self._batches: Iterator[list[dict[str, Any]]] = iter(())
        self.checkpointer = Checkpointer(
            model,
            cfg.OUTPUT_DIR,
            partial=cfg.MODEL.WEIGHTS_PARTIAL,
            averaged=cfg.MODEL.WEIGHTS_AVERAGED,
            trainer=weakref.proxy(self),
        )
        self.averaged = self._averaged_weights()
        self._log_period = log_period
        self.register_hooks(self._state_hooks())

    def resume_or_load(self, resume: bool = False) -> None:
        """Load MODEL.WEIGHTS, or continue from the newest checkpoint of OUTPUT_DIR if ``resume`` and there is one.

        Raises:
            UserError: the weights cannot be read or do not fit.
        """
        found = resume and self.checkpointer.has_checkpoint()
        self.checkpointer.resume_or_load(self.cfg.MODEL.WEIGHTS, resume=resume)
        if found:
            self.start_iter = self.iter + 1

    def train(self) -> None:
        """Train from the first step, or the one after the checkpoint, to SOLVER.MAX_ITER.

        Raises:
            UserError: a loss is not finite, or the data cannot be read.
        """
        if self.start_iter >= self.max_iter:
            logging.getLogger(__name__).info("All %d steps are done already.", self.max_iter)
            return
        if self.objective is not None and self.start_iter == 0:
            self.objective.start(itertools.islice(iter(self.make_loader(FAR_STEP)), START_BATCHES))
        self._batches = iter(self.make_loader(self.start_iter))
        self.register_hooks(self._output_hooks())
        logging.getLogger("detectron2.engine.train_loop").addFilter(_is_no_mistake)
        super().train(self.start_iter, self.max_iter)

    def run_step(self) -> None:
        """One batch: losses, gradients, clipping, step."""
        start = time.perf_counter()
        batch = next(self._batches)
        if self.objective is not None:
            self.objective.step = self.iter
        data_time = time.perf_counter() - start
        with torch.autocast("cuda", self._precision or torch.float16, enabled=self._precision is not None):
            losses = self.model(batch)
            total = sum(losses.values())
        self._refuse_non_finite(losses, batch)
        self.optimizer.zero_grad(set_to_none=True)
        self._scaler.scale(total).backward()
        self._scaler.unscale_(self.optimizer)
        norm = clip_gradients(self.cfg, self.plain_model.parameters())
        self._scaler.step(self.optimizer)
        self._scaler.update()
        self._record(losses, data_time, norm)

    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | {
            "optimizer": self.optimizer.state_dict(),
            "scaler": self._scaler.state_dict(),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict)
        self.optimizer.load_state_dict(state_dict["optimizer"])
        if self._scaler.is_enabled() and state_dict["scaler"]:
            self._scaler.load_state_dict(state_dict["scaler"])

    def _configured_loader(self, first_step: int) -> Iterable[list[dict[str, Any]]]:
        return build_train_loader(self.cfg, first_step, comm.get_rank(), comm.get_world_size())

    def _averaged_weights(self) -> AveragedWeights | None:
        settings = self.cfg.SOLVER.EMA
        return AveragedWeights(self.plain_model, settings.DECAY, settings.RAMP) if settings.ENABLED else None

    def _state_hooks(self) -> list[hooks.HookBase | None]:
        """Hooks that must be there before a checkpoint is loaded, since it holds their state."""
        schedule = build_lr_scheduler(self.cfg, self.optimizer)
        return [
            hooks.IterationTimer(),
            StepSeeds(self.cfg.SEED, self.plain_model),
            self.averaged,
            hooks.LRScheduler(self.optimizer, schedule),
        ]

    def _output_hooks(self) -> list[hooks.HookBase | None]:
        """Hooks that write: checkpoints after the state of a step is complete, then logs."""
        output = Path(self.cfg.OUTPUT_DIR)
        if not comm.is_main_process():
            return []
        output.mkdir(parents=True, exist_ok=True)
        return [
            hooks.PeriodicCheckpointer(self.checkpointer, self.cfg.SOLVER.CHECKPOINT_PERIOD),
            FinalWeights(self.plain_model, output / "model_final.safetensors", self.averaged),
            hooks.PeriodicWriter(self._writers(output), self._log_period),
        ]

    def _writers(self, output: Path) -> list[EventWriter]:
        """Progress with rate and time left on the terminal, JSON lines, TensorBoard."""
        log = output / "metrics.json"
        forget_later_lines(log, self.start_iter)
        return [
            CommonMetricPrinter(self.max_iter),
            JSONWriter(str(log)),
            TensorboardXWriter(str(output), purge_step=self.start_iter),
        ]

    def _record(self, losses: Mapping[str, Tensor], data_time: float, gradient_norm: float | None) -> None:
        """Store the means over all processes for the logs; the slowest loader counts, since all wait for it."""
        rows = comm.gather({name: float(value.detach()) for name, value in losses.items()} | {"data_time": data_time})
        if not rows:
            return
        means = {name: sum(row[name] for row in rows) / len(rows) for name in losses}
        self.storage.put_scalars(total_loss=sum(means.values()), **means)
        self.storage.put_scalar("data_time", max(row["data_time"] for row in rows))
        if gradient_norm is not None:
            self.storage.put_scalar("gradient_norm", gradient_norm)

    def _refuse_non_finite(self, losses: Mapping[str, Tensor], batch: list[dict[str, Any]]) -> None:
        broken = {name: value.item() for name, value in losses.items() if not torch.isfinite(value).all()}
        if broken:
            samples = [sample.get("sample", "?") for sample in batch]
            raise UserError(
                f"Training stopped at step {self.iter}: {broken} (samples {samples} of the data). Continue from the "
                "last checkpoint with a lower SOLVER.BASE_LR, stronger SOLVER.CLIP_GRADIENTS or no SOLVER.AMP.ENABLED."
            )


def _is_no_mistake(record: logging.LogRecord) -> bool:
    """Whether a log entry is anything but the stack trace of a user's mistake, which is told in one sentence."""
    return not (record.exc_info and isinstance(record.exc_info[1], UserError))


def _precision(cfg: CfgNode, model: nn.Module) -> torch.dtype | None:
    """Number format of mixed precision, None for plain float32 (always on the CPU)."""
    if cfg.SOLVER.AMP.PRECISION not in _PRECISIONS:
        raise UserError(f"SOLVER.AMP.PRECISION is '{cfg.SOLVER.AMP.PRECISION}'; it must be one of {list(_PRECISIONS)}.")
    on_gpu = next(model.parameters()).is_cuda
    return _PRECISIONS[cfg.SOLVER.AMP.PRECISION] if cfg.SOLVER.AMP.ENABLED and on_gpu else None

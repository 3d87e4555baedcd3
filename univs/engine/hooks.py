"""What happens round every training step, as hooks of Detectron2's trainer."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import torch
from detectron2.engine import HookBase
from detectron2.utils import comm
from torch import Tensor, nn

from univs.layers.draws import Draws
from univs.modeling.weights import save_weights, write_atomically


class StepSeeds(HookBase):
    """Gives every random generator a new seed before each step, made of the run's seed, the step and the process.

    So the random numbers of a step do not depend on the steps before it, and a resumed run needs no stored state.
    """

    def __init__(self, seed: int, model: nn.Module):
        self.seed = seed
        self._draws = _draws_of(model)

    def before_step(self) -> None:
        numbers = np.random.SeedSequence((self.seed, self.trainer.iter, comm.get_rank())).generate_state(3)
        torch.manual_seed(int(numbers[0]))
        np.random.seed(int(numbers[1]))
        random.seed(int(numbers[2]))
        for place, draws in enumerate(self._draws):
            draws.generator.manual_seed(int(numbers[0]) + place)


def _draws_of(model: nn.Module) -> list[Draws]:
    """Every source of random draws that a part of the model holds, once."""
    found = [value for module in model.modules() for value in vars(module).values() if isinstance(value, Draws)]
    return list({id(draws): draws for draws in found}.values())


class AveragedWeights(HookBase):
    """An exponential running average of the parameters that learn, beside the model.

    Before every step: average = decay * average + (1 - decay) * parameter. With ``ramp`` the decay is at most
    (1 + step) / (10 + step), so that a short run does not remember its start.
    """

    def __init__(self, model: nn.Module, decay: float, ramp: bool = False):
        self.decay = decay
        self.ramp = ramp
        self.average: dict[str, Tensor] = {}
        self._parameters = {name: value for name, value in model.named_parameters() if value.requires_grad}

    def before_train(self) -> None:
        # Only now are the weights loaded that the average starts from; a resumed run has its average already.
        if not self.average:
            self.average = {name: value.detach().clone() for name, value in self._parameters.items()}

    @torch.no_grad()
    def before_step(self) -> None:
        step = self.trainer.iter
        decay = min(self.decay, (1 + step) / (10 + step)) if self.ramp else self.decay
        for name, average in self.average.items():
            average.lerp_(self._parameters[name], 1 - decay)

    def state_dict(self) -> dict[str, Any]:
        return {"average": self.average}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.average = {
            name: state["average"].get(name, value).detach().to(value, copy=True)
            for name, value in self._parameters.items()
        }


class FinalWeights(HookBase):
    """Writes the finished model as ``model_final.safetensors``, with the averaged weights if there are any."""

    def __init__(self, model: nn.Module, path: Path, averaged: AveragedWeights | None = None):
        self._model = model
        self._path = path
        self._averaged = averaged

    def after_train(self) -> None:
        if self.trainer.iter < self.trainer.max_iter or not comm.is_main_process():
            return
        state = dict(self._model.state_dict())
        if self._averaged is not None:
            state |= self._averaged.average
        save_weights(state, self._path, {"steps": str(self.trainer.max_iter)})


def forget_later_lines(path: Path, first_step: int) -> None:
    """Remove from a JSON-lines log what was written for ``first_step`` and later, by a run that then died."""
    if not path.exists():
        return
    kept = [line for line in path.read_text().splitlines() if _step_of(line) < first_step]
    text = "".join(f"{line}\n" for line in kept)
    write_atomically(path, lambda file: file.write(text.encode()))


def _step_of(line: str) -> float:
    """Step of a line; a line that was cut off by the death of its run counts as later than all."""
    try:
        return json.loads(line)["iteration"]
    except (json.JSONDecodeError, KeyError, TypeError):
        return float("inf")

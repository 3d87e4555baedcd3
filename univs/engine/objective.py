"""What a training run optimises, seen from the trainer."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import nn

Sample = dict[str, Any]


class Objective(nn.Module):
    """A module whose forward gives the losses of a batch; ``model`` is what learns, ``step`` the number of the step."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.step = 0

    def start(self, batches: Iterable[list[Sample]]) -> None:
        """What is done before the first step; ``batches`` are some that training does not see for long."""

"""The training program with a model that chance does not touch, as one or several processes."""

from __future__ import annotations

import sys
from typing import Any

import torch
from detectron2.modeling import META_ARCH_REGISTRY
from torch import Tensor

from tests.engine.tiny_model import TinyForTests, features_of
from tools.train_net import run


@META_ARCH_REGISTRY.register()
class SteadyForTests(TinyForTests):
    """Without dropout and noise; its losses are means over samples, so that those of parts have their mean."""

    def forward(self, batch: list[dict[str, Any]]) -> dict[str, Tensor]:
        """Losses of samples with ``image``, a list of tensors [3, H, W]."""
        rows = torch.stack([features_of(sample) for sample in batch])
        error = self.head(self.norm(self.backbone(rows)) + self.embedding.weight[0])[:, 0] - rows.mean(dim=1)
        return {"loss_square": error.square().mean()}


if __name__ == "__main__":
    sys.exit(run())

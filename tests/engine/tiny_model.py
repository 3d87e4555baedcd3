"""A model and batches so small that whole training runs take no time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from detectron2.config import CfgNode
from detectron2.modeling import META_ARCH_REGISTRY
from torch import Tensor, nn

from univs.config import get_config
from univs.layers.draws import Draws

SOLVER = [
    "SOLVER.MAX_ITER", 9, "SOLVER.CHECKPOINT_PERIOD", 4, "SOLVER.BASE_LR", 0.05, "SOLVER.WARMUP_ITERS", 3,
    "SOLVER.LR_SCHEDULER_NAME", "WarmupCosineLR", "SOLVER.EMA.ENABLED", True, "SOLVER.EMA.DECAY", 0.8,
    "SOLVER.CLIP_GRADIENTS.ENABLED", True, "SOLVER.CLIP_GRADIENTS.CLIP_TYPE", "full_model",
    "SOLVER.CLIP_GRADIENTS.CLIP_VALUE", 0.5, "MODEL.DEVICE", "cpu", "SEED", 3,
]  # fmt: skip


@META_ARCH_REGISTRY.register()
class TinyForTests(nn.Module):
    """Fits a line through noisy points, with every kind of chance in its way; keeps the losses that it gave."""

    def __init__(self, cfg: CfgNode):
        super().__init__()
        self.backbone = nn.Linear(4, 8)
        self.norm = nn.LayerNorm(8)
        self.embedding = nn.Embedding(2, 8)
        self.head = nn.Linear(8, 1)
        self.draws = Draws(0)
        self.losses: list[float] = []

    def forward(self, batch: list[dict[str, Any]]) -> dict[str, Tensor]:
        """Losses of samples with ``image``, a list of tensors [3, H, W]."""
        rows = torch.stack([features_of(sample) for sample in batch])
        hidden = torch.dropout(self.norm(self.backbone(rows)), 0.3, self.training) + self.embedding.weight[0]
        noise = 0.1 * self.draws.number("noise")
        error = self.head(hidden)[:, 0] - rows.mean(dim=1) - noise
        losses = {"loss_square": error.square().mean(), "loss_size": 0.01 * self.head.weight.square().sum()}
        self.losses.append(float(sum(losses.values()).detach()))
        return losses


def features_of(sample: dict[str, Any]) -> Tensor:
    """What the model sees of a sample [4]: mean colour and contrast of its first picture."""
    image = sample["image"][0].float() / 255
    return torch.stack([*image.mean(dim=(1, 2)), image.std()])


def config(folder: Path, *options: object) -> CfgNode:
    return get_config(None, [*SOLVER, "OUTPUT_DIR", str(folder), *options])


def make_model(cfg: CfgNode) -> TinyForTests:
    torch.manual_seed(1)
    return TinyForTests(cfg)


def batches(first_step: int) -> Iterator[list[dict[str, Any]]]:
    """Endless batches of two samples that depend on their step alone."""
    step = first_step
    while True:
        generator = torch.Generator().manual_seed(step)
        images = torch.randint(0, 255, (2, 3, 4, 4), generator=generator, dtype=torch.uint8)
        yield [{"image": [image], "sample": 2 * step + place} for place, image in enumerate(images)]
        step += 1

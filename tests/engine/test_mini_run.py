"""The embedded model's steps from the command line, on a tiny data folder."""

from __future__ import annotations

import json
from pathlib import Path

import torch

from tools.train_net import run
from univs.modeling.weights import read_checkpoint
from univs.resources import config_file

SMALL = [
    "MODEL.EFFICIENTNET_LITE.PRETRAINED", "False", "INPUT.CLIPS.SIZE", "[64, 96]", "INPUT.CLIPS.SCALE_WIDTH", "96",
    "INPUT.STILLS.SIZES", "[[64, 96]]", "SOLVER.IMS_PER_BATCH", "1", "SOLVER.MAX_ITER", "2",
    "DATALOADER.NUM_WORKERS", "0",
]  # fmt: skip


def train(step: str, output: Path, *options: str) -> dict[str, torch.Tensor]:
    """Train a step; its final weights by name."""
    arguments = ["--config-file", str(config_file(f"train/univs_mini_{step}.yaml")), *SMALL, *options]
    assert run([*arguments, "OUTPUT_DIR", str(output)]) == 0
    (line,) = map(json.loads, (output / "metrics.json").read_text().splitlines())
    assert line["iteration"] == 1 and line["total_loss"] > 0
    return read_checkpoint(output / "model_final.safetensors")["model"]


def parts_that_differ(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> set[str]:
    """First parts of the names that both have with other values."""
    return {name.split(".")[0] for name in one.keys() & other.keys() if not torch.equal(one[name], other[name])}


def test_each_step_starts_from_the_last_and_leaves_it_alone(folder: Path) -> None:
    followed = train("follow", folder / "follow")
    assert {name.split(".")[0] for name in followed} == {"backbone", "dense_memory"}
    start = ("MODEL.WEIGHTS", str(folder / "follow/model_final.safetensors"))
    answered = train("answer", folder / "answer", *start)
    assert followed.keys() < answered.keys() and parts_that_differ(followed, answered) == set()
    sharpened = train("answer_apart", folder / "apart", *start[:1], str(folder / "answer/model_final.safetensors"))
    assert sharpened.keys() == answered.keys() and parts_that_differ(answered, sharpened) == {"prompt_answer"}

"""Checkpoints in the form of the published ones: names, copies and wrapping as published, sizes small."""

from __future__ import annotations

import copy
import functools
from pathlib import Path

import torch
import yaml
from torch import Tensor, nn

from tests import parity
from univs.config import get_config
from univs.modeling.build import build_model
from univs.modeling.published_names import to_published
from univs.resources import config_file

SMALL = {
    "MODEL": {
        "DEVICE": "cpu",
        "RESNETS": {"STEM_OUT_CHANNELS": 8, "RES2_OUT_CHANNELS": 16, "WIDTH_PER_GROUP": 4},
        "UNIVS": {
            "HIDDEN_DIM": 32,
            "NUM_QUERIES": 6,
            "FEEDFORWARD_DIM": 32,
            "DECODER_LAYERS": 2,
            "PROMPT_TOKENS": 8,
            "PIXEL_DECODER": {"ENCODER_LAYERS": 1, "FEEDFORWARD_DIM": 32},
        },
    },
    "INPUT": {"MIN_SIZE_TEST": 64, "SQUARE_TEST": 0},
}
# reads text without a download
STATIC_TEXT = ("MODEL.UNIVS.TEXT.ENCODER", "StaticTextEncoder", "MODEL.UNIVS.TEXT.DIM", 256)


def write_config(path: Path, base: str = "eval/vos/univs_r50_davis17.yaml", options: tuple = ()) -> Path:
    """A configuration of a small model upon one of ours, with options KEY, VALUE, KEY, VALUE and so on."""
    content = copy.deepcopy({"_BASE_": str(config_file(base)), **SMALL})
    for key, value in zip(options[::2], options[1::2], strict=True):
        *places, last = key.split(".")
        node = content
        for place in places:
            node = node.setdefault(place, {})
        node[last] = value
    path.write_text(yaml.safe_dump(content))
    return path


@functools.cache
def small_model(tag: str = "small", options: tuple = ()) -> nn.Module:
    """The small model with weights by rule."""
    cfg = get_config(config_file("eval/vos/univs_r50_davis17.yaml"))
    cfg.merge_from_other_cfg(type(cfg)(SMALL))
    cfg.merge_from_list(list(options))
    return parity.fill(build_model(cfg).eval(), tag)


def published_state(model: nn.Module, averaged: float | None = None) -> dict[str, Tensor]:
    """The model's state under published names; with ``averaged``, copies of everything that are off by it."""
    state = {to_published(name): value.detach().clone() for name, value in model.state_dict().items()}
    if averaged is not None:
        for name, value in list(state.items()):
            part, _, rest = name.partition(".")
            state[f"{part}_t.{rest}"] = value + averaged if value.is_floating_point() else value
    return state


def write_published(path: Path, model: nn.Module, averaged: float | None = None) -> Path:
    """A file as the published training program writes it."""
    torch.save({"model": published_state(model, averaged), "iteration": 88999, "optimizer": {"state": {}}}, path)
    return path

"""Every parameter has one key in the published checkpoints, and every key one parameter."""

from __future__ import annotations

import pytest
import torch

from tests import parity
from univs.config import get_config
from univs.modeling.meta_arch import UniVS
from univs.modeling.published_names import from_published, to_published
from univs.modeling.text.clip_encoder import build_tower
from univs.resources import config_file


@pytest.mark.parametrize("backbone", ["r50", "swint", "swinb", "swinl"])
def test_model_has_the_published_keys_and_shapes(backbone):
    cfg = get_config(config_file(f"train/univs_{backbone}_stage2.yaml"), ["MODEL.DEVICE", "cpu"])
    with torch.device("meta"):
        state = UniVS(cfg).state_dict()
    assert {to_published(name): tuple(value.shape) for name, value in state.items()} == parity.published_shapes(
        f"univs_{backbone}"
    )
    assert all(from_published(to_published(name)) == name for name in state)


def test_text_tower_has_the_published_keys_and_shapes():
    with torch.device("meta"):
        state = build_tower().state_dict()
    assert {name: tuple(value.shape) for name, value in state.items()} == parity.published_shapes("clip_text_encoder")

"""Stored feature maps of the published backbones."""

from __future__ import annotations

import dataclasses
import re

import pytest
import torch

from tests import parity, rule
from univs.modeling.backbones.resnet import build_resnet50
from univs.modeling.backbones.swin import SWIN_B, SWIN_L, SWIN_T, SwinTransformer

BUILDERS = {
    "r50": lambda: build_resnet50(freeze_at=5),
    "swint": lambda: SwinTransformer(dataclasses.replace(SWIN_T, freeze_at=5)),
    "swinb": lambda: SwinTransformer(dataclasses.replace(SWIN_B, freeze_at=5)),
    "swinl": lambda: SwinTransformer(dataclasses.replace(SWIN_L, freeze_at=5)),
}


@pytest.mark.parametrize("case", parity.cases("backbone"))
def test_parity_backbone(case):
    kind = re.search(r"univs_(r50|swin[tbl])", case.config["config"].lower()).group(1)
    backbone = parity.fill(BUILDERS[kind](), case.tag, "backbone.").eval()
    frames = int(re.search(r"T=(\d+)", case.inputs["images"]).group(1))
    images = parity.tensor(rule.image(case.tag, frames, case.config["H"], case.config["W"])).float()
    mean, std = (parity.tensor(case.config[key]).view(-1, 1, 1) for key in ("pixel_mean", "pixel_std"))
    with torch.no_grad():
        outputs = backbone((images - mean) / std)
    assert sorted(outputs) == sorted(case.outputs)
    for name, value in outputs.items():
        assert value.shape[1] == backbone.output_shape()[name].channels
        case.check(name, value)

"""ResNet-50 as the method sets it up."""

from __future__ import annotations

import torch
from detectron2.layers import FrozenBatchNorm2d

from univs.modeling.backbones.resnet import build_resnet50


def test_resnet50_is_frozen_as_asked():
    backbone = build_resnet50(freeze_at=2)
    trained = {name.split(".")[0] for name, p in backbone.named_parameters() if p.requires_grad}
    assert trained == {"res3", "res4", "res5"}
    norms = [module for module in backbone.modules() if "Norm" in type(module).__name__]
    assert norms and all(isinstance(module, FrozenBatchNorm2d) for module in norms)
    first = backbone.res3[0]
    assert (first.conv1.stride, first.conv2.stride) == ((1, 1), (2, 2))


def test_resnet50_gives_four_maps():
    with torch.no_grad():
        outputs = build_resnet50()(torch.zeros(1, 3, 32, 64))
    shapes = {name: tuple(x.shape[1:]) for name, x in outputs.items()}
    assert shapes == {"res2": (256, 8, 16), "res3": (512, 4, 8), "res4": (1024, 2, 4), "res5": (2048, 1, 2)}

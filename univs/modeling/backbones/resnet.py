"""ResNet-50 is Detectron2's own; this module only names the settings that the method uses."""

from __future__ import annotations

from detectron2.config import get_cfg
from detectron2.layers import ShapeSpec
from detectron2.modeling import BACKBONE_REGISTRY, Backbone

BUILDER = "build_resnet_backbone"


def build_resnet50(freeze_at: int = 0) -> Backbone:
    """ResNet-50 with frozen batch norms and the stride on the 3x3 convolutions; maps res2 to res5.

    ``freeze_at``: 1 freezes the stem, n the stem and the first n - 1 stages (Detectron2's meaning), 0 nothing.
    The same comes from a configuration with MODEL.BACKBONE.NAME "build_resnet_backbone" and these keys.
    """
    cfg = get_cfg()
    cfg.MODEL.BACKBONE.FREEZE_AT = freeze_at
    cfg.MODEL.RESNETS.DEPTH = 50
    cfg.MODEL.RESNETS.NORM = "FrozenBN"
    cfg.MODEL.RESNETS.STRIDE_IN_1X1 = False
    cfg.MODEL.RESNETS.OUT_FEATURES = ["res2", "res3", "res4", "res5"]
    return BACKBONE_REGISTRY.get(BUILDER)(cfg, ShapeSpec(channels=len(cfg.MODEL.PIXEL_MEAN)))

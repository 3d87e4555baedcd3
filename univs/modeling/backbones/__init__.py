"""Backbones; importing this package registers them with Detectron2."""

from . import efficientnet_lite, resnet, swin

__all__ = ["efficientnet_lite", "resnet", "swin"]

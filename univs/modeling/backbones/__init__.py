"""Backbones; importing this package registers them with Detectron2."""

from . import efficientnet_lite

__all__ = ["efficientnet_lite"]

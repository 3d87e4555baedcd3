"""From a configuration to the whole model."""

from __future__ import annotations

import torch
from detectron2.config import CfgNode
from detectron2.modeling import META_ARCH_REGISTRY
from torch import nn

from univs.errors import UserError
from univs.modeling import meta_arch

__all__ = ["build_model"]


def build_model(cfg: CfgNode) -> nn.Module:
    """The model that MODEL.META_ARCHITECTURE names, on MODEL.DEVICE, with fresh weights.

    Raises:
        UserError: no model is registered under that name.
    """
    name = cfg.MODEL.META_ARCHITECTURE
    if name not in META_ARCH_REGISTRY:
        ours = meta_arch.UniVS.__name__
        raise UserError(f"MODEL.META_ARCHITECTURE is '{name}', which no model is registered under; ours is '{ours}'.")
    return META_ARCH_REGISTRY.get(name)(cfg).to(torch.device(cfg.MODEL.DEVICE))

"""Which parameters learn how fast, and the clipping of their gradients."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Any

import torch
from detectron2.config import CfgNode
from torch import nn

from univs.errors import UserError

_NORMS = (
    nn.modules.batchnorm._BatchNorm,
    nn.GroupNorm,
    nn.LayerNorm,
    nn.modules.instancenorm._InstanceNorm,
    nn.LocalResponseNorm,
)
_UNDECAYED = ("relative_position_bias_table", "absolute_pos_embed")
"""Parameters that are no module of their own but stand for positions, as embeddings do."""


def build_optimizer(cfg: CfgNode, model: nn.Module) -> torch.optim.Optimizer:
    """Optimiser over the parameters that learn; those with a rate of 0 are frozen (``requires_grad`` off).

    Raises:
        UserError: the optimiser is unknown, a pattern of SOLVER.RATE_MULTIPLIERS fits nothing, or nothing is left to
            learn.
    """
    groups = parameter_groups(cfg, model)
    if not groups:
        raise UserError(
            "No parameter of the model learns: MODEL.BACKBONE.FREEZE_AT and SOLVER.RATE_MULTIPLIERS freeze all."
        )
    kind = cfg.SOLVER.OPTIMIZER.upper()
    if kind == "ADAMW":
        return torch.optim.AdamW(groups, lr=cfg.SOLVER.BASE_LR, betas=tuple(cfg.SOLVER.BETAS))
    if kind == "SGD":
        return torch.optim.SGD(
            groups, lr=cfg.SOLVER.BASE_LR, momentum=cfg.SOLVER.MOMENTUM, nesterov=cfg.SOLVER.NESTEROV
        )
    raise UserError(f"SOLVER.OPTIMIZER is '{cfg.SOLVER.OPTIMIZER}'; it must be ADAMW or SGD.")


def parameter_groups(cfg: CfgNode, model: nn.Module) -> list[dict[str, Any]]:
    """Parameter groups by learning rate and weight decay, each with ``params`` and their ``names``.

    The rate is SOLVER.BASE_LR times the multiplier of the first fitting pattern of SOLVER.RATE_MULTIPLIERS, or, for
    names with "backbone" in them, SOLVER.BACKBONE_MULTIPLIER. Norm layers decay by WEIGHT_DECAY_NORM, embeddings and
    position tables by WEIGHT_DECAY_EMBED, all else by WEIGHT_DECAY.
    """
    patterns = [(str(pattern), float(factor)) for pattern, factor in cfg.SOLVER.RATE_MULTIPLIERS]
    _refuse_idle_patterns(patterns, [name for name, _ in model.named_parameters()])
    groups: dict[tuple[float, float], dict[str, Any]] = {}
    for name, parameter, module in _owned_parameters(model):
        factor = _rate_factor(name, patterns, cfg.SOLVER.BACKBONE_MULTIPLIER)
        if factor == 0:
            parameter.requires_grad_(False)
        if not parameter.requires_grad:
            continue
        key = (cfg.SOLVER.BASE_LR * factor, _weight_decay(cfg, name, module))
        group = groups.setdefault(key, {"params": [], "names": [], "lr": key[0], "weight_decay": key[1]})
        group["params"].append(parameter)
        group["names"].append(name)
    return list(groups.values())


def clip_gradients(cfg: CfgNode, parameters: Iterable[nn.Parameter]) -> float | None:
    """Clip gradients in place as SOLVER.CLIP_GRADIENTS says; returns the norm over the whole model before, if taken.

    Raises:
        UserError: the type of clipping is unknown.
    """
    settings = cfg.SOLVER.CLIP_GRADIENTS
    if not settings.ENABLED:
        return None
    learning = [parameter for parameter in parameters if parameter.grad is not None]
    if settings.CLIP_TYPE == "full_model":
        return float(nn.utils.clip_grad_norm_(learning, settings.CLIP_VALUE, settings.NORM_TYPE))
    if settings.CLIP_TYPE == "norm":
        for parameter in learning:
            nn.utils.clip_grad_norm_(parameter, settings.CLIP_VALUE, settings.NORM_TYPE)
    elif settings.CLIP_TYPE == "value":
        nn.utils.clip_grad_value_(learning, settings.CLIP_VALUE)
    else:
        raise UserError(
            f"SOLVER.CLIP_GRADIENTS.CLIP_TYPE is '{settings.CLIP_TYPE}'; it must be full_model, norm or value."
        )
    return None


def _owned_parameters(model: nn.Module) -> Iterable[tuple[str, nn.Parameter, nn.Module]]:
    """Every parameter once, with its name and the module that holds it."""
    seen = set()
    for prefix, module in model.named_modules():
        for own_name, parameter in module.named_parameters(recurse=False):
            if parameter not in seen:
                seen.add(parameter)
                yield f"{prefix}.{own_name}" if prefix else own_name, parameter, module


def _rate_factor(name: str, patterns: list[tuple[str, float]], backbone: float) -> float:
    for pattern, factor in patterns:
        if fnmatchcase(name, pattern):
            return factor
    return backbone if "backbone" in name else 1.0


def _weight_decay(cfg: CfgNode, name: str, module: nn.Module) -> float:
    if isinstance(module, _NORMS):
        return cfg.SOLVER.WEIGHT_DECAY_NORM
    if isinstance(module, nn.Embedding) or name.rpartition(".")[2] in _UNDECAYED:
        return cfg.SOLVER.WEIGHT_DECAY_EMBED
    return cfg.SOLVER.WEIGHT_DECAY


def _refuse_idle_patterns(patterns: list[tuple[str, float]], names: list[str]) -> None:
    for pattern, _ in patterns:
        if not any(fnmatchcase(name, pattern) for name in names):
            raise UserError(f"The pattern '{pattern}' of SOLVER.RATE_MULTIPLIERS fits no parameter of the model.")

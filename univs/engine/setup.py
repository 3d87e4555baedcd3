"""Before training starts: the configuration, the device, the output folder with its log, the model."""

from __future__ import annotations

import argparse
import logging

import torch
from detectron2.config import CfgNode
from detectron2.engine import default_setup
from detectron2.modeling import META_ARCH_REGISTRY
from detectron2.utils import comm
from detectron2.utils.logger import setup_logger
from torch import nn

import univs.modeling.meta_arch  # noqa: F401  registers the model
from univs.config import get_config
from univs.data.catalog import register_datasets
from univs.data.vocabulary import class_names
from univs.errors import UserError
from univs.runtime import choose_device, keep_freed_memory, set_threads


def prepare_run(arguments: argparse.Namespace) -> CfgNode:
    """The frozen configuration of Detectron2's arguments, with data sets registered and logging set up.

    The output folder gets the full configuration and a log. MODEL.DEVICE falls back to what the machine has.

    Raises:
        UserError: the configuration cannot be used, or evaluation is asked for.
    """
    if arguments.eval_only:
        raise UserError("--eval-only is not available yet: this version trains only; leave the option out.")
    cfg = get_config(arguments.config_file or None, arguments.opts or ())
    cfg.MODEL.DEVICE = _device_name(cfg.MODEL.DEVICE)
    cfg.freeze()
    set_threads()
    keep_freed_memory()
    register_datasets()
    default_setup(cfg, arguments)
    # Detectron2 shows its own messages only; ours go the same way, and on to whoever listens to all.
    setup_logger(cfg.OUTPUT_DIR, distributed_rank=comm.get_rank(), name="univs").propagate = True
    return cfg


def build_model(cfg: CfgNode) -> nn.Module:
    """The model of MODEL.META_ARCHITECTURE on MODEL.DEVICE, its first weights drawn from SEED.

    Raises:
        UserError: no model of this name is registered.
    """
    if cfg.MODEL.META_ARCHITECTURE not in META_ARCH_REGISTRY:
        raise UserError(f"MODEL.META_ARCHITECTURE '{cfg.MODEL.META_ARCHITECTURE}' is not a registered model.")
    # The same start in every process and in every run of this seed.
    torch.manual_seed(cfg.SEED)
    model = META_ARCH_REGISTRY.get(cfg.MODEL.META_ARCHITECTURE)(cfg).to(cfg.MODEL.DEVICE)
    if hasattr(model, "class_embeddings"):
        model.class_embeddings.names_of = class_names
    return model


def _device_name(wanted: str) -> str:
    """The device to train on: the wanted kind if the machine has it, else what it has; one GPU per process."""
    kind = torch.device(wanted).type
    if kind == "cuda" and not torch.cuda.is_available():
        name = str(choose_device("auto"))
        logging.getLogger(__name__).warning("There is no CUDA GPU here; training runs on '%s'.", name)
        return name
    return f"cuda:{comm.get_local_rank()}" if kind == "cuda" and comm.get_world_size() > 1 else wanted

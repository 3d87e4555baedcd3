"""Checkpoints of a training run: written whole or not at all, read without running code, resumed exactly."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import torch
from detectron2.checkpoint import DetectionCheckpointer
from detectron2.checkpoint.c2_model_loading import convert_c2_detectron_names
from torch import nn

from univs.errors import UserError
from univs.modeling.weight_files import read_checkpoint
from univs.modeling.weights import load_state, write_atomically

_log = logging.getLogger(__name__)


class Checkpointer(DetectionCheckpointer):
    """Detectron2's checkpointer with strict, safe loading and atomic writing.

    ``model_0000123.pth`` holds the model, and what else is registered (the trainer with optimiser, schedule and
    averaged weights) as plain tensors and numbers; ``last_checkpoint`` names the newest. ``partial`` and ``averaged``
    choose what is loaded, see ``load_state``.
    """

    def __init__(
        self,
        model: nn.Module,
        save_dir: str = "",
        *,
        partial: bool = False,
        averaged: bool = True,
        **checkpointables: Any,
    ):
        super().__init__(model, save_dir, **checkpointables)
        self.partial, self.averaged = partial, averaged

    def save(self, name: str, **kwargs: Any) -> None:
        """Write the checkpoint ``name`` into the folder; ``kwargs`` are stored beside it.

        Raises:
            UserError: the folder cannot be written to or the disk is full.
        """
        if not self.save_dir or not self.save_to_disk:
            return
        content = {"model": self.model.state_dict()}
        content |= {key: item.state_dict() for key, item in self.checkpointables.items()} | kwargs
        path = Path(self.save_dir) / f"{name}.pth"
        write_atomically(path, lambda file: torch.save(content, file))
        write_atomically(Path(self.save_dir) / "last_checkpoint", lambda file: file.write(path.name.encode()))
        _log.info("Saved %s", path)

    def resume_or_load(self, path: str, *, resume: bool = True) -> dict[str, Any]:
        """Continue from the newest checkpoint of the folder if ``resume`` and there is one, else load ``path``.

        Raises:
            UserError: see ``read_checkpoint`` and ``load_state``.
        """
        if resume and not self.has_checkpoint():
            _log.warning("There is no checkpoint in %s to resume; training starts from the beginning.", self.save_dir)
        return super().resume_or_load(path, resume=resume)

    def load(self, path: str, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Load a checkpoint; see Detectron2. Names known to its catalog and URLs are fetched and cached.

        Raises:
            UserError: see ``read_checkpoint`` and ``load_state``.
        """
        if path and "://" not in path and not Path(path).is_file():
            raise UserError(f"The weights file {path} does not exist; check MODEL.WEIGHTS or --weights.")
        return super().load(path, *args, **kwargs)

    def _load_file(self, filename: str) -> dict[str, Any]:
        return {**read_checkpoint(filename), "source": filename}

    def _load_model(self, checkpoint: dict[str, Any]) -> None:
        state, source = checkpoint.pop("model"), str(checkpoint.pop("source", ""))
        if checkpoint.pop("matching_heuristics", False) and checkpoint.get("__author__") == "Caffe2":
            state, _ = convert_c2_detectron_names(state)
        # A run's own checkpoint must fit wholly: it is no start from somebody's weights but a continuation.
        partial = self.partial and not ("trainer" in checkpoint and Path(source).parent == Path(self.save_dir))
        report = load_state(self.model, state, partial, source, averaged=self.averaged)
        if report.complete:
            _log.info("Loaded %s", report.summary())
        else:
            _log.warning("The weights %s were loaded in part: %s.", source, report.describe())

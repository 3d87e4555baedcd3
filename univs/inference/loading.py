"""From the name of a model, or a config and weights, to a segmenter that a session can drive."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from detectron2.config import CfgNode
from torch import nn

from univs.config import get_config
from univs.errors import UserError
from univs.inference.dense_bank import BankSettings
from univs.inference.segmenter import SegmenterSettings, UniVSSegmenter
from univs.modeling.meta_arch import UniVS
from univs.modeling.weights import load_state, read_checkpoint
from univs.resources import config_file, weights_file
from univs.runtime import choose_device

SHIPPED = {"univs_mini": ("mini/univs_mini.yaml", "univs_mini.safetensors")}
# pixels of the network input, and the search window that fits them (cells of stride 8)
QUALITIES = {"default": (320 * 576, 8), "high": (480 * 864, 14)}


def load_segmenter(
    model: str | os.PathLike = "univs_mini",
    weights: str | os.PathLike | None = None,
    device: str = "auto",
    quality: str = "default",
    parts: str = "dense",
) -> UniVSSegmenter:
    """A segmenter by the name of a shipped model, or by the path of a config with ``weights``.

    parts: what follows objects, see ``SegmenterSettings``.

    Raises:
        UserError: no such model, config, weights, quality or device.
    """
    if quality not in QUALITIES:
        raise UserError(f"Quality {quality!r} is unknown; choose {' or '.join(QUALITIES)}.")
    config, file = _sources(model, weights)
    cfg = get_config(config)
    built = build_model(cfg)
    load_state(built, read_checkpoint(file)["model"], source=str(file))
    area, window = QUALITIES[quality]
    settings = SegmenterSettings(area=area, parts=parts, bank=BankSettings(window=window, wide_window=3 * window))
    name = f"{Path(file).stem}-{_digest(file)}-{quality}" + ("" if parts == "dense" else f"-{parts}")
    return UniVSSegmenter(built.to(choose_device(device)), settings, name)


def build_model(cfg: CfgNode) -> nn.Module:
    """The model of a configuration, in evaluation mode."""
    return UniVS(cfg).eval()


def _sources(model: str | os.PathLike, weights: str | os.PathLike | None) -> tuple[Path, Path]:
    if str(model) in SHIPPED:
        config, file = SHIPPED[str(model)]
        return config_file(config), Path(weights) if weights else weights_file(file)
    if not Path(model).is_file():
        raise UserError(f"There is no model or config {str(model)!r}; shipped models: {', '.join(SHIPPED)}.")
    if weights is None:
        raise UserError(f"The config {model} needs weights; give them with --weights FILE.")
    return Path(model), Path(weights)


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()[:12]

"""From the name of a model, or a config and weights, to a model and to a segmenter that a session can drive."""

from __future__ import annotations

import functools
import hashlib
import logging
import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from detectron2.config import CfgNode
from torch import Tensor, nn

from univs.config import change_config, get_config
from univs.data.vocabulary import class_names
from univs.errors import UserError
from univs.inference.clips.settings import clip_settings
from univs.inference.dense_bank import BankSettings
from univs.inference.model_choice import choose_config, find_config
from univs.inference.protocol import Segmenter
from univs.inference.query_segmenter import QuerySegmenter
from univs.inference.segmenter import SegmenterSettings, UniVSSegmenter
from univs.modeling.meta_arch import UniVS
from univs.modeling.weight_files import read_checkpoint, read_metadata
from univs.modeling.weight_sources import WeightSource, backbone_of, recognised
from univs.modeling.weights import load_state
from univs.resources import config_file, weights_file
from univs.runtime import choose_device

SHIPPED = {"univs_mini": ("mini/univs_mini.yaml", "univs_mini.safetensors")}
DEFAULT = "univs_mini"
# pixels of the network input, and the search window that fits them (cells of stride 8)
QUALITIES = {"default": (352 * 640, 6), "high": (480 * 864, 10)}

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LoadedModel:
    """A model in evaluation mode, with its configuration.

    file: its weights; report: one line on how they were loaded.
    """

    model: UniVS
    cfg: CfgNode
    file: Path
    report: str

    @functools.cached_property
    def name(self) -> str:
        """The file's name and a hash of every value that was loaded from it, which tells these weights from all others.

        Of a file with averages beside the weights, only what was chosen counts, and the same weights in files of two
        kinds have the same hash.
        """
        return f"{self.file.stem}-{state_hash(self.model.state_dict())}"


def state_hash(state: Mapping[str, Tensor]) -> str:
    """Hash, in 12 hexadecimal digits, of tensors with their names, kinds and shapes."""
    digest = hashlib.sha256()
    for name, tensor in sorted(state.items()):
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)} ".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()[:12]


def load_segmenter(
    model: str | os.PathLike | None = None,
    weights: str | os.PathLike | None = None,
    device: str = "auto",
    quality: str = "default",
    parts: str = "dense",
    task: str = "any",
) -> Segmenter:
    """A segmenter by the name of a shipped model, or from a config and weights, as for ``load_model``.

    parts: what follows objects, see ``SegmenterSettings``.

    Raises:
        UserError: no such model, config, weights, quality or device.
    """
    _check_quality(quality)
    return segmenter_of(load_model(model, weights, device, task), quality, parts)


def segmenter_of(loaded: LoadedModel, quality: str = "default", parts: str = "dense") -> Segmenter:
    """A segmenter that drives a loaded model; ``quality`` and ``parts`` are for models with a dense memory.

    Raises:
        UserError: there is no such quality, or the configuration's task does not run on frames.
    """
    _check_quality(quality)
    if loaded.model.dense_memory is None:
        return QuerySegmenter(loaded.model, clip_settings(loaded.cfg).corrected(), loaded.name)
    area, window = QUALITIES[quality]
    bank = BankSettings(window=window, wide_window=3 * window, reach=window // 3 + 1)
    settings = SegmenterSettings(area=area, parts=parts, bank=bank)
    name = f"{loaded.name}-{quality}" + ("" if parts == "dense" else f"-{parts}")
    return UniVSSegmenter(loaded.model, settings, name)


def _check_quality(quality: str) -> None:
    if quality not in QUALITIES:
        raise UserError(f"Quality {quality!r} is unknown; choose {' or '.join(QUALITIES)}.")


def load_model(
    model: str | os.PathLike | None = None,
    weights: str | os.PathLike | None = None,
    device: str = "auto",
    task: str = "any",
    options: Sequence[str] = (),
) -> LoadedModel:
    """A model with its weights: a shipped one, or one of a file of weights.

    Args:
        model: name of a shipped model, path of a config, or name of a published config; None: the config inside
            ``weights``, or the one of ours that fits them and ``task``.
        weights: our own or a published checkpoint; see ``read_checkpoint`` for the kinds of files.
        options: keys of the configuration and new values, KEY VALUE KEY VALUE ...

    Raises:
        UserError: no such model, config, weights, key or device, or weights that do not fit.
    """
    if weights is None:
        config, file = _shipped(model)
        cfg = get_config(config)
    else:
        file, cfg = Path(weights), None
    source = recognised(read_checkpoint(file)["model"], file)
    if cfg is None and model is None:
        cfg = choose_config(source, read_metadata(file), task)
    elif cfg is None:
        cfg = get_config(config_file(SHIPPED[str(model)][0])) if str(model) in SHIPPED else find_config(model)
    change_config(cfg, options)
    return _filled(cfg, source, device)


def load_configured(cfg: CfgNode, weights: str | os.PathLike, device: str = "auto") -> LoadedModel:
    """The model of a configuration with weights, as for ``load_model``.

    Raises:
        UserError: no such weights or device, or weights that do not fit.
    """
    file = Path(weights)
    return _filled(cfg, recognised(read_checkpoint(file)["model"], file), device)


def _filled(cfg: CfgNode, source: WeightSource, device: str) -> LoadedModel:
    note_of_squares(cfg, source)
    built = build_model(cfg)
    options = cfg.MODEL
    report = load_state(built, source, options.WEIGHTS_PARTIAL, averaged=options.WEIGHTS_AVERAGED, start=False)
    _log.info(report.summary())
    return LoadedModel(built.to(choose_device(device)), cfg, Path(source.file), report.summary())


def note_of_squares(cfg: CfgNode, source: WeightSource) -> None:
    """Tell that frames of other shapes than those of the training are asked of weights."""
    title = backbone_of(source.tensors).title
    if source.stage == 2 and title.startswith("Swin") and not cfg.INPUT.SQUARE_TEST:
        warnings.warn(
            f"The weights {source.file} are of stage 2 with {title}, which was trained on frames in a square of 1024 "
            "pixels, and INPUT.SQUARE_TEST is 0; those of stage 3 take any shape.",
            stacklevel=2,
        )


def build_model(cfg: CfgNode) -> nn.Module:
    """The model of a configuration, in evaluation mode."""
    model = UniVS(cfg).eval()
    model.class_embeddings.names_of = class_names
    return model


def _shipped(model: str | os.PathLike | None) -> tuple[Path, Path]:
    """Config and weights of a shipped model."""
    name = str(model or DEFAULT)
    if name in SHIPPED:
        config, file = SHIPPED[name]
        return config_file(config), weights_file(file)
    find_config(name)
    raise UserError(f"The config {name} needs weights; give them with --weights FILE.")

"""Whose weights a file holds, told by their names and shapes, and the same weights under our names.

Three kinds of models load as they are: our own, published ones, and published ones with averaged copies beside them.
Others are known starting points of training: what they lack starts fresh, and what only they have is left out.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

from torch import Tensor

from univs.modeling.published_names import from_published

# the averaged copies of a published state's parts
_AVERAGED_PARTS = re.compile(r"(sem_seg_head|backbone)_t\.")
_HEAD = "sem_seg_head."
_STAGE = re.compile(r"stage_?([123])", re.IGNORECASE)


@dataclass(frozen=True)
class Origin:
    """A kind of file.

    left_out: patterns of names that the model need not have a place for; fresh: patterns of our parameters that the
    file need not have. ``fresh`` makes it a starting point, which is no whole model.
    """

    title: str
    left_out: tuple[str, ...] = ()
    fresh: tuple[str, ...] = ()

    def leaves_out(self, name: str) -> bool:
        """Whether an entry of the file has no place in the model by design."""
        return any(fnmatchcase(name, pattern) for pattern in self.left_out)

    def starts_fresh(self, name: str) -> bool:
        """Whether a parameter of the model has no counterpart in such files by design."""
        return any(fnmatchcase(name, pattern) for pattern in self.fresh)


# a criterion's constants, which some programs store with the model
_CONSTANTS = ("criterion.*", "pixel_mean", "pixel_std")
# parts that only this library has
_OUR_PARTS = ("dense_memory.*", "prompt_answer.*")
OURS = Origin("UniVS")
PUBLISHED = Origin("published UniVS", _CONSTANTS)
MASK2FORMER = Origin(
    "Mask2Former",
    (*_CONSTANTS, "sem_seg_head.predictor.class_embed.*"),
    (
        "mask_decoder.layers.*.prompt_attention.*",
        "mask_decoder.initial_queries.*",
        "mask_decoder.prompt_encoder.text.*",
        "mask_decoder.heads.to_text.*",
        "mask_decoder.heads.*_temperature.weight",
        "mask_decoder.query_content.weight",
        "mask_decoder.query_position.weight",
        *_OUR_PARTS,
    ),
)
IMAGENET = Origin(
    "ImageNet classifier",
    # what classifies: the last norm and linear layers; masks and counters are constants
    ("fc*", "linear.*", "stem.fc.*", "backbone.fc.*", "backbone.head.*", "backbone.norm.*", "*.attn_mask"),
    # the oldest files have their batch norms' means and variances in the scales already
    ("pixel_decoder.*", "mask_decoder.*", "backbone.norm[0-3].*", "backbone.*.norm.running_*", *_OUR_PARTS),
)


@dataclass(frozen=True)
class WeightSource:
    """Tensors under our names, where they have one; ``averaged``: the running averages beside them, if there are any.

    file: where they are from; stage: stage of the published training, None where nothing tells it.
    """

    tensors: Mapping[str, Tensor]
    origin: Origin = OURS
    averaged: Mapping[str, Tensor] = field(default_factory=dict)
    file: str = ""
    stage: int | None = None

    @property
    def title(self) -> str:
        """What the file is, in words: "published UniVS with ResNet-50, stage 3"."""
        stage = f", stage {self.stage}" if self.stage and self.origin is not IMAGENET else ""
        return f"{self.origin.title} with {backbone_of(self.tensors).title}{stage}"


@dataclass(frozen=True)
class Backbone:
    """An image encoder: what it is called, and how our configurations call it ("" for none of theirs)."""

    title: str
    key: str = ""


def recognised(state: Mapping[str, Tensor], file: str | Path = "") -> WeightSource:
    """Whose weights these are, under our names."""
    state = {name.removeprefix("module."): tensor for name, tensor in state.items()}
    stage = _STAGE.search(Path(file).name)
    known = {"file": str(file), "stage": int(stage[1]) if stage else None}
    averaged = {
        _AVERAGED_PARTS.sub(r"\1.", name): value for name, value in state.items() if _AVERAGED_PARTS.match(name)
    }
    if averaged:
        state = {name: tensor for name, tensor in state.items() if not _AVERAGED_PARTS.match(name)}
        known["stage"] = 3
    if not any(name.startswith(_HEAD) for name in (*state, *averaged)):
        return WeightSource(*_bare_backbone(state), **known)
    origin = MASK2FORMER if any("predictor.class_embed." in name for name in state) else PUBLISHED
    tensors, averaged = _translated(state), _translated(averaged)
    return WeightSource(tensors or averaged, origin, averaged, **known)


def _translated(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Published names replaced by ours; a name without counterpart stays."""
    return {_our_name(_renewed(name)): tensor for name, tensor in state.items()}


def _our_name(key: str) -> str:
    try:
        return from_published(key)
    except KeyError:
        return key


def _renewed(key: str) -> str:
    """The present name of a key of an older Mask2Former file."""
    if key.startswith(_HEAD) and not key.startswith((f"{_HEAD}predictor.", f"{_HEAD}pixel_decoder.")):
        key = f"{_HEAD}pixel_decoder.{key.removeprefix(_HEAD)}"
    return key.replace("predictor.static_query.", "predictor.query_feat.")


# --- backbones without anything round them ------------------------------------------------------------------------

_TORCHVISION = (
    (re.compile(r"^conv1\."), "stem.conv1."),
    (re.compile(r"^bn1\."), "stem.conv1.norm."),
    (re.compile(r"^layer(\d)\."), lambda match: f"res{int(match[1]) + 1}."),
    (re.compile(r"\.downsample\.0\."), ".shortcut."),
    (re.compile(r"\.downsample\.1\."), ".shortcut.norm."),
    (re.compile(r"\.bn(\d)\."), r".conv\1.norm."),
)


def _bare_backbone(state: Mapping[str, Tensor]) -> tuple[Mapping[str, Tensor], Origin]:
    """A classifier's weights under the names of a backbone; anything else is taken for a model of ours."""
    if "patch_embed.proj.weight" in state:
        return {f"backbone.{name}": tensor for name, tensor in state.items()}, IMAGENET
    if "stem.conv1.weight" in state:
        return {_within_backbone(name): tensor for name, tensor in state.items()}, IMAGENET
    if "conv1.weight" in state and "layer1.0.conv1.weight" in state:
        used = {name: tensor for name, tensor in state.items() if not name.endswith("num_batches_tracked")}
        return {_within_backbone(_from_torchvision(name)): tensor for name, tensor in used.items()}, IMAGENET
    return state, OURS


def _within_backbone(name: str) -> str:
    return f"backbone.{name}" if re.match(r"stem\.conv|res\d", name) else name


def _from_torchvision(name: str) -> str:
    for pattern, replacement in _TORCHVISION:
        name = pattern.sub(replacement, name)
    return name


# --- image encoders -----------------------------------------------------------------------------------------------

_RESNETS = {(3, 4, 6, 3): Backbone("ResNet-50", "r50"), (3, 4, 23, 3): Backbone("ResNet-101")}
_SWINS = {
    (96, (2, 2, 6, 2)): Backbone("Swin-T", "swint"),
    (96, (2, 2, 18, 2)): Backbone("Swin-S"),
    (128, (2, 2, 18, 2)): Backbone("Swin-B", "swinb"),
    (192, (2, 2, 18, 2)): Backbone("Swin-L", "swinl"),
}


def backbone_of(state: Mapping[str, Tensor]) -> Backbone:
    """The image encoder of weights under our names."""
    if "backbone.stem.conv1.weight" in state:
        blocks = _counts(state, lambda stage: rf"backbone\.res{stage + 2}\.(\d+)\.conv1\.weight")
        width = state["backbone.stem.conv1.weight"].shape[0]
        full = _RESNETS.get(blocks, Backbone(f"a ResNet of {blocks} blocks"))
        return full if width == 64 else Backbone(f"{full.title} of {width} instead of 64 channels")
    if "backbone.patch_embed.proj.weight" in state:
        blocks = _counts(state, lambda stage: rf"backbone\.layers\.{stage}\.blocks\.(\d+)\.norm1\.weight")
        width = state["backbone.patch_embed.proj.weight"].shape[0]
        return _SWINS.get((width, blocks), Backbone(f"a Swin Transformer of {width} channels and {blocks} blocks"))
    if "backbone.stem.conv.weight" in state:
        return Backbone("EfficientNet-Lite0", "mini")
    return Backbone("an unknown image encoder")


def _counts(state: Mapping[str, Tensor], pattern: Callable[[int], str]) -> tuple[int, ...]:
    """Number of blocks of each of four stages; ``pattern(stage)`` captures the number of a block in a name."""
    found = [{match[1] for name in state if (match := re.fullmatch(pattern(stage), name))} for stage in range(4)]
    return tuple(len(numbers) for numbers in found)

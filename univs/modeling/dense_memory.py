"""Dense memory: the pixels of remembered frames carry the stored masks to the present frame.

Beyond the published method. Every cell of the present frame (stride 8) looks up its nearest cells in remembered frames;
what is stored there, the mask and a short code of each object, is carried over and a small decoder sharpens it. Objects
never see each other. It starts as a matcher without training: the keys are a projection of the backbone's features
and the decoder's last layer is zero, so that the carried mask itself is the first answer.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from univs.layers.affinity import Affinity, keep_best, similarity
from univs.layers.convolution import SampleConvolution


@dataclass(frozen=True)
class DenseMemorySettings:
    """Sizes of the dense memory; channel counts are those of the backbone's maps at strides 4, 8, 16."""

    fine_channels: int = 24
    middle_channels: int = 40
    coarse_channels: int = 112
    key_dim: int = 64
    code_dim: int = 32
    decoder_dim: int = 64
    detail_dim: int = 24
    top_k: int = 30
    initial_scale: float = 12.0


def conv3(inputs: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, padding=1)


def object_conv3(inputs: int, outputs: int) -> SampleConvolution:
    return SampleConvolution(inputs, outputs, 3, padding=1)


FEATURE_GAIN = 5.0  # brings unit-length features to the scale of the masks beside them


def fold(masks: Tensor) -> Tensor:
    """Fold masks [K, h4, w4] of stride 4 into [K, 4, h8, w8] of stride 8 without loss."""
    return F.pixel_unshuffle(masks.unsqueeze(1), 2)


def unfold(folded: Tensor) -> Tensor:
    """Inverse of `fold`: [K, 4, h8, w8] to [K, h4, w4]."""
    return F.pixel_shuffle(folded, 2).squeeze(1)


class MatchKeys(nn.Module):
    """Keys of a frame: unit-length features of strides 8 and 16 side by side, projected."""

    def __init__(self, settings: DenseMemorySettings) -> None:
        super().__init__()
        channels = settings.middle_channels + settings.coarse_channels
        self.project = nn.Conv2d(channels, settings.key_dim, 1, bias=False)
        self.widen = nn.Conv2d(channels, settings.key_dim, 1)
        self.refine = conv3(settings.key_dim, settings.key_dim)
        nn.init.orthogonal_(self.project.weight.data.flatten(1))
        nn.init.zeros_(self.refine.weight)
        nn.init.zeros_(self.refine.bias)

    def descriptors(self, middle: Tensor, coarse: Tensor) -> Tensor:
        """Unit-length features [T, C8 + C16, h8, w8] from maps of strides 8 and 16."""
        coarse = F.interpolate(F.normalize(coarse, dim=1), size=middle.shape[-2:], mode="bilinear", align_corners=False)
        return torch.cat([F.normalize(middle, dim=1), coarse], 1)

    @torch.no_grad()
    def start_from(self, descriptors: Tensor) -> None:
        """Set the projection to the leading principal directions of ``descriptors`` [N, C8 + C16]."""
        covariance = torch.cov(descriptors.double().t())
        directions = torch.linalg.eigh(covariance).eigenvectors.flip(1)[:, : self.project.out_channels]
        self.project.weight.copy_(directions.t().float()[:, :, None, None])

    def forward(self, middle: Tensor, coarse: Tensor) -> Tensor:
        """Keys [T, key_dim, h8, w8] from backbone maps [T, C8, h8, w8] and [T, C16, h16, w16]."""
        x = self.descriptors(middle, coarse)
        return self.project(x) + self.refine(F.relu(self.widen(x)))


class ObjectDecoder(nn.Module):
    """Turn per-object maps at stride 8 into a correction of mask logits at stride 4.

    The part that depends on the frame alone (``context``) is computed once for all objects.
    """

    def __init__(self, inputs: int, settings: DenseMemorySettings, deep_channels: int = 0, outputs: int = 1) -> None:
        super().__init__()
        dim, detail = settings.decoder_dim, settings.detail_dim
        self.context_middle = conv3(settings.middle_channels + settings.coarse_channels, dim)
        self.context_fine = nn.Conv2d(settings.fine_channels, detail, 1)
        self.context_deep = nn.Conv2d(deep_channels, dim, 1) if deep_channels else None
        self.enter = object_conv3(inputs, dim)
        self.wide = nn.ModuleList([object_conv3(dim, dim), object_conv3(dim, dim)])
        self.deep = nn.ModuleList([object_conv3(dim, dim), object_conv3(dim, dim)] if deep_channels else [])
        self.join = object_conv3(dim, dim)
        self.narrow = SampleConvolution(dim, detail, 1)
        self.detail = object_conv3(detail, detail)
        self.out = object_conv3(detail, outputs)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def context(self, descriptors: Tensor, fine: Tensor, deep: Tensor | None = None) -> list[Tensor]:
        """Shared maps of T frames: [T, D, h8, w8], [T, d, h4, w4] and, with a deep stage, [T, D, h32, w32]."""
        maps = [self.context_middle(descriptors * FEATURE_GAIN), self.context_fine(fine)]
        return maps if self.context_deep is None else [*maps, self.context_deep(deep * FEATURE_GAIN)]

    def forward(self, maps: Tensor, context: list[Tensor]) -> Tensor:
        """Logit corrections [K, outputs, h4, w4] from object maps [K, inputs, h8, w8] and the frames' context."""
        x = F.relu(self.enter(maps) + context[0])
        y = F.avg_pool2d(x, 2, ceil_mode=True)
        for layer in self.wide:
            y = y + F.relu(layer(y))
        if self.context_deep is not None:
            z = F.adaptive_avg_pool2d(y, context[2].shape[-2:]) + context[2]
            for layer in self.deep:
                z = z + F.relu(layer(z))
            y = y + F.interpolate(z, size=y.shape[-2:], mode="bilinear", align_corners=False)
        x = x + F.interpolate(y, size=x.shape[-2:], mode="bilinear", align_corners=False)
        x = F.relu(self.join(x))
        x = F.interpolate(self.narrow(x), size=context[1].shape[-2:], mode="bilinear", align_corners=False)
        x = F.relu(x + context[1])
        return self.out(F.relu(x + self.detail(x)))


@dataclass
class DenseMaps:
    """What the dense memory keeps of T frames: keys, descriptors, code_context [T, ., h8, w8], decoder's context."""

    keys: Tensor
    descriptors: Tensor
    code_context: Tensor
    context: list[Tensor]

    def frame(self, index: int) -> DenseMaps:
        """The maps of one frame, T = 1."""
        return self.frames(slice(index, index + 1))

    def frames(self, pick: slice) -> DenseMaps:
        """The maps of some of the frames."""
        context = [x[pick] for x in self.context]
        return DenseMaps(self.keys[pick], self.descriptors[pick], self.code_context[pick], context)


class DenseMemory(nn.Module):
    """Keys, codes, reading and decoding of the dense memory."""

    def __init__(self, settings: DenseMemorySettings) -> None:
        super().__init__()
        self.settings = settings
        descriptors = settings.middle_channels + settings.coarse_channels
        self.match = MatchKeys(settings)
        self.scale = nn.Parameter(torch.tensor(settings.initial_scale).log())
        self.code_context = conv3(descriptors, settings.decoder_dim)
        self.code_enter = object_conv3(4, settings.decoder_dim)
        self.code_out = object_conv3(settings.decoder_dim, settings.code_dim)
        self.decoder = ObjectDecoder(4 + settings.code_dim, settings)
        self.gate = nn.Parameter(torch.ones(()))

    def maps(self, features: dict[str, Tensor]) -> DenseMaps:
        """Maps of T frames from backbone maps ``res2`` .. ``res4`` ([T, C, h, w], strides 4, 8, 16)."""
        fine, middle, coarse = features["res2"], features["res3"], features["res4"]
        descriptors = self.match.descriptors(middle, coarse)
        return DenseMaps(
            keys=self.match(middle, coarse),
            descriptors=descriptors,
            code_context=self.code_context(descriptors * FEATURE_GAIN),
            context=self.decoder.context(descriptors, fine),
        )

    def values(self, maps: DenseMaps, masks: Tensor) -> Tensor:
        """What is stored of K objects of one frame: masks [K, h4, w4] in 0..1 to values [K, 4 + code, h8, w8]."""
        folded = fold(masks)
        return torch.cat([folded, self.code_out(F.relu(self.code_enter(folded) + maps.code_context))], 1)

    def affinity(self, query: Tensor, keys: Tensor) -> Affinity:
        """Affinity of all cells of one frame [C, h8, w8] to all cells of M remembered frames [M, C, h8, w8]."""
        scores = similarity(query.flatten(1).t(), keys.transpose(0, 1).flatten(1).t(), self.scale.exp())
        return keep_best(scores, self.settings.top_k)

    def read(self, affinity: Affinity, values: Tensor) -> Tensor:
        """Carry values [M, K, C, h8, w8] of M frames to the present frame: [K, C, h8, w8]."""
        _, objects, channels, height, width = values.shape
        table = values.permute(0, 3, 4, 1, 2).reshape(-1, objects * channels)
        return affinity.read(table).t().reshape(objects, channels, height, width)

    def decode(self, read: Tensor, context: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Mask logits and the carried masks' own logits, both [K, h4, w4], from read values [K, 4 + code, h8, w8]."""
        carried = unfold(read[:, :4]).clamp(0.01, 0.99).logit()
        return self.decoder(read, context).squeeze(1) + self.gate * carried, carried

"""From the maps of a backbone to three levels of features and the map that masks are read from.

A deformable transformer encoder works on strides 32, 16 and 8 together; its finest map is merged with the backbone's
stride-4 map to the mask features (Mask2Former, Cheng et al. 2022). Always computed in float32.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from univs.errors import UserError
from univs.layers.deformable_attention import DeformableAttention
from univs.layers.positions import grid_code

NORM_GROUPS = 32


@dataclass(frozen=True)
class PixelDecoderSettings:
    """Sizes of the pixel decoder.

    in_channels: channels of the backbone's maps by name, finest first; the first (stride 4) is merged into the mask
    features, the others (strides 8, 16, 32) go through the encoder.
    """

    in_channels: dict[str, int]
    hidden_dim: int = 256
    encoder_layers: int = 6
    feedforward_dim: int = 1024
    heads: int = 8
    points: int = 4


class EncoderLayer(nn.Module):
    """``x = LN1(x + DeformAttn(x + pos)); x = LN2(x + W2 relu(W1 x))``."""

    def __init__(self, settings: PixelDecoderSettings, levels: int) -> None:
        super().__init__()
        dim = settings.hidden_dim
        self.self_attn = DeformableAttention(dim, settings.heads, levels, settings.points)
        self.norm1 = nn.LayerNorm(dim)
        self.linear1 = nn.Linear(dim, settings.feedforward_dim)
        self.linear2 = nn.Linear(settings.feedforward_dim, dim)
        self.norm2 = nn.LayerNorm(dim)

    def forward(self, x: Tensor, position: Tensor, reference: Tensor, sizes: Sequence[tuple[int, int]]) -> Tensor:
        """Tokens [T, S, C] of all levels -> [T, S, C]; ``position`` [1, S, C], ``reference`` [1, S, 1, 2]."""
        x = self.norm1(x + self.self_attn(x + position, reference, x, sizes))
        return self.norm2(x + self.linear2(F.relu(self.linear1(x))))


class PixelDecoder(nn.Module):
    """Pixel decoder; levels come out coarsest first."""

    def __init__(self, settings: PixelDecoderSettings) -> None:
        super().__init__()
        dim = settings.hidden_dim
        if dim % settings.heads:
            raise UserError(f"The pixel decoder's width {dim} must be a multiple of its {settings.heads} heads.")
        self.finest, *encoded = settings.in_channels
        self.encoded = encoded[::-1]  # stride 32 first
        self.input_proj = nn.ModuleList(
            nn.Sequential(nn.Conv2d(settings.in_channels[name], dim, 1), _group_norm(dim)) for name in self.encoded
        )
        self.level_embed = nn.Parameter(torch.randn(len(self.encoded), dim))
        self.layers = nn.ModuleList(EncoderLayer(settings, len(self.encoded)) for _ in range(settings.encoder_layers))
        self.lateral = nn.Sequential(nn.Conv2d(settings.in_channels[self.finest], dim, 1, bias=False), _group_norm(dim))
        self.merge = nn.Sequential(nn.Conv2d(dim, dim, 3, padding=1, bias=False), _group_norm(dim), nn.ReLU())
        self.mask_features = nn.Conv2d(dim, dim, 1)
        self._initialise()

    def _initialise(self) -> None:
        for name, parameter in self.named_parameters():
            if parameter.dim() > 1 and ".self_attn." not in name and name != "level_embed":
                nn.init.xavier_uniform_(parameter)
        for projection in (*self.input_proj, [self.mask_features]):
            nn.init.zeros_(projection[0].bias)

    def forward(self, maps: dict[str, Tensor]) -> tuple[list[Tensor], Tensor]:
        """Refine the maps of T frames.

        Args:
            maps: the backbone's maps by name, each [T, C_s, H/s, W/s].

        Returns:
            levels [T, C, H/32, W/32], [T, C, H/16, W/16], [T, C, H/8, W/8] and mask features [T, C, H/4, W/4], float32.
        """
        with torch.autocast(maps[self.finest].device.type, enabled=False):
            levels = self.encode([maps[name].float() for name in self.encoded])
            return levels, self.mask_features(self.stride_four_map(maps[self.finest].float(), levels[-1]))

    def encode(self, maps: list[Tensor]) -> list[Tensor]:
        """Deformable encoder over the maps [T, C_s, H/s, W/s], coarsest first -> maps [T, C, H/s, W/s]."""
        projected = [project(x) for project, x in zip(self.input_proj, maps, strict=True)]
        sizes = [(x.shape[2], x.shape[3]) for x in projected]
        x = torch.cat([level.flatten(2) for level in projected], dim=2).transpose(1, 2)  # [T, S, C]
        position, reference = self._places(sizes, x)
        for layer in self.layers:
            x = layer(x, position, reference, sizes)
        parts = x.transpose(1, 2).split([height * width for height, width in sizes], dim=2)
        return [part.unflatten(2, size) for part, size in zip(parts, sizes, strict=True)]

    def stride_four_map(self, finest: Tensor, level: Tensor) -> Tensor:
        """Merge the backbone's map [T, C_4, H/4, W/4] with the enlarged level [T, C, H/8, W/8] -> [T, C, H/4, W/4]."""
        lateral = self.lateral(finest)
        return self.merge(lateral + F.interpolate(level, lateral.shape[-2:], mode="bilinear", align_corners=False))

    def _places(self, sizes: Sequence[tuple[int, int]], like: Tensor) -> tuple[Tensor, Tensor]:
        """Codes [1, S, C] with the level's embedding, and centres [1, S, 1, 2] as (x, y) in 0..1, of all cells."""
        codes, centres = [], []
        for embedding, (height, width) in zip(self.level_embed, sizes, strict=True):
            codes.append(grid_code(height, width, like.shape[2], like.device).flatten(1).t() + embedding)
            y = (torch.arange(height, device=like.device) + 0.5) / height
            x = (torch.arange(width, device=like.device) + 0.5) / width
            centres.append(torch.stack([x.expand(height, -1), y[:, None].expand(-1, width)], -1).flatten(0, 1))
        return torch.cat(codes)[None], torch.cat(centres)[None, :, None, :]


def _group_norm(channels: int) -> nn.GroupNorm:
    """32 groups, or the largest smaller number that divides the channels."""
    groups = next(groups for groups in range(NORM_GROUPS, 0, -1) if channels % groups == 0)
    return nn.GroupNorm(groups, channels)

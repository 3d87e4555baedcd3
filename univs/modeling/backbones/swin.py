"""Swin Transformer (Liu et al. 2021): attention in windows that shift by half a window in every second block.

Parameter names are those of the published checkpoints. Maps inside are [T, H, W, C]; those given out [T, C, H, W].
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from detectron2.config import CfgNode
from detectron2.layers import ShapeSpec
from detectron2.modeling import BACKBONE_REGISTRY, Backbone
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from torchvision.ops import StochasticDepth

PATCH = 4
# added to the scores of cells that the cyclic shift has brought together although they are no neighbours
BLOCKED_SCORE = -100.0


@dataclass(frozen=True)
class SwinSettings:
    """Sizes of a Swin Transformer; the defaults are Swin-T.

    drop_path_rate: chance to skip the last block while training, falling linearly to 0 at the first.
    freeze_at: 0 nothing, 1 the patch embedding, n the patch embedding and the first n - 1 stages; frozen parts stay
    in evaluation mode. The norms of the outputs are always trained.
    """

    embed_dim: int = 96
    depths: tuple[int, ...] = (2, 2, 6, 2)
    heads: tuple[int, ...] = (3, 6, 12, 24)
    window: int = 7
    mlp_ratio: float = 4.0
    drop_path_rate: float = 0.3
    out_features: tuple[str, ...] = ("res2", "res3", "res4", "res5")
    freeze_at: int = 0
    use_checkpoint: bool = False


SWIN_T = SwinSettings()
SWIN_B = SwinSettings(embed_dim=128, depths=(2, 2, 18, 2), heads=(4, 8, 16, 32), window=12)
SWIN_L = SwinSettings(embed_dim=192, depths=(2, 2, 18, 2), heads=(6, 12, 24, 48), window=12)


class PatchEmbed(nn.Module):
    """One token for every 4 x 4 pixels."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, dim, PATCH, stride=PATCH)
        self.norm = nn.LayerNorm(dim)

    def forward(self, frames: Tensor) -> Tensor:
        """[T, 3, H, W] -> [T, ceil(H / 4), ceil(W / 4), C]."""
        height, width = frames.shape[-2:]
        x = self.proj(F.pad(frames, (0, -width % PATCH, 0, -height % PATCH)))
        return self.norm(x.permute(0, 2, 3, 1))


class PatchMerging(nn.Module):
    """Joins 2 x 2 neighbours: half the side, twice the channels."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.reduction = nn.Linear(4 * dim, 2 * dim, bias=False)
        self.norm = nn.LayerNorm(4 * dim)

    def forward(self, x: Tensor) -> Tensor:
        """[T, H, W, C] -> [T, ceil(H / 2), ceil(W / 2), 2 C]."""
        x = F.pad(x, (0, 0, 0, x.shape[2] % 2, 0, x.shape[1] % 2))
        # neighbours by (row, column): (0, 0), (1, 0), (0, 1), (1, 1)
        x = torch.cat([x[:, row::2, column::2] for column in (0, 1) for row in (0, 1)], dim=-1)
        return self.reduction(self.norm(x))


class WindowAttention(nn.Module):
    """Self-attention of the cells of a window, with a learned score for every relative place."""

    def __init__(self, dim: int, heads: int, window: int) -> None:
        super().__init__()
        self.heads = heads
        self.relative_position_bias_table = nn.Parameter(torch.zeros((2 * window - 1) ** 2, heads))
        self.register_buffer("relative_position_index", _relative_index(window))
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)
        nn.init.trunc_normal_(self.relative_position_bias_table, std=0.02)

    def forward(self, x: Tensor, shift_scores: Tensor | None) -> Tensor:
        """Windows [T, windows, n, C] -> same shape; ``shift_scores`` [windows, n, n] are added to the scores."""
        frames = x.shape[0]
        bias = self.relative_position_bias_table[self.relative_position_index].permute(2, 0, 1)[None]
        if shift_scores is not None:
            bias = bias + shift_scores.unsqueeze(1).to(bias.dtype)  # [windows, heads, n, n]
            bias = bias.expand(frames, -1, -1, -1, -1).flatten(0, 1)
        qkv = self.qkv(x).unflatten(-1, (3, self.heads, -1)).flatten(0, 1)  # [T * windows, n, 3, heads, C / heads]
        query, key, value = qkv.permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(query, key, value, attn_mask=bias.to(query.dtype))
        return self.proj(attended.transpose(1, 2).flatten(2)).unflatten(0, (frames, -1))


def _relative_index(window: int) -> Tensor:
    """Row of the bias table for every pair of cells of a window, int64 [n, n]."""
    cells = torch.stack(torch.meshgrid(torch.arange(window), torch.arange(window), indexing="ij")).flatten(1)
    rows, columns = cells[:, :, None] - cells[:, None, :] + window - 1
    return rows * (2 * window - 1) + columns


class Perceptron(nn.Module):
    """Linear, GELU, linear."""

    def __init__(self, dim: int, hidden_dim: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden_dim)
        self.fc2 = nn.Linear(hidden_dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        """[..., C] -> [..., C]."""
        return self.fc2(F.gelu(self.fc1(x)))


class SwinBlock(nn.Module):
    """Window attention and a perceptron, both residual; ``shift`` cells of cyclic shift."""

    def __init__(self, dim: int, heads: int, settings: SwinSettings, shift: int, drop_path: float) -> None:
        super().__init__()
        self.window, self.shift = settings.window, shift
        self.norm1 = nn.LayerNorm(dim)
        self.attn = WindowAttention(dim, heads, settings.window)
        self.drop_path = StochasticDepth(drop_path, "row")
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = Perceptron(dim, int(dim * settings.mlp_ratio))

    def forward(self, x: Tensor, shift_scores: Tensor) -> Tensor:
        """[T, H, W, C] -> same shape; ``shift_scores`` [windows, n, n] are those of the padded size."""
        x = x + self.drop_path(self._attend(self.norm1(x), shift_scores))
        return x + self.drop_path(self.mlp(self.norm2(x)))

    def _attend(self, x: Tensor, shift_scores: Tensor) -> Tensor:
        height, width = x.shape[1:3]
        x = F.pad(x, (0, 0, 0, -width % self.window, 0, -height % self.window))
        padded = x.shape[1:3]
        if self.shift:
            x = x.roll((-self.shift, -self.shift), dims=(1, 2))
        x = self.attn(to_windows(x, self.window), shift_scores if self.shift else None)
        x = from_windows(x, self.window, padded)
        if self.shift:
            x = x.roll((self.shift, self.shift), dims=(1, 2))
        return x[:, :height, :width]


def to_windows(x: Tensor, window: int) -> Tensor:
    """Cut [T, H, W, C] into windows [T, H/window * W/window, window * window, C]."""
    x = x.unflatten(2, (-1, window)).unflatten(1, (-1, window))  # [T, rows, window, columns, window, C]
    return x.transpose(2, 3).flatten(3, 4).flatten(1, 2)


def from_windows(x: Tensor, window: int, size: Sequence[int]) -> Tensor:
    """Put windows [T, windows, window * window, C] together to [T, H, W, C] of ``size`` (H, W)."""
    x = x.unflatten(2, (window, window)).unflatten(1, (size[0] // window, -1))
    return x.transpose(2, 3).flatten(3, 4).flatten(1, 2)


def shift_scores(size: Sequence[int], window: int, device: torch.device) -> Tensor:
    """Scores [windows, n, n] that keep apart, in the shifted map, cells that were no neighbours before the shift.

    ``size`` (H, W) is a multiple of ``window``.
    """
    regions = []
    for side in size:
        place = torch.arange(side, device=device)
        # three stretches: (0, -window), (-window, -shift), (-shift, end)
        regions.append((place >= side - window).long() + (place >= side - window // 2).long())
    region = 3 * regions[0][:, None] + regions[1][None, :]
    windows = to_windows(region[None, :, :, None], window)[0, :, :, 0]  # [windows, n]
    return (windows[:, :, None] != windows[:, None, :]) * BLOCKED_SCORE


class SwinStage(nn.Module):
    """Blocks at one resolution, then (but for the last stage) patch merging."""

    def __init__(self, number: int, settings: SwinSettings, drop_paths: Sequence[float]) -> None:
        super().__init__()
        dim = settings.embed_dim * 2**number
        self.window, self.use_checkpoint = settings.window, settings.use_checkpoint
        self.blocks = nn.ModuleList(
            SwinBlock(dim, settings.heads[number], settings, (place % 2) * (settings.window // 2), drop_path)
            for place, drop_path in enumerate(drop_paths)
        )
        last = number == len(settings.depths) - 1
        self.downsample = None if last else PatchMerging(dim)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """[T, H, W, C] -> the stage's own map [T, H, W, C] and the input of the next stage."""
        padded = [side + -side % self.window for side in x.shape[1:3]]
        scores = shift_scores(padded, self.window, x.device)
        for block in self.blocks:
            if self.use_checkpoint and self.training:
                x = checkpoint(block, x, scores, use_reentrant=False)
            else:
                x = block(x, scores)
        return x, x if self.downsample is None else self.downsample(x)


class SwinTransformer(Backbone):
    """Swin Transformer that gives out the maps of its stages, each after a norm of its own."""

    def __init__(self, settings: SwinSettings) -> None:
        super().__init__()
        self.settings = settings
        self.patch_embed = PatchEmbed(settings.embed_dim)
        rates = torch.linspace(0, settings.drop_path_rate, sum(settings.depths), device="cpu").split(settings.depths)
        self.layers = nn.ModuleList(SwinStage(n, settings, rate.tolist()) for n, rate in enumerate(rates))
        # stages count from 0, their maps from res2
        self._stages = {int(name.removeprefix("res")) - 2: name for name in settings.out_features}
        for stage in self._stages:
            self.add_module(f"norm{stage}", nn.LayerNorm(settings.embed_dim * 2**stage))
        self.apply(_initialise)
        self._freeze()

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Normalised frames [T, 3, H, W] -> maps by name, each [T, C, ceil(H / stride), ceil(W / stride)]."""
        outputs = {}
        x = self.patch_embed(x)
        for number, stage in enumerate(self.layers):
            own, x = stage(x)
            if number in self._stages:
                norm = getattr(self, f"norm{number}")
                outputs[self._stages[number]] = norm(own).permute(0, 3, 1, 2).contiguous()
        return outputs

    def train(self, mode: bool = True) -> SwinTransformer:
        """Set training mode everywhere but in the frozen parts."""
        super().train(mode)
        for module in self._frozen_modules():
            module.eval()
        return self

    def output_shape(self) -> dict[str, ShapeSpec]:
        """Channels and stride of every map that is given out."""
        return {
            name: ShapeSpec(channels=self.settings.embed_dim * 2**stage, stride=PATCH * 2**stage)
            for stage, name in self._stages.items()
        }

    @property
    def size_divisibility(self) -> int:
        """Stride of the last stage."""
        return PATCH * 2 ** (len(self.layers) - 1)

    def _frozen_modules(self) -> list[nn.Module]:
        if self.settings.freeze_at < 1:
            return []
        return [self.patch_embed, *self.layers[: self.settings.freeze_at - 1]]

    def _freeze(self) -> None:
        for module in self._frozen_modules():
            module.requires_grad_(False).eval()


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


@BACKBONE_REGISTRY.register()
def build_swin_backbone(cfg: CfgNode, input_shape: ShapeSpec) -> SwinTransformer:
    """Build from MODEL.SWIN and MODEL.BACKBONE.FREEZE_AT."""
    swin = cfg.MODEL.SWIN
    return SwinTransformer(
        SwinSettings(
            embed_dim=swin.EMBED_DIM,
            depths=tuple(swin.DEPTHS),
            heads=tuple(swin.NUM_HEADS),
            window=swin.WINDOW_SIZE,
            mlp_ratio=swin.MLP_RATIO,
            drop_path_rate=swin.DROP_PATH_RATE,
            out_features=tuple(swin.OUT_FEATURES),
            freeze_at=cfg.MODEL.BACKBONE.FREEZE_AT,
            use_checkpoint=swin.USE_CHECKPOINT,
        )
    )

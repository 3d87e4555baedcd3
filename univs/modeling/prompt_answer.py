"""From prompts on one frame to the object's mask on that frame.

Every kind of prompt becomes a few maps at stride 8 (how similar each cell is to what was clicked, where the box is,
what the sentence fits, what the mask was before); one decoder turns them into a mask. As in the dense memory, a prior
that needs no training comes first (the box itself, the similarity to the click, the base mask) and a decoder that
starts at zero corrects it. It then looks again with its own answer as the base, so that the order of the clicks does
not matter. Objects never see each other.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from univs.modeling.dense_memory import FEATURE_GAIN, DenseMemorySettings, ObjectDecoder, fold, unfold


@dataclass
class FramePrompts:
    """All prompts of one object on one frame; coordinates are fractions of the width and the height.

    points: [P, 2] (x, y); labels: [P] 1 on the object, 0 not on it; box: [4] (x0, y0, x1, y1) or None;
    base: [h4, w4] mask in 0..1 that the clicks correct, or None; text: [D] unit-length embedding or None.
    """

    points: Tensor
    labels: Tensor
    box: Tensor | None = None
    base: Tensor | None = None
    text: Tensor | None = None

    def to(self, device: torch.device) -> FramePrompts:
        """The same on another device."""
        return FramePrompts(**{name: None if value is None else value.to(device) for name, value in vars(self).items()})


@dataclass
class AnswerMaps:
    """What answering needs of T frames: unit-length features by stride [T, C, h, w] and the decoder's context."""

    middle: Tensor
    coarse: Tensor
    deep: Tensor
    language: Tensor
    context: list[Tensor]

    def frame(self, index: int) -> AnswerMaps:
        """The maps of one frame, T = 1."""
        pick = slice(index, index + 1)
        maps = [x[pick] for x in (self.middle, self.coarse, self.deep, self.language)]
        return AnswerMaps(*maps, context=[x[pick] for x in self.context])


ALTERNATIVES = 3
LOOKS = 2  # how often a picture is looked at before the answer is given
RING = 9  # side, in cells of stride 8, of the surroundings that the predicted overlap sees
CHANNELS = 21
BOX, HAS_BOX, NEAR, LIKE, HAS_CLICKS, BASE, HAS_BASE, TEXT, HAS_TEXT = 0, 1, 2, 6, 12, 14, 18, 19, 20


class PromptAnswer(nn.Module):
    """Answers to clicks, boxes, scribbles (as clicks along the stroke), sentences and base masks."""

    def __init__(self, settings: DenseMemorySettings, deep_channels: int = 320, text_dim: int = 256) -> None:
        super().__init__()
        channels = settings.coarse_channels + deep_channels
        self.language = nn.Sequential(nn.Conv2d(channels, 256, 1), nn.ReLU(), nn.Conv2d(256, text_dim, 1))
        self.language_scale = nn.Parameter(torch.tensor(10.0).log())
        self.language_bias = nn.Parameter(torch.tensor(-4.0))
        self.decoder = ObjectDecoder(CHANNELS, settings, deep_channels, outputs=ALTERNATIVES)
        self.prior = nn.Conv2d(CHANNELS, 1, 1)
        self.base_gate = nn.Parameter(torch.tensor(3.0))
        self.overlap = nn.Sequential(
            nn.Linear(2 * settings.decoder_dim + CHANNELS + 3, 64), nn.ReLU(), nn.Linear(64, 1)
        )
        self._start_prior()

    @torch.no_grad()
    def _start_prior(self) -> None:
        """Inside the box or similar to the click (stride 16) is likely, the rest is not."""
        self.prior.weight.zero_()
        self.prior.bias.zero_()
        weight = self.prior.weight[0, :, 0, 0]
        weight[BOX], weight[HAS_BOX] = 5.0, -4.0
        weight[LIKE + 1], weight[LIKE + 4], weight[HAS_CLICKS] = 4.0, -2.0, -2.5
        weight[NEAR + 1], weight[NEAR + 3] = 2.0, -2.0
        weight[TEXT], weight[HAS_TEXT] = 4.0, -2.5

    def maps(self, features: dict[str, Tensor], descriptors: Tensor) -> AnswerMaps:
        """Maps of T frames from backbone maps ``res2`` .. ``res5`` and the dense memory's descriptors."""
        coarse, deep = F.normalize(features["res4"], dim=1), F.normalize(features["res5"], dim=1)
        wide = F.interpolate(deep, size=coarse.shape[-2:], mode="bilinear", align_corners=False)
        return AnswerMaps(
            middle=F.normalize(features["res3"], dim=1),
            coarse=coarse,
            deep=deep,
            language=F.normalize(self.language(torch.cat([coarse, wide], 1) * FEATURE_GAIN), dim=1),
            context=self.decoder.context(descriptors, features["res2"], deep),
        )

    def text_heat(self, maps: AnswerMaps, texts: Tensor) -> Tensor:
        """Logits [T, N, h16, w16]: how well each cell fits each of N unit-length text embeddings [N, D]."""
        return torch.einsum("tdhw,nd->tnhw", maps.language, texts) * self.language_scale.exp() + self.language_bias

    def prompt_maps(self, maps: AnswerMaps, prompts: FramePrompts) -> Tensor:
        """Maps [21, h8, w8] of one object's prompts on one frame (``maps`` with T = 1)."""
        height, width = maps.middle.shape[-2:]
        out = maps.middle.new_zeros(CHANNELS, height, width)
        if prompts.box is not None:
            out[BOX], out[HAS_BOX] = box_cover(prompts.box, height, width), 1
        for side, label in enumerate((1, 0)):
            points = prompts.points[prompts.labels == label]
            if len(points):
                out[NEAR + 2 * side : NEAR + 2 * side + 2] = nearness(points, height, width)
                out[LIKE + 3 * side : LIKE + 3 * side + 3] = self._likeness(maps, points)
                out[HAS_CLICKS + side] = 1
        if prompts.base is not None:
            out[BASE : BASE + 4], out[HAS_BASE] = fold(prompts.base[None])[0], 1
        if prompts.text is not None:
            heat = self.text_heat(maps, prompts.text[None]).sigmoid()
            out[TEXT] = F.interpolate(heat, size=(height, width), mode="bilinear", align_corners=False)[0, 0]
            out[HAS_TEXT] = 1
        return out

    @staticmethod
    def _likeness(maps: AnswerMaps, points: Tensor) -> Tensor:
        """Largest cosine similarity of every cell to the clicked cells at strides 8, 16, 32: [3, h8, w8]."""
        size = maps.middle.shape[-2:]
        grid = (2 * points - 1).view(1, -1, 1, 2)
        out = []
        for level in (maps.middle, maps.coarse, maps.deep):
            clicked = F.grid_sample(level, grid, align_corners=False, padding_mode="border")[0, :, :, 0]
            like = torch.einsum("chw,cp->phw", level[0], F.normalize(clicked, dim=0)).amax(0)
            out.append(F.interpolate(like[None, None], size=size, mode="bilinear", align_corners=False)[0, 0])
        return torch.stack(out)

    def forward(self, prompt_maps: Tensor, context: list[Tensor]) -> Tensor:
        """Mask logits [K, 3, h4, w4] from prompt maps [K, 21, h8, w8] and the context of the objects' frames.

        The first is the answer; the other two are alternatives for an ambiguous click.
        """
        prior = F.interpolate(self.prior(prompt_maps), scale_factor=2, mode="bilinear", align_corners=False)
        base = unfold(2 * prompt_maps[:, BASE : BASE + 4] - prompt_maps[:, HAS_BASE : HAS_BASE + 1]).unsqueeze(1)
        return self.decoder(prompt_maps, context) + prior + self.base_gate * base

    def answer(self, maps: AnswerMaps, prompts: FramePrompts) -> tuple[Tensor, Tensor]:
        """Mask logits [3, h4, w4] of one object on one frame (``maps`` with T = 1), and their predicted overlaps [3].

        The first mask is the answer after all looks, the others are what the first look also thought of.
        """
        drawn = self.prompt_maps(maps, prompts)[None]
        logits = self(drawn, maps.context)
        overlaps = self.predicted_overlaps(logits, drawn, maps.context)
        for _ in range(1, LOOKS):
            drawn = self.prompt_maps(maps, replace(prompts, base=logits[0, 0].sigmoid()))[None]
            again = self(drawn, maps.context)
            logits = torch.cat([again[:, :1], logits[:, 1:]], 1)
            overlaps = torch.cat([self.predicted_overlaps(again[:, :1], drawn, maps.context), overlaps[:, 1:]], 1)
        return logits[0], overlaps[0].sigmoid()

    def predicted_overlaps(self, logits: Tensor, prompt_maps: Tensor, context: list[Tensor]) -> Tensor:
        """Logits [K, N] of the overlap (IoU) that N masks [K, N, h4, w4] of K objects have with what is meant.

        Told from what lies inside and just outside of each mask, and from how decided it is; nothing else learns here.
        """
        chance = logits.detach().sigmoid()
        inside = F.avg_pool2d(chance, 2)
        around = F.max_pool2d(inside, RING, stride=1, padding=RING // 2) - inside
        seen = F.relu(context[0].detach()).expand(len(logits), -1, -1, -1)
        parts = [_mean_inside(seen, inside), _mean_inside(seen, around), _mean_inside(prompt_maps.detach(), inside)]
        area = chance.sum((2, 3)).clamp(min=1e-6)
        decided = (chance * (chance > 0.5)).sum((2, 3)) / area
        firm = (chance > 0.73).sum((2, 3)) / (chance > 0.27).sum((2, 3)).clamp(min=1)
        share = area / chance[0, 0].numel()
        return self.overlap(torch.cat([*parts, torch.stack([decided, firm, share], 2)], 2)).squeeze(2)


def _mean_inside(maps: Tensor, weights: Tensor) -> Tensor:
    """Weighted means [K, N, C] of maps [K, C, h, w] under weights [K, N, h, w]."""
    sums = torch.einsum("kchw,knhw->knc", maps, weights)
    return sums / weights.sum((2, 3)).clamp(min=1e-6)[:, :, None]


def box_cover(box: Tensor, height: int, width: int) -> Tensor:
    """Share of each cell [height, width] that lies inside the box [4] (x0, y0, x1, y1 as fractions)."""
    x, y = torch.arange(width, device=box.device), torch.arange(height, device=box.device)
    across = (torch.minimum(x + 1, box[2] * width) - torch.maximum(x, box[0] * width)).clamp(0, 1)
    down = (torch.minimum(y + 1, box[3] * height) - torch.maximum(y, box[1] * height)).clamp(0, 1)
    return down[:, None] * across


def nearness(points: Tensor, height: int, width: int) -> Tensor:
    """Bumps exp(-d^2 / 2 s^2) round the nearest of points [P, 2], s of 1.5 and 6 cells: [2, height, width]."""
    x = torch.arange(width, device=points.device) + 0.5
    y = torch.arange(height, device=points.device) + 0.5
    across = (x - points[:, :1] * width).square()[:, None, :]
    down = (y - points[:, 1:] * height).square()[:, :, None]
    distance = (across + down).amin(0)
    return torch.stack([torch.exp(-distance / (2 * s * s)) for s in (1.5, 6.0)])

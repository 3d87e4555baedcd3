"""Prompts of training batches: drawn from the targets' geometry, or the texts that the targets name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from univs.layers.draws import Draws
from univs.modeling.mask_decoder import MaskDecoder
from univs.modeling.memory_pool import EncodeFrame
from univs.modeling.prompt_encoder import (
    PromptFrame,
    VisualPromptSettings,
    VisualTokens,
    encode_boxes,
    encode_masks,
    encode_points,
    join_tokens,
)
from univs.structures import FrameFeatures, PromptTokens, Targets

ABSENT = -1


@dataclass(frozen=True)
class TrainingPromptSettings:
    """Shares of objects prompted with a point and with a box, the rest with a mask.

    published_feature_order: the published training mixed up its visual prompts: tokens are made kind by kind (masks,
    points, boxes), and only their positions were put back into the order of the objects, so that in a mixed batch an
    object was given the features of another one. On, this is repeated, to reproduce published training runs.
    """

    point_share: float = 0.25
    box_share: float = 0.25
    published_feature_order: bool = False


class TrainingPrompts:
    """Chooses the prompts of a training batch and makes their tokens."""

    def __init__(self, decoder: MaskDecoder, settings: TrainingPromptSettings, draws: Draws) -> None:
        self.decoder, self.settings, self.draws = decoder, settings, draws

    def __call__(
        self, features: FrameFeatures, targets: Sequence[Targets], class_embeddings: Tensor | None = None
    ) -> list[PromptTokens] | None:
        """Tokens of the K prompts of each of B videos; None, for all of them, if a video has nothing to prompt.

        Args:
            features: maps of the B * T frames.
            targets: per video. Visual prompts set ``prompt_obj_ids``, rows of the prompted objects, unless an earlier
                clip of the video has done so.
            class_embeddings: [V, D] of the data set's classes, for class prompts.
        """
        if targets[0].prompt_kind == "visual":
            return self._visual(features, targets)
        frames = len(features.mask_features) // len(targets)
        maps, text = self.decoder.sources(features).maps, self.decoder.prompt_encoder.text
        out = []
        for video, target in enumerate(targets):
            own = [level[video * frames : (video + 1) * frames] for level in maps]
            if target.has_class_prompts:
                out.append(text.categories(class_embeddings[target.prompt_labels - 1], own))
            else:
                out.append(text.expressions(target.expression_words, target.expression_sentences, own))
        return out

    def _visual(self, features: FrameFeatures, targets: Sequence[Targets]) -> list[PromptTokens] | None:
        frames = len(features.mask_features) // len(targets)
        keys = [int(self.draws.permutation("key_frame", frames)[0]) for _ in targets]
        chosen = [self._choose_objects(target, key) for target, key in zip(targets, keys, strict=True)]
        if not all(chosen):
            return None
        out = []
        for video, (target, key) in enumerate(zip(targets, keys, strict=True)):
            time = self.decoder.time_codes(target.frame_indices.to(features.mask_features.device))[key]
            with torch.no_grad():
                frame = self.decoder.prompt_frame(features.levels[-1][video * frames + key], time)
                tokens = self._tokens(target, key, frame)
            out.append(_repeated(tokens, target) if len(targets) > 1 else tokens)
        return out

    def _choose_objects(self, target: Targets, key: int) -> bool:
        """Prompt the objects visible in the key frame, in random order, unless chosen before; whether there is any."""
        if target.prompt_obj_ids is None:
            visible = (target.ids[:, key] >= 0).nonzero()[:, 0]
            order = self.draws.permutation("prompt_objects", len(visible)).to(visible.device)
            target.prompt_obj_ids = visible[order][: target.num_max_instances]
            if not len(visible):
                target.prompt_obj_ids = visible.new_full((target.num_max_instances,), ABSENT)
        return bool((target.prompt_obj_ids >= 0).any())

    def _tokens(self, target: Targets, key: int, frame: PromptFrame) -> PromptTokens:
        """Tokens [K, R, 1, C] of the chosen objects of one video on its key frame."""
        objects, draws = target.prompt_obj_ids, self.draws
        settings = self.decoder.settings.visual_prompts
        masks, boxes = target.masks[objects, key], target.boxes[objects, key]
        kinds = draws.uniform("prompt_type", (len(objects),)).to(objects.device)
        is_point = kinds <= self.settings.point_share
        is_box = ~is_point & (kinds <= self.settings.point_share + self.settings.box_share)
        by_mask, by_point, by_box = (kind.nonzero()[:, 0] for kind in (~(is_point | is_box), is_point, is_box))
        parts = [
            encode_masks(masks[by_mask], boxes[by_mask], frame, settings, draws, training=True),
            self._point_tokens(masks[by_point], frame, settings),
            encode_boxes(boxes[by_box], frame, settings, draws, training=True),
        ]
        tokens = join_tokens(parts)
        ordered = tokens[torch.cat([by_mask, by_point, by_box]).argsort()].as_prompt_tokens()
        ordered.positions = ordered.positions * (target.ids[objects, key] >= 0)[:, None, None, None]
        if self.settings.published_feature_order:
            ordered.features = tokens.features.unsqueeze(2)
        return ordered

    def _point_tokens(self, masks: Tensor, frame: PromptFrame, settings: VisualPromptSettings) -> VisualTokens:
        """Tokens of a random pixel of each mask [K, H, W]; a mask without pixels gives a point outside the frame."""
        points = random_pixels(masks, self.draws).unsqueeze(1)
        labels = torch.ones(points.shape[:2], dtype=torch.int64, device=points.device)
        return encode_points(points, labels, frame, settings)


def random_pixels(masks: Tensor, draws: Draws) -> Tensor:
    """Centre (x, y) in 0..1 of a random pixel of each mask [K, H, W] > 0.5; (-1, -1) where it has none; [K, 2]."""
    if not len(masks):
        return masks.new_zeros(0, 2)
    height, width = masks.shape[-2:]
    inside = (masks > 0.5).flatten(1)
    counts = inside.sum(1)
    numbers = draws.permutation("point_index", height * width)[: len(masks)].to(masks.device)
    # the pixel before which as many of the mask's pixels have been passed
    ranks = (numbers % counts.clamp(min=1)).unsqueeze(1)
    pixels = torch.searchsorted(inside.cumsum(1), ranks + 1)[:, 0]
    places = torch.stack([(pixels % width + 0.5) / width, (pixels // width + 0.5) / height], 1)
    return torch.where((counts > 0)[:, None], places, -torch.ones_like(places))


def _repeated(tokens: PromptTokens, target: Targets) -> PromptTokens:
    """Prompts and their objects repeated from the first on until there are as many as in every video of the batch."""
    order = torch.arange(target.num_max_instances, device=tokens.valid.device) % len(tokens.valid)
    target.prompt_obj_ids = target.prompt_obj_ids[order.to(target.prompt_obj_ids.device)]
    return replace(
        tokens, features=tokens.features[order], positions=tokens.positions[order], valid=tokens.valid[order]
    )


def long_video_memory(target: Targets, encode: EncodeFrame, draws: Draws) -> PromptTokens:
    """What later clips of a long training video remember of its first one.

    The true masks of the prompted objects in the last frames of the clip, a random number of them but at least a third
    and one. Returns tokens [K, k * R, 1, C] of k frames, one after the other; absent objects have zero tokens.
    """
    objects, frames = target.prompt_obj_ids, target.masks.shape[1]
    count = max(int(draws.permutation("num_key_frames", frames)[0]), frames // 3 + 1)
    present = (objects >= 0)[:, None, None]
    parts = []
    for frame in range(frames - count, frames):
        masks = target.masks[objects, frame] * present
        parts.append(encode(masks, target.boxes[objects, frame], frame, int(target.frame_indices[frame])))
    features, positions = (
        torch.cat([getattr(part, name) for part in parts], 1).unsqueeze(2) for name in ("features", "positions")
    )
    return PromptTokens(features, positions, (features != 0).flatten(1).any(1), "visual")


def with_memory(prompts: PromptTokens, memory: PromptTokens) -> PromptTokens:
    """Prompts that read ``memory`` [K, M, 1, C] before their own tokens; without positions if theirs have none."""
    frames = prompts.features.shape[2]

    def joined(remembered: Tensor, own: Tensor) -> Tensor:
        return torch.cat([remembered.expand(-1, -1, frames, -1), own], 1)

    positions = None if prompts.positions is None else joined(memory.positions, prompts.positions)
    return replace(prompts, memory_features=joined(memory.features, prompts.features), memory_positions=positions)

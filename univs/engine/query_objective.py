"""Training of the queries of a model whose backbone and dense memory are finished.

Clips teach prompt queries to follow objects as in streaming inference: one frame at a time, on the model's own masks,
joined with what the frozen dense memory says. Stills teach learnable queries and class prompts by the method's own
criterion.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from univs.data.formats.stills_index import StillPicture
from univs.data.instances import to_instances
from univs.engine.objective import Objective
from univs.modeling.dense_memory import DenseMaps, DenseMemory
from univs.modeling.losses.following import ClipMasks, dice_loss, hard_pixel_cross_entropy, remembered
from univs.modeling.prompt_encoder import VisualTokens
from univs.modeling.query_prompts import add_dense_reading, frame_tokens, mean_codes, remembered_prompts
from univs.structures import ClipPrediction, FrameFeatures, PromptTokens

Sample = dict[str, Any]
STILLS = "univs_stills"  # what the criterion calls the vocabulary of the stills
HARD_SHARE = 0.5  # of the pixels, in the cross entropy
ALONE_SHARE = 0.35  # of the batches of clips, in which the queries are not helped by the dense memory
OWN_WEIGHT = 0.5  # of the losses of the queries' own masks beside those of the joined ones


class QueryObjective(Objective):
    """Losses of prompt queries on clips, and of the criterion on stills; a batch has one of the two kinds."""

    def __init__(self, model: nn.Module, names: Sequence[str]) -> None:
        """``names``: the vocabulary of the stills; class i + 1 is names[i]."""
        super().__init__(model)
        self.class_index = {name: number for number, name in enumerate(names, 1)}
        model.class_embeddings.set_embeddings(STILLS, model.text_encoder.encode(list(names)))

    @classmethod
    def of_pictures(cls, model: nn.Module, pictures: Sequence[StillPicture]) -> QueryObjective:
        """With the first names of all things in the pictures as the vocabulary; few pictures have labelled surfaces."""
        things = (item for picture in pictures for item in picture.objects if item.is_thing)
        return cls(model, sorted({item.categories[0] for item in things}))

    def forward(self, batch: list[Sample]) -> dict[str, Tensor]:
        """Losses of B samples of T frames ``image`` T x [3, H, W], with ``id_map`` [T, H, W] and ``categories``."""
        pixels = self.model.normalised_frames(batch).contiguous(memory_format=torch.channels_last)
        features = self.model.encode(pixels)
        if batch[0]["task"] == "detection":
            return self.model.losses(features, [self._annotated(sample) for sample in batch])
        draw = np.random.default_rng([batch[0]["sample"], 4]).random()
        return self._following_losses(features, batch, alone=draw < ALONE_SHARE)

    def _annotated(self, sample: Sample) -> Sample:
        """A still as the criterion reads it. What is not labelled counts as no object of any class, so that objects of
        a partly annotated picture have masks but no class."""
        classes = {} if sample["partial_annotation"] else self.class_index
        return {**sample, "instances": to_instances(sample, classes), "dataset_name": STILLS}

    def _following_losses(self, features: FrameFeatures, batch: list[Sample], alone: bool) -> dict[str, Tensor]:
        frames, device = len(batch[0]["image"]), features.mask_features.device
        # As in following: what the samples have chosen counts, so that no clip is left without an object.
        clips = [ClipMasks.from_id_map(sample["id_map"].to(device), smallest=0.0) for sample in batch]
        memories = [] if alone else self._dense_memories(features, clips)
        first = self._tokens(features.frames(slice(0, None, frames)), [clip.masks[:, 0] for clip in clips])
        last, terms = first, []
        for step in range(1, frames):
            present = features.frames(slice(step, None, frames))
            prompts = [remembered_prompts(pair) for pair in zip(first, last, strict=True)]
            for prompt, memory in zip(prompts, memories, strict=False):
                add_dense_reading(prompt, *memory.read(step))
            prediction = self.model.mask_decoder(
                present, _padded(prompts), videos=len(clips), discover=False, auxiliary=True
            )
            terms.append(_step_losses(prediction, present, clips, step, alone))
            found = zip(prediction.mask_logits, clips, strict=False)
            masks = [rows[: len(clip.masks), 0].detach().sigmoid() for rows, clip in found]
            last = self._tokens(present, masks)
            for memory, mask in zip(memories, masks, strict=False):
                memory.remember(step, mask)
        return {name: torch.stack([term[name] for term in terms]).mean() for name in terms[0]}

    def _tokens(self, features: FrameFeatures, masks: list[Tensor]) -> list[VisualTokens]:
        """Tokens of the objects of each clip in one frame of it; features of B frames, masks per clip [K, h4, w4]."""
        decoder, draws = self.model.mask_decoder, self.model.draws
        return [
            frame_tokens(decoder, level, mask, draws) for level, mask in zip(features.levels[-1], masks, strict=True)
        ]

    @torch.no_grad()
    def _dense_memories(self, features: FrameFeatures, clips: list[ClipMasks]) -> list[ClipMemory]:
        memory, frames = self.model.dense_memory, clips[0].masks.shape[1]
        maps = memory.maps(features.backbone)
        parts = [maps.frames(slice(i * frames, (i + 1) * frames)) for i in range(len(clips))]
        return [ClipMemory(memory, part, clip.masks[:, 0]) for part, clip in zip(parts, clips, strict=True)]


class ClipMemory:
    """What a finished dense memory knows of the K objects of one clip; nothing of it is trained."""

    def __init__(self, memory: DenseMemory, maps: DenseMaps, masks: Tensor) -> None:
        """maps of the T frames; masks [K, h4, w4] of frame 0 in 0..1."""
        self.memory, self.maps = memory, maps
        self.values: list[Tensor] = []
        self.remember(0, masks)

    @torch.no_grad()
    def remember(self, frame: int, masks: Tensor) -> None:
        """Store the masks [K, h4, w4] of a frame; frames come in order."""
        self.values.append(self.memory.values(self.maps.frame(frame), masks))

    @torch.no_grad()
    def read(self, frame: int) -> tuple[Tensor, Tensor]:
        """Mask logits [K, h4, w4] and object codes [K, D] in the frame after the last stored one."""
        frames = remembered(frame, 0.0)
        affinity = self.memory.affinity(self.maps.keys[frame], self.maps.keys[frames])
        read = self.memory.read(affinity, torch.stack([self.values[i] for i in frames]))
        context = [maps.expand(len(read), -1, -1, -1) for maps in self.maps.frame(frame).context]
        logits, _ = self.memory.decode(read, context)
        return logits, mean_codes(read, logits)


def _padded(prompts: list[PromptTokens]) -> list[PromptTokens]:
    """The prompts of all videos with their objects repeated, from the first on, to the largest number of them."""
    most = max(len(prompt.features) for prompt in prompts)
    return [_rows(prompt, torch.arange(most) % len(prompt.features)) for prompt in prompts]


def _rows(prompt: PromptTokens, rows: Tensor) -> PromptTokens:
    dense = (None if x is None else x[rows] for x in (prompt.dense_logits, prompt.dense_features))
    logits, codes = dense
    tokens = prompt.features[rows], prompt.positions[rows], prompt.valid[rows]
    return PromptTokens(*tokens, prompt.kind, dense_logits=logits, dense_features=codes)


def _step_losses(
    prediction: ClipPrediction, features: FrameFeatures, clips: list[ClipMasks], step: int, alone: bool
) -> dict[str, Tensor]:
    """Losses of one frame in every layer: of the joined masks and of the queries' own (the same where ``alone``)."""
    targets = torch.cat([clip.masks[:, step] for clip in clips])
    known = torch.cat([clip.known[step].expand(len(clip.masks), -1, -1) for clip in clips])
    counts = [len(clip.masks) for clip in clips]
    mask_terms, dice_terms = [], []
    for layer in (*prediction.auxiliary, prediction):
        own = torch.einsum("bkc,bchw->bkhw", layer.mask_embeddings[:, :, 0], features.mask_features)
        pairs = [(1.0, own)] if alone else [(1.0, layer.mask_logits[:, :, 0]), (OWN_WEIGHT, own)]
        for weight, logits in pairs:
            logits = torch.cat([rows[:count] for rows, count in zip(logits, counts, strict=True)])
            mask_terms.append(2 * weight * hard_pixel_cross_entropy(logits, targets, known, HARD_SHARE))
            dice_terms.append(weight * dice_loss(logits, targets, known))
    kind = "alone" if alone else "joined"
    return {f"loss_{kind}_mask": torch.stack(mask_terms).sum(), f"loss_{kind}_dice": torch.stack(dice_terms).sum()}

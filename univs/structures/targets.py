"""Training targets of one video: labels, identities, masks, boxes, prompts."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor


@dataclass
class Targets:
    """Targets of one video with n objects and T frames.

    labels: [n] 1-based class, -1 unknown. ids: [n, T] identity, -1 where the mask is empty.
    masks: [n, T, H, W] in 0..1 at the padded size. boxes: [n, T, 4] xyxy divided by (W, H, W, H).
    frame_indices: [T]. task: "detection", "sot" or "grounding". dataset_name: short name (selects the class range).
    prompt_kind: "visual" or "text". num_max_instances: prompt entries per video of the batch.
    prompt_obj_ids: [K] identity of each prompt entry, -1 absent; None until the prompts are chosen.
    prompt_labels: [K] 1-based class of each class prompt. semantic_labels, semantic_masks: the S classes that are
    present, ascending, [S] and [S, T, H, W]; ``prompt_obj_ids`` of class prompts are places in them.
    expression_words / expression_sentences: [K, L, D] / [K, D] text features of expression prompts.
    """

    labels: Tensor
    ids: Tensor
    masks: Tensor
    boxes: Tensor
    frame_indices: Tensor
    task: str
    dataset_name: str
    prompt_kind: str
    num_max_instances: int = 0
    prompt_obj_ids: Tensor | None = None
    prompt_labels: Tensor | None = None
    semantic_masks: Tensor | None = None
    semantic_labels: Tensor | None = None
    expression_words: Tensor | None = None
    expression_sentences: Tensor | None = None

    @property
    def has_class_prompts(self) -> bool:
        """Whether prompts are class names, whose masks are ``semantic_masks``."""
        return self.semantic_masks is not None

    def clip(self, frames: slice) -> Targets:
        """The targets of some of the frames; identities and prompts stay as they are."""
        masks = self.semantic_masks
        return replace(
            self,
            ids=self.ids[:, frames],
            masks=self.masks[:, frames],
            boxes=self.boxes[:, frames],
            frame_indices=self.frame_indices[frames],
            semantic_masks=None if masks is None else masks[:, frames],
        )

    def to(self, device: torch.device | str) -> Targets:
        """The same on another device."""
        values = {item.name: getattr(self, item.name) for item in fields(self)}
        return Targets(**{k: v.to(device) if isinstance(v, Tensor) else v for k, v in values.items()})

"""Prompts of a clip: the memory of the objects' masks, or sentences that are read anew in every clip."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch.nn.functional as F
from torch import Tensor

from univs.inference.clips.settings import ClipSettings
from univs.inference.clips.state import NOT_SEEN, ObjectState
from univs.layers.draws import Draws
from univs.modeling.memory_pool import ClipMaskEncoder, KnownMasks, MemoryPool, MemoryPoolSettings
from univs.modeling.meta_arch import UniVS
from univs.structures import FrameFeatures, PromptTokens


class ClipPrompts(Protocol):
    """Where the prompt queries of a clip come from."""

    def tokens(self, state: ObjectState, features: FrameFeatures, frames: Tensor) -> PromptTokens | None:
        """Tokens of one prompt per object, or None; ``frames`` [T] are the clip's frame numbers."""

    def meet(self, state: ObjectState, features: FrameFeatures, frames: Tensor) -> None:
        """Objects that were found in the clip have been added to the state."""

    def keep(self, rows: Tensor) -> None:
        """Only the objects of these rows, ascending, are kept in the state."""


class MaskMemory:
    """Remembers the tokens of every object's masks; blank for objects that it has not met."""

    def __init__(self, model: UniVS, settings: ClipSettings, draws: Draws) -> None:
        self.decoder, self.draws = model.mask_decoder, draws
        self.first_tokens = settings.corrections.first_tokens
        self.pool = MemoryPool(MemoryPoolSettings(settings.clip_frames, settings.stride, settings.memory_frames))

    def tokens(self, state: ObjectState, features: FrameFeatures, frames: Tensor) -> PromptTokens | None:
        """Remember the masks as they are known before the clip, and give what the decoder reads of them."""
        if not len(state):
            return None
        if self.pool.features is not None:
            self.pool.add_objects(len(state) - len(self.pool.features))
        encode = ClipMaskEncoder(self.decoder, features, frames, self.draws)
        known = self._known(state, features, state.first_frames)
        self.pool.update(known, int(frames[0]), len(frames), encode)
        if self.first_tokens:
            self.pool.remember_first(known, int(frames[0]), len(frames), encode)
        return self.pool.tokens(state.first_frames, len(frames))

    def meet(self, state: ObjectState, features: FrameFeatures, frames: Tensor) -> None:
        """With ``first_tokens``, remember the masks of found objects at once."""
        if not self.first_tokens or self.pool.features is None:
            return
        known_before = len(self.pool.features)
        self.pool.add_objects(len(state) - known_before)
        first_frames = state.first_frames.clone()
        first_frames[:known_before] = NOT_SEEN
        encode = ClipMaskEncoder(self.decoder, features, frames, self.draws)
        known = self._known(state, features, first_frames)
        self.pool.remember_first(known, int(frames[0]), len(frames), encode)

    def keep(self, rows: Tensor) -> None:
        """Forget the other objects; the newest ones may not be remembered yet."""
        if self.pool.features is not None:
            self.pool.keep_objects(rows[rows < len(self.pool.features)])

    def _known(self, state: ObjectState, features: FrameFeatures, first_frames: Tensor) -> KnownMasks:
        """The latest masks at the padded size."""
        masks = state.mask_logits[:, -(len(features.mask_features) + self.pool.settings.stride) :]
        if masks.shape[-2:] != features.padded_size:
            masks = F.interpolate(masks, features.padded_size, mode="bilinear", align_corners=False)
        return KnownMasks(masks, state.boxes, first_frames)


class Sentences:
    """One prompt per sentence; their rows are those of the state."""

    def __init__(self, model: UniVS, sentences: Sequence[str]) -> None:
        self.decoder = model.mask_decoder
        self.words, self.sentences = model.encode_expressions(list(sentences))

    def tokens(self, state: ObjectState, features: FrameFeatures, frames: Tensor) -> PromptTokens | None:
        """The sentences after looking at the frames of the clip."""
        if not len(state):
            return None
        sources = self.decoder.sources(features).maps
        return self.decoder.prompt_encoder.text.expressions(self.words, self.sentences, sources)

    def meet(self, state: ObjectState, features: FrameFeatures, frames: Tensor) -> None:
        """Nothing is remembered."""

    def keep(self, rows: Tensor) -> None:
        """Nothing is forgotten."""


class NoPrompts:
    """The learnable queries alone."""

    def tokens(self, state: ObjectState, features: FrameFeatures, frames: Tensor) -> PromptTokens | None:
        """None."""
        return None

    def meet(self, state: ObjectState, features: FrameFeatures, frames: Tensor) -> None:
        """Nothing is remembered."""

    def keep(self, rows: Tensor) -> None:
        """Nothing is forgotten."""

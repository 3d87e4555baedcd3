"""Following objects by prompt queries: what is remembered of an object becomes tokens, tokens become its next mask.

Every object is decoded on its own, so that its bits do not depend on which other objects are there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from torch import Tensor

from univs.errors import UserError
from univs.inference.dense_following import DenseReading
from univs.layers.draws import RepeatableDraws
from univs.modeling.decoder_layers import BLOCKED
from univs.modeling.mask_decoder import MaskDecoder
from univs.modeling.prompt_encoder import VisualTokens
from univs.modeling.query_prompts import add_dense_reading, frame_tokens, remembered_prompts
from univs.structures import FrameFeatures

PERMANENT_READ = 2  # permanent frames, the nearest ones, whose tokens are read


class Remembered(Protocol):
    """What is remembered of an object: tokens by frame, and which frames are permanent."""

    tokens: dict[int, VisualTokens]
    permanent: set[int]


class RememberedObjects(Protocol):
    """A memory of objects by id."""

    objects: Mapping[int, Remembered]


class QueryFollower:
    """Prompt queries of a mask decoder, one frame at a time."""

    def __init__(self, decoder: MaskDecoder | None) -> None:
        """Raises UserError where there is no decoder, or one in which objects see each other."""
        if decoder is None:
            raise UserError("This model has no queries to follow with; use a config with MODEL.UNIVS.QUERIES True.")
        if decoder.settings.query_attention != BLOCKED or not decoder.settings.visual_prompts.independent_objects:
            raise UserError(
                "The queries of this model are not independent of each other; set MODEL.UNIVS.SELF_ATTENTION to "
                "sep-blocked and MODEL.UNIVS.INDEPENDENT_PROMPTS to True."
            )
        self.decoder = decoder
        self.draws = RepeatableDraws()

    def tokens(self, features: FrameFeatures, mask_logits: Tensor) -> VisualTokens:
        """Tokens [1, R, C] of one object with mask logits [h4, w4] in the frame of ``features``."""
        return frame_tokens(self.decoder, features.levels[-1][0], mask_logits.sigmoid()[None], self.draws)

    def follow(
        self,
        bank: RememberedObjects,
        frame: int,
        features: FrameFeatures,
        object_ids: Sequence[int],
        readings: Mapping[int, DenseReading],
    ) -> dict[int, Tensor]:
        """Mask logits [h4, w4] of every object in a frame, joined with its dense reading if there is one."""
        return {i: self._follow(bank.objects[i], frame, features, readings.get(i)) for i in object_ids}

    def _follow(self, item: Remembered, frame: int, features: FrameFeatures, reading: DenseReading | None) -> Tensor:
        prompts = remembered_prompts([item.tokens[f] for f in read_frames(item, frame)])
        if reading is not None:
            add_dense_reading(prompts, reading.logits[None], reading.code[None])
        return self.decoder(features, prompts, discover=False).mask_logits[0, 0, 0]


def read_frames(item: Remembered, frame: int) -> list[int]:
    """Frames whose tokens an object reads: its nearest permanent ones in order of time, then the last one."""
    permanent = [f for f in item.tokens if f in item.permanent]
    nearest = sorted(sorted(permanent, key=lambda f: (abs(f - frame), f))[:PERMANENT_READ])
    return [*nearest, *(f for f in item.tokens if f not in item.permanent)]

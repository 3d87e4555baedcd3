"""Models without a dense memory in the session: the published ones, prompted by hand.

Whole videos in the published way go through `univs.inference.clips`; here every frame is decoded as it comes, object by
object, so that prompts may be given, corrected and taken back on any frame, and no object depends on another one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import cv2
import numpy as np
import torch
from torch import Tensor

from univs.inference.clips.candidates import all_candidates, instance_candidates
from univs.inference.clips.clip import Clip
from univs.inference.clips.run import cleaned_sentence, input_size, resized_frame
from univs.inference.clips.settings import ClipSettings
from univs.inference.clips.stream import encoded
from univs.inference.geometry import MaskGeometry
from univs.inference.protocol import Answer, Discovery
from univs.inference.query_following import QueryFollower
from univs.inference.segmenter import CERTAIN, STRIDE, answer_of, answers_of
from univs.layers.draws import RepeatableDraws
from univs.modeling.decoder_layers import BLOCKED
from univs.modeling.mask_decoder import MaskDecoder
from univs.modeling.meta_arch import UniVS
from univs.modeling.prompt_encoder import Placement, VisualTokens
from univs.structures import FrameFeatures, MaskPrompt, Prompt, PromptTokens, TextPrompt


@dataclass
class ObjectTokens:
    """Tokens of one object's masks by frame, and which of the frames are permanent."""

    tokens: dict[int, VisualTokens] = field(default_factory=dict)
    permanent: set[int] = field(default_factory=set)


@dataclass
class TokenBank:
    """Objects by id; of each the user's frames are kept, and the last other one."""

    objects: dict[int, ObjectTokens] = field(default_factory=dict)

    def write(self, frame: int, object_id: int, tokens: VisualTokens, permanent: bool) -> None:
        """Remember an object's tokens of a frame."""
        item = self.objects.setdefault(object_id, ObjectTokens())
        item.permanent |= {frame} if permanent else set()
        item.tokens[frame] = tokens
        item.tokens = {f: part for f, part in item.tokens.items() if f in item.permanent or f == frame}

    def forget(self, object_ids: Sequence[int] | None, frames: Sequence[int] | None) -> None:
        """Forget objects, frames of them, or everything."""
        for object_id in list(self.objects) if object_ids is None else object_ids:
            if frames is None:
                self.objects.pop(object_id, None)
                continue
            item = self.objects.get(object_id, ObjectTokens())
            for frame in frames:
                item.tokens.pop(frame, None)
                item.permanent.discard(frame)


class QuerySegmenter:
    """Implements `univs.inference.protocol.Segmenter` over the mask decoder of a `UniVS` model.

    ``settings`` say at which size frames are seen, and what counts as found by category.
    """

    def __init__(self, model: UniVS, settings: ClipSettings, name: str = "univs") -> None:
        """Changes the model: its objects no longer see each other."""
        self.model, self.settings, self.name = model.eval(), settings, name
        make_independent(model.mask_decoder)
        self.follower = QueryFollower(model.mask_decoder)

    def geometry(self, size: tuple[int, int]) -> MaskGeometry:
        """The stride-4 grid of the padded network input over frames of ``size`` (H, W)."""
        inside, divisor = input_size(size, self.settings), self.model.size_divisibility
        padded = [-(-max(side, self.settings.square) // divisor) * divisor for side in inside]
        return MaskGeometry.of_network(size, inside, (padded[0], padded[1]), STRIDE)

    @torch.inference_mode()
    def encode(self, frame: np.ndarray) -> FrameFeatures:
        """Features of one uint8 RGB frame [H, W, 3]."""
        image = resized_frame(frame, input_size(frame.shape[:2], self.settings))
        return encoded(self.model, image, self.settings.square)

    @torch.inference_mode()
    def answer(
        self,
        features: FrameFeatures,
        size: tuple[int, int],
        prompts: Sequence[Prompt],
        base: np.ndarray | None,
        alternatives: bool = False,
    ) -> list[Answer]:
        """The mask of one object from its prompts; a mask prompt alone is taken as it is.

        A sentence counts where there is nothing else. The published training knows one reading of a click, so there
        are no ``alternatives``.
        """
        drawn = [prompt for prompt in prompts if not isinstance(prompt, TextPrompt)]
        if drawn and all(isinstance(prompt, MaskPrompt) for prompt in drawn):
            return [answer_of(self._given(features, drawn[-1].to_array()))]
        if not drawn and base is None:
            return [answer_of(self._described(features, [p.text for p in prompts if isinstance(p, TextPrompt)][-1]))]
        if base is not None and base.any():
            drawn.append(MaskPrompt.from_array(base))
        return [answer_of(self._decoded(features, self._tokens(features, size, drawn)))]

    def _given(self, features: FrameFeatures, mask: np.ndarray) -> Tensor:
        """Logits [h4, w4] of a mask [H, W] that is beyond doubt."""
        height, width = (-(-side // STRIDE) for side in features.image_size)
        inside = cv2.resize(mask.astype(np.float32), (width, height), interpolation=cv2.INTER_AREA)
        grid = features.mask_features.new_zeros(features.mask_features.shape[-2:])
        grid[:height, :width] = torch.from_numpy(inside)
        return grid.clamp(1 - CERTAIN, CERTAIN).logit()

    def _described(self, features: FrameFeatures, sentence: str) -> Tensor:
        decoder = self.model.mask_decoder
        words, sentences = self.model.encode_expressions([cleaned_sentence(sentence)])
        prompts = decoder.prompt_encoder.text.expressions(words, sentences, decoder.sources(features).maps)
        return decoder(features, prompts).mask_logits[0, -1, 0]

    def _tokens(self, features: FrameFeatures, size: tuple[int, int], prompts: Sequence[Prompt]) -> PromptTokens:
        """Tokens [1, L, 1, C] of all prompts of one object, one prompt after the other."""
        decoder = self.model.mask_decoder
        time = decoder.time_codes(torch.zeros(1, dtype=torch.long, device=self.model.device))[0]
        frame = decoder.prompt_frame(features.levels[-1][0], time)
        placement = Placement(size, features.image_size, features.padded_size)
        tokens = decoder.prompt_encoder.encode(prompts, frame, placement, RepeatableDraws())
        negative = None if tokens.negative is None else tokens.negative.flatten()[None]
        return PromptTokens(
            tokens.features.flatten(0, 1)[None],
            tokens.positions.flatten(0, 1)[None],
            tokens.valid.any(0, keepdim=True),
            tokens.kind,
            negative=negative,
        )

    def _decoded(self, features: FrameFeatures, prompts: PromptTokens) -> Tensor:
        return self.model.mask_decoder(features, prompts, discover=False).mask_logits[0, 0, 0]

    def start(self) -> TokenBank:
        """An empty memory."""
        return TokenBank()

    @torch.inference_mode()
    def remember(
        self, memory: TokenBank, frame_index: int, features: FrameFeatures, logits: dict[int, Tensor], permanent: bool
    ) -> None:
        """Store masks [h4, w4] by object id, as tokens."""
        for object_id, mask in logits.items():
            memory.write(frame_index, object_id, self.follower.tokens(features, mask.to(self.model.device)), permanent)

    def forget(
        self, memory: TokenBank, object_ids: Sequence[int] | None = None, frames: Sequence[int] | None = None
    ) -> None:
        """Forget objects, frames of them, or everything."""
        memory.forget(object_ids, frames)

    @torch.inference_mode()
    def follow(
        self, memory: TokenBank, frame_index: int, features: FrameFeatures, object_ids: Sequence[int]
    ) -> dict[int, Answer]:
        """Masks of remembered objects in this frame."""
        return answers_of(self.follower.follow(memory, frame_index, features, object_ids, {}))

    @torch.inference_mode()
    def discover(self, features: FrameFeatures, size: tuple[int, int], names: Sequence[str]) -> list[Discovery]:
        """Instances of the named categories in this frame, best first."""
        classes = self.model.class_embeddings.of_names(names, self.model.device)
        clip = Clip(0, 1, 1, features, size)
        clip.prediction = self.model.mask_decoder(features, None, class_embeddings=classes)
        found = instance_candidates(all_candidates(clip), self.settings)
        best, place = found.scores.max(1)
        return [
            Discovery(names[int(place[row])], float(best[row]), found.masks[row, 0])
            for row in best.argsort(descending=True).tolist()
            if best[row] > self.settings.class_threshold
        ]

    def memory_report(self, memory: TokenBank) -> dict[str, int]:
        """Frames, objects and bytes held."""
        held = {id(part): part for item in memory.objects.values() for part in item.tokens.values()}
        tensors = [tensor for part in held.values() for tensor in (part.features, part.positions)]
        return {
            "frames": len({frame for item in memory.objects.values() for frame in item.tokens}),
            "objects": len(memory.objects),
            "bytes": sum(tensor.numel() * tensor.element_size() for tensor in tensors),
        }


def make_independent(decoder: MaskDecoder) -> None:
    """Let no object see another one: neither in the self-attention nor through the threshold of mask cells."""
    visual = replace(decoder.settings.visual_prompts, independent_objects=True)
    decoder.settings = replace(decoder.settings, query_attention=BLOCKED, visual_prompts=visual)
    for encoder in decoder.prompt_encoder.visual.values():
        encoder.settings = visual

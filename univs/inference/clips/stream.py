"""One loop for every published task: clips that overlap, and a state of bounded size between them.

Clips cover the frames i .. i + n - 1 for i = 0, s, 2 s, ... A clip runs as soon as its last frame has come; no later
clip changes its first s frames. For each clip:

1. the state is extended by the new frames, and by empty or averaged slots;
2. given masks are written into it;
3. prompts are made of it (`prompt_slots`);
4. the mask decoder looks at the clip;
5. objects seen before are followed, 6. new ones are taken in, 7. finished frames are given out (`ClipSteps`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from univs.inference.clips.clip import Clip, joined
from univs.inference.clips.entities import FoundObjects
from univs.inference.clips.frame_tracking import BestQueries
from univs.inference.clips.given_objects import GivenObjects
from univs.inference.clips.images import Images
from univs.inference.clips.prompt_slots import ClipPrompts, MaskMemory, NoPrompts, Sentences
from univs.inference.clips.query_tokens import QueryTokens
from univs.inference.clips.seeds import GivenMasks, VideoSeeds
from univs.inference.clips.semantic import SemanticMaps
from univs.inference.clips.settings import ClipSettings
from univs.inference.clips.state import ObjectState
from univs.inference.clips.steps import ClipSteps
from univs.layers.draws import Draws, RepeatableDraws
from univs.modeling.meta_arch import UniVS
from univs.structures import FrameFeatures

# a new slot of a clip begins as the mean of this many before it
MEAN_OF_SLOTS = 3


class ClipStream:
    """Takes the frames of one video one by one and gives results as soon as they are final."""

    def __init__(
        self,
        model: UniVS,
        settings: ClipSettings,
        video_size: tuple[int, int],
        seeds: VideoSeeds | None = None,
        draws: Draws | None = None,
    ) -> None:
        """``video_size``: (height, width) of the results. ``draws``: the random choice of prompt tokens."""
        self.model, self.settings, self.video_size = model, settings, video_size
        self.seeds = seeds or VideoSeeds()
        self.prompts = _prompts(model, settings, self.seeds, draws or RepeatableDraws(settings.seed))
        self.steps = _steps(model, settings, self.seeds)
        self.state: ObjectState | None = None
        self.clip: Clip | None = None
        self._frames: list[FrameFeatures] = []
        self._given: dict[int, GivenMasks] = {}
        self._next_frame = 0

    @torch.inference_mode()
    def step(self, frame: Tensor, given: GivenMasks | None = None) -> list[Any]:
        """Take the next frame [3, H0, W0], RGB in 0..255 at the size the network works in, and the masks that are given
        in it, at the same size. Returns the results that have become final."""
        return self.step_encoded(self.encode(frame), given)

    @torch.inference_mode()
    def step_encoded(self, features: FrameFeatures, given: GivenMasks | None = None) -> list[Any]:
        """The same for a frame that has been encoded by `encode`."""
        if given is not None:
            self._given[self._next_frame] = given
        self._frames.append(features)
        self._next_frame += 1
        if self._next_frame < self._next_clip + self.settings.clip_frames:
            return []
        return self._run()

    @torch.inference_mode()
    def finish(self) -> list[Any]:
        """The video has ended: results of the frames that were not yet given out, and those of the whole video."""
        results = self._run() if self._next_frame > (self.clip.stop if self.clip else 0) else []
        if self.clip is not None:
            results += self._in_single_precision(self.steps.close, is_last=True)
        return results

    def encode(self, frame: Tensor) -> FrameFeatures:
        """Features of one frame [3, H0, W0]; each frame needs to be encoded once only."""
        return encoded(self.model, frame, self.settings.square)

    @property
    def _next_clip(self) -> int:
        """The frame that the next clip begins with."""
        return 0 if self.clip is None else self.clip.first + self.settings.stride

    def _run(self) -> list[Any]:
        """Run the next clip, which ends with the newest frame."""
        results = []
        if self.clip is not None:
            results += self._in_single_precision(self.steps.close, is_last=False)
            self._forget()
        self.clip = clip = self._cut()
        self._extend(clip)
        self.steps.begin(self.state, clip)
        self._decode(clip)
        self._in_single_precision(self.steps.follow)
        self._in_single_precision(self.steps.take_in)
        self.prompts.meet(self.state, clip.features, self._numbers(clip))
        return results + self._in_single_precision(self.steps.give_out)

    def _forget(self) -> None:
        """Leave out objects that have ended."""
        rows = self.steps.kept(self.state, self.clip)
        if rows is not None and len(rows) < len(self.state):
            self.state.keep(rows)
            self.prompts.keep(rows)

    def _in_single_precision(self, step: Callable[..., Any], **options: bool) -> Any:
        """What a step gives for the present clip; only the model runs in the caller's precision."""
        with torch.autocast(self.clip.features.mask_features.device.type, enabled=False):
            return step(self.state, self.clip, **options)

    def _cut(self) -> Clip:
        """The next clip; frames before it are forgotten."""
        first, settings = self._next_clip, self.settings
        frames = self._next_frame - first
        new = frames if self.clip is None else self._next_frame - self.clip.stop
        if self.clip is not None and settings.slots == "frame" and not settings.corrections.aligned_end:
            new = min(settings.stride, frames)
        self._frames = self._frames[-frames:]
        self._given = {frame: given for frame, given in self._given.items() if frame >= first}
        return Clip(first, frames, new, joined(self._frames), self.video_size, dict(self._given))

    def _extend(self, clip: Clip) -> None:
        """Step 1: forget what is no longer read, add empty frames and the slots that begin with the clip."""
        settings = self.settings
        if self.state is None:
            self.state = self._first_state(clip.features)
        past = clip.stop - clip.new_frames
        held = min(self.steps.first_held(clip), clip.first - settings.stride)
        self.state.trim(past - max(held, 0), past - max(clip.first - settings.stride, 0))
        self.state.extend(clip.new_frames)
        if settings.slots == "frame":
            self.state.add_slots(clip.new_frames, clip.new_frames, settings.remembered)
        else:
            self.state.add_slots(1, MEAN_OF_SLOTS, settings.compared_slots)
            self.state.add_class_slot()

    def _first_state(self, features: FrameFeatures) -> ObjectState:
        """A state with the objects that are known beforehand."""
        classes, maps = self.seeds.class_embeddings, features.mask_features
        count = 0 if classes is None else len(classes)
        # masks of found objects are held as the decoder gives them
        size = maps.shape[-2:] if self.settings.objects == "discovery" else features.padded_size
        state = ObjectState.empty(size, maps.shape[1], count, maps.device)
        state.add(torch.tensor([*sorted(self.seeds.object_ids), *self.seeds.sentences], dtype=torch.int64))
        return state

    def _decode(self, clip: Clip) -> None:
        """Steps 3 and 4; nothing is decoded where nobody is asked for."""
        settings, decoder = self.settings, self.model.mask_decoder
        prompts = self.prompts.tokens(self.state, clip.features, self._numbers(clip))
        if prompts is None and not settings.learnable:
            return
        first_read = decoder.settings.num_queries if settings.learnable and settings.objects == "sentences" else 0
        clip.prediction = decoder(
            clip.features,
            prompts,
            discover=settings.learnable,
            class_embeddings=self.seeds.class_embeddings,
            mask_queries=slice(first_read, None),
        )

    def _numbers(self, clip: Clip) -> Tensor:
        """Frame numbers of the clip, [T]."""
        return torch.arange(clip.first, clip.stop, device=clip.features.mask_features.device)


def encoded(model: UniVS, frame: Tensor, square: int) -> FrameFeatures:
    """Features of one frame [3, H0, W0], RGB in 0..255, padded to a square of ``square`` pixels if that is larger."""
    image = model.normalised_frames([{"image": frame}])
    height, width = image.shape[-2:]
    below, right = (max(square - side, 0) for side in (height, width))
    features = model.encode(F.pad(image, (0, right, 0, below)))
    features.image_size = (height, width)
    return features


def _prompts(model: UniVS, settings: ClipSettings, seeds: VideoSeeds, draws: Draws) -> ClipPrompts:
    if settings.objects == "sentences":
        return Sentences(model, list(seeds.sentences.values()))
    if settings.objects in ("masks", "discovery"):
        return MaskMemory(model, settings, draws)
    return NoPrompts()


def _steps(model: UniVS, settings: ClipSettings, seeds: VideoSeeds) -> ClipSteps:
    """What is done with a clip, by what starts objects."""
    if settings.objects == "best_queries":
        return BestQueries(settings, seeds, model.mask_decoder.heads.class_logits)
    if settings.objects == "none":
        return {"semantic": SemanticMaps, "image": Images, "tokens": QueryTokens}[settings.result](settings, seeds)
    kinds = {"masks": GivenObjects, "sentences": GivenObjects, "discovery": FoundObjects}
    return kinds[settings.objects](settings, seeds)

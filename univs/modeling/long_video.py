"""Training on long videos: overlapping clips, a memory of the first one, identities that agree between them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from univs.errors import UserError
from univs.modeling.clip_losses import ClipLosses, Sample
from univs.modeling.losses.identity import Embeddings, InterClipIdentityLoss
from univs.modeling.memory_pool import ClipMaskEncoder
from univs.modeling.training_prompts import long_video_memory, with_memory
from univs.structures import FrameFeatures, PromptTokens, Targets


class LongVideoLosses:
    """Losses of one video, cut into clips of T frames that share a frame with the next one.

    Every loss is its mean over the clips. The prompted objects are chosen in the first clip and kept; what they looked
    like at its end is put before the prompt tokens of all later clips. A loss between clips, in every layer but the
    first, pulls the embeddings of an object in all clips together.
    """

    def __init__(self, clips: ClipLosses) -> None:
        self.clips = clips
        self._between_clips = InterClipIdentityLoss(clips.draws)

    def __call__(self, features: FrameFeatures, samples: Sequence[Sample]) -> dict[str, Tensor]:
        """Weighted losses of one sample of V frames, from the features of its frames.

        Raises:
            UserError: there are several samples.
        """
        if len(samples) != 1:
            raise UserError(
                f"Training on long videos takes one video per process, not {len(samples)}; set SOLVER.IMS_PER_BATCH to "
                "the number of processes."
            )
        target = self.clips.targets(features, samples)[0]
        parts = clip_slices(len(target.frame_indices), self.clips.settings.clip_frames)
        losses, embeddings, memory = [], [], None
        for number, frames in enumerate(parts):
            clip_features, clip_target = features.frames(frames), target.clip(frames)
            prompts = self._prompts(clip_features, clip_target, memory)
            target.prompt_obj_ids = clip_target.prompt_obj_ids
            terms, kept = self.clips.losses(clip_features, [clip_target], prompts)
            losses.append(terms)
            embeddings.append(kept)
            if number == 0 and len(parts) > 1 and prompts is not None and not target.has_class_prompts:
                memory = self._memory(clip_features, clip_target)
        return self.clips.settings.weights.apply(_mean_over_clips(losses) | self._interclip_losses(embeddings))

    def _prompts(
        self, features: FrameFeatures, target: Targets, memory: PromptTokens | None
    ) -> list[PromptTokens] | None:
        prompts = self.clips.prompts(features, [target])
        if prompts is None or memory is None:
            return prompts
        return [with_memory(prompts[0], memory)]

    @torch.no_grad()
    def _memory(self, features: FrameFeatures, target: Targets) -> PromptTokens:
        # the cells are coded with places in the clip, only points with frames of the video, as the published model is
        places = torch.arange(len(target.frame_indices))
        encoder = ClipMaskEncoder(self.clips.decoder, features, places, self.clips.draws)
        return long_video_memory(target, encoder, self.clips.draws)

    def _interclip_losses(self, embeddings: list[list[Embeddings]]) -> dict[str, Tensor]:
        """Losses between clips from the embeddings per clip and layer; the last layer has no suffix."""
        losses = {}
        last = len(embeddings[0]) - 1
        for layer in range(min(1, last), last + 1):
            suffix = "" if layer == last else f"_{layer}"
            contrast, auxiliary = self._between_clips(Embeddings.join([clip[layer] for clip in embeddings]))
            losses |= {f"loss_reid_interclip{suffix}": contrast, f"loss_reid_interclip_aux{suffix}": auxiliary}
        return losses


def clip_slices(video_frames: int, clip_frames: int) -> list[slice]:
    """Clips of ``clip_frames`` frames that begin every ``clip_frames`` - 1; the last one ends with the video."""
    if video_frames <= clip_frames:
        return [slice(0, video_frames)]
    last = video_frames - clip_frames
    starts = [*range(0, last, max(clip_frames - 1, 1)), last]
    return [slice(start, start + clip_frames) for start in starts]


def _mean_over_clips(losses: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Sum of every term divided by the number of clips; a clip without prompts lacks some."""
    names = dict.fromkeys(name for terms in losses for name in terms)
    return {name: sum(terms[name] for terms in losses if name in terms) / len(losses) for name in names}

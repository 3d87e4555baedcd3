"""Objects that are found by the learnable queries and then followed by prompts made of their masks."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from univs.inference.clips.arithmetic import (
    assign,
    mask_boxes,
    mask_iou,
    mask_quality,
    mutual_similarity,
    running_mean,
    self_similarity,
)
from univs.inference.clips.candidates import (
    Candidates,
    all_candidates,
    first_panoptic_candidates,
    instance_candidates,
)
from univs.inference.clips.clip import Clip
from univs.inference.clips.outputs.panoptic import PanopticWindows
from univs.inference.clips.outputs.tracks import TrackWindows
from univs.inference.clips.overlap import Shares, pixel_owner
from univs.inference.clips.seeds import VideoSeeds
from univs.inference.clips.settings import ClipSettings
from univs.inference.clips.state import ObjectState

MATCHED_SLOTS = 3
# a new object overlaps no known one by this IoU in any frame
KNOWN_OVERLAP = 0.5
# frames that are given out together: this step, times one more than fit into a window
WINDOW_STEP = 5
# logit of the pixels of a frame in which an object was not seen
SURELY_ABSENT = -1e4


class FoundObjects:
    """The steps of a clip for found objects; each has one prompt query, in the order of the state's rows.

    The state holds their masks as the decoder gives them, a quarter of the padded size along each side: many frames of
    them wait, and enlarging is linear, so that sums may be enlarged instead of summands.
    """

    def __init__(self, settings: ClipSettings, seeds: VideoSeeds) -> None:
        self.settings, self.things = settings, seeds.things
        self.windows = TrackWindows(settings) if settings.result == "tracks" else PanopticWindows(settings, seeds)
        self._given_out = 0
        self._found = 0

    def first_held(self, clip: Clip) -> int:
        """Masks are held until their window is given out."""
        return self._given_out

    def begin(self, state: ObjectState, clip: Clip) -> None:
        """Nothing is known beforehand."""

    def follow(self, state: ObjectState, clip: Clip) -> None:
        """Objects that are like their past, and visible, add what their prompt queries say."""
        if not clip.num_prompts:
            return
        embeddings, masks = clip.prompt_embeddings(), clip.prompt_masks()
        logits = clip.enlarged(masks)
        similarity = self_similarity(state.embeddings[:, -self.settings.compared_slots :], embeddings)
        early = self.settings.early_factor if clip.first < self.settings.clip_frames else 1.0
        kept = similarity > self.settings.consistency_threshold * early
        quality = mask_quality(clip.unpadded(logits))
        if self.settings.overlap == "veto":
            score = state.mean_scores().amax(1) * similarity * quality
            kept = kept & self._owns_enough(clip.unpadded(logits), score)
        rows = kept.nonzero().flatten()
        self._add_masks(state, clip, rows, masks[rows], (logits[row] for row in rows.tolist()), quality[rows])
        for row in rows.tolist():
            known = clip.enlarged(state.mask_logits[row, None, -clip.frames :])[0]
            state.boxes[row, -clip.frames :] = mask_boxes(known > 0)
        state.embeddings[rows, -1] = running_mean(state.embeddings[rows, -1], embeddings[rows].mean(1))

    def _owns_enough(self, logits: Tensor, scores: Tensor) -> Tensor:
        """Bool [N]: objects that own enough of their masks [N, T, H0, W0] where the strongest ones own the pixels."""
        counted = Shares.none(len(logits), logits.device)
        for frame in logits.unbind(1):
            probabilities = frame.sigmoid()
            owner = pixel_owner(probabilities * scores[:, None, None], (probabilities >= 0.5).any(0))
            counted = counted + Shares.count(owner, probabilities > 0.5)
        return (counted.ratio > self.settings.entity_overlap_threshold) & (counted.both > 0)

    def _add_masks(
        self, state: ObjectState, clip: Clip, rows: Tensor, masks: Tensor, enlarged: Iterable[Tensor], quality: Tensor
    ) -> None:
        """Add mask logits [n, T, H/4, W/4] of the clip, and their qualities, to the objects of these rows; ``enlarged``
        gives them one after the other as [T, H, W]."""
        latest = slice(-clip.frames, None)
        state.mask_logits[rows, latest] += masks
        state.quality[rows] += quality
        for row, logits in zip(rows.tolist(), enlarged, strict=True):
            seen = (logits > 0).flatten(1).any(1)
            state.occurrence[row, latest] += seen.float()
            if seen.any():
                state.last_frames[row] = clip.stop - 1

    def take_in(self, state: ObjectState, clip: Clip) -> None:
        """Match the learnable queries with the objects; those that are none of them may be new ones."""
        settings = self.settings
        if clip.first % settings.discovery_interval and len(state):
            return
        may_begin_again = settings.corrections.late_finds or self._found
        is_first = clip.first == 0 or (may_begin_again and not len(state))
        candidates = all_candidates(clip)
        if settings.discovery == "instances":
            candidates = instance_candidates(candidates, settings)
        elif is_first:
            candidates = first_panoptic_candidates(candidates, settings, self.things)
        if is_first:
            least = max(settings.class_threshold, settings.first_score_floor)
            self._insert(state, clip, candidates.pick(candidates.best > least))
        elif len(state) and len(candidates):
            likely = candidates.best > settings.class_threshold * settings.later_score_factor
            left = candidates.pick(likely & ~self._match(state, clip, candidates))
            self._insert(state, clip, left.pick(self._is_free(state, clip, left.masks)))

    def _match(self, state: ObjectState, clip: Clip, candidates: Candidates) -> Tensor:
        """Give the objects what the queries say that are like them; bool [M], queries whose masks they got."""
        similarity = mutual_similarity(state.embeddings[:, -MATCHED_SLOTS:], candidates.embeddings)
        similarity = similarity.where(similarity >= self.settings.match_threshold, 0)
        rows, queries = assign(similarity)
        values = similarity[rows, queries]
        alike = values > self.settings.match_threshold
        objects, found = rows[alike], candidates.pick(queries[alike])
        state.class_last[objects] = 0.5 * (state.class_last[objects] + found.scores)
        state.embeddings[objects, -1] = running_mean(state.embeddings[objects, -1], found.embeddings.mean(1))
        same = values > self.settings.match_threshold * self.settings.mask_match_factor
        found = candidates.pick(queries[same])
        masks = found.masks
        enlarged = (clip.enlarged(mask[None])[0] for mask in masks)
        self._add_masks(state, clip, rows[same], masks, enlarged, found.quality)
        matched = torch.zeros(len(candidates), dtype=torch.bool, device=queries.device)
        matched[queries[same]] = True
        return matched

    def _is_free(self, state: ObjectState, clip: Clip, masks: Tensor) -> Tensor:
        """Bool [M]: masks [M, T, H/4, W/4] that overlap no object by much in any frame."""
        if not len(masks):
            return torch.zeros(0, dtype=torch.bool, device=masks.device)
        known = [
            _reduced(clip.enlarged(row[None]), masks.shape[-2:]) > 0 for row in state.mask_logits[:, -clip.frames :]
        ]
        return mask_iou(masks > 0, torch.cat(known)).amax((1, 2)) < KNOWN_OVERLAP

    def _insert(self, state: ObjectState, clip: Clip, found: Candidates) -> None:
        """Take in new objects; the slots of earlier clips and the frames before this one stay empty."""
        if not len(found):
            return
        rows = state.add(torch.arange(self._found, self._found + len(found)))
        self._found += len(found)
        latest = slice(-clip.frames, None)
        state.first_frames[rows], state.last_frames[rows] = clip.first, clip.stop - 1
        state.class_last[rows] = found.scores
        state.embeddings[rows, -1] = found.embeddings.mean(1)
        state.mask_logits[rows, latest] = found.masks
        state.boxes[rows, latest] = found.boxes
        state.occurrence[rows, latest] = 1.0
        state.quality[rows] = found.quality

    def kept(self, state: ObjectState, clip: Clip) -> Tensor | None:
        """Objects that were seen lately, or in a frame that is not given out yet."""
        patience = self.settings.forget_after
        if not patience:
            return None
        oldest = min(clip.stop - patience, self._given_out)
        return (state.last_frames >= oldest).nonzero().flatten()

    def give_out(self, state: ObjectState, clip: Clip) -> list[Any]:
        """Nothing before it is known whether the clip is the last one: then one window takes all that is left."""
        return []

    def close(self, state: ObjectState, clip: Clip, is_last: bool) -> list[Any]:
        """The next window of frames, if it is due; in the end all frames and what is said of the whole video."""
        if not (is_last or self._is_due(clip)):
            return []
        first = self._given_out
        self._given_out = clip.stop if is_last else first + self._window_frames
        place = state.frames - (clip.stop - first)
        window = slice(place, place + self._given_out - first)
        logits = state.mask_logits[:, window]
        if self.settings.corrections.unseen_frames:
            unseen = state.occurrence[:, window, None, None] == 0
            logits = logits.masked_fill(unseen, SURELY_ABSENT)
        results = self.windows.add(state, clip, first, logits)
        return results + (self.windows.finish(clip) if is_last else [])

    @property
    def _window_frames(self) -> int:
        """Frames that are given out together."""
        longest = max(self.settings.window_frames, self.settings.clip_frames)
        return WINDOW_STEP * (-(-longest // WINDOW_STEP) + 1)

    def _is_due(self, clip: Clip) -> bool:
        """Whether the first frames that are held are given out after this clip."""
        memory, window = self.settings.memory_frames, self._window_frames
        if self.settings.corrections.regular_windows:
            return clip.stop - self._given_out >= window + memory + self.settings.clip_frames
        return clip.first > memory and clip.first % window == memory


def _reduced(masks: Tensor, size: tuple[int, int]) -> Tensor:
    """Mask logits [N, T, H, W] at ``size`` (h, w), [N, T, h, w]."""
    return F.interpolate(masks, size=size, mode="bilinear", align_corners=False)

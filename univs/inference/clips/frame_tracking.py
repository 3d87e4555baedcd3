"""The frame tracker: the best queries of the first clip are all objects; in every clip the queries are matched to them.

Every object is in every frame; which of them are results, and with which class, is known at the end of the video.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from univs.inference.clips.arithmetic import assign, cosine_similarity, mask_quality
from univs.inference.clips.clip import Clip
from univs.inference.clips.outputs.query_panoptic import PanopticOfQueries
from univs.inference.clips.outputs.query_tracks import TracksOfQueries
from univs.inference.clips.results import PanopticFrame, VideoSegments, VideoTracks
from univs.inference.clips.seeds import VideoSeeds
from univs.inference.clips.settings import ClipSettings
from univs.inference.clips.state import ObjectState

MOST_TRACKS = 100
COMPARED_CLIPS = 2

Rank = Callable[[Tensor], Tensor]


@dataclass
class QueryTracks:
    """Rows of N tracks: embeddings [N, t, C] of the last clips, sums of class logits [N, K] over ``clips`` clips, sums
    of mask logits [N, F, h, w] of the frames that another clip may still change, and in how many clips each was."""

    embeddings: Tensor
    class_logits: Tensor
    clips: int
    masks: Tensor
    seen: Tensor


class BestQueries:
    """The steps of a clip for the best queries of the first one."""

    def __init__(self, settings: ClipSettings, seeds: VideoSeeds, class_logits: Callable[[Tensor, Tensor], Tensor]):
        """``class_logits``: the model's, of embeddings [B, T, N, C] and classes [K, D]."""
        self.settings, self.seeds, self.class_logits = settings, seeds, class_logits
        self.tracks: QueryTracks | None = None
        is_tracks = settings.result == "tracks"
        self.output = TracksOfQueries(settings) if is_tracks else PanopticOfQueries(settings, seeds.things)

    def first_held(self, clip: Clip) -> int:
        """The state holds no objects."""
        return clip.first

    def begin(self, state: ObjectState, clip: Clip) -> None:
        """Nothing is known beforehand."""

    def follow(self, state: ObjectState, clip: Clip) -> None:
        """Match the queries of the clip with the tracks and add what they say."""
        if self.tracks is None:
            return
        tracks, embeddings = self.tracks, clip.learnable_embeddings()
        _, rows = assign(self._similarity(tracks.embeddings, embeddings))
        latest = embeddings[rows].mean(1, keepdim=True)
        tracks.embeddings = torch.cat([tracks.embeddings, latest], 1)[:, -COMPARED_CLIPS:]
        tracks.class_logits = tracks.class_logits + clip.prediction.class_logits[0, rows]
        tracks.clips += 1
        self._finish_frames(tracks.masks.shape[1] - (clip.frames - clip.new_frames), clip)
        tracks.masks = F.pad(tracks.masks, (0, 0, 0, 0, 0, clip.new_frames)) + clip.learnable_masks()[rows]
        tracks.seen = F.pad(tracks.seen, (0, clip.new_frames)) + 1

    def _similarity(self, slots: Tensor, embeddings: Tensor) -> Tensor:
        """Similarity [N, Q] of tracks with queries."""
        if self.settings.matching == "mean_cosine":
            slots, embeddings = slots.mean(1, keepdim=True), embeddings.mean(1, keepdim=True)
            return F.normalize(slots[:, 0], dim=-1) @ F.normalize(embeddings[:, 0], dim=-1).t()
        return cosine_similarity(slots, embeddings)

    def take_in(self, state: ObjectState, clip: Clip) -> None:
        """In the first clip, the queries with the best class of all that the model was trained with."""
        if self.tracks is not None:
            return
        classes = self.seeds.ranking_embeddings
        classes = self.seeds.class_embeddings if classes is None else classes
        embeddings, masks = clip.learnable_embeddings(), clip.learnable_masks()
        best = self.class_logits(embeddings.transpose(0, 1)[None], classes)[0].sigmoid().amax(1)
        if self.settings.stability_threshold > 0:
            best = best + mask_quality(masks)
        rows = best.topk(min(MOST_TRACKS, len(best))).indices
        seen = torch.ones(clip.frames, dtype=torch.int64, device=masks.device)
        logits = clip.prediction.class_logits[0, rows]
        self.tracks = QueryTracks(embeddings[rows].mean(1, keepdim=True), logits, 1, masks[rows], seen)

    def _finish_frames(self, count: int, clip: Clip) -> None:
        """No later clip changes the first ``count`` frames that are held."""
        tracks = self.tracks
        for place in range(count):
            self.output.add(tracks.masks[:, place] / tracks.seen[place], clip)
        tracks.masks, tracks.seen = tracks.masks[:, count:], tracks.seen[count:]

    def kept(self, state: ObjectState, clip: Clip) -> None:
        """All objects go on."""

    def give_out(self, state: ObjectState, clip: Clip) -> list[VideoTracks]:
        """Nothing before the end."""
        return []

    def close(
        self, state: ObjectState, clip: Clip, is_last: bool
    ) -> list[VideoTracks] | list[PanopticFrame | VideoSegments]:
        """At the end of the video, its result."""
        if not is_last:
            return []
        self._finish_frames(len(self.tracks.seen), clip)
        return self.output.finish((self.tracks.class_logits / self.tracks.clips).sigmoid(), clip)

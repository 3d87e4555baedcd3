"""Tracks of found objects, put together of the windows in which they were given out."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from univs.inference.clips.clip import Clip
from univs.inference.clips.outputs.store import MaskRuns
from univs.inference.clips.results import TrackScore, VideoTracks
from univs.inference.clips.settings import ClipSettings
from univs.inference.clips.state import ObjectState
from univs.inference.mask_store import MaskStore

# class scores below this are no entries; those above LIKELY_SCORE raise the number of entries
LEAST_SCORE = 0.005
LIKELY_SCORE = 0.05
ENTRIES_PER_LIKELY = 1.5


class TrackWindows:
    """Masks of N objects on disk, and running sums of their class scores over the windows.

    A window counts less where the object had no class in the window before it.
    """

    def __init__(self, settings: ClipSettings) -> None:
        self.settings = settings
        self._store = MaskStore()
        self._runs: list[MaskRuns] = []
        # by id of all objects there ever were: sums [I, K] and numbers [I, K] of positive scores, whether they had a
        # class in their last window [I], quality [I]
        self._sums = self._counts = torch.zeros(0, 0)
        self._had_class = self._quality = torch.zeros(0)

    def add(self, state: ObjectState, clip: Clip, first_frame: int, logits: Tensor) -> list[VideoTracks]:
        """Keep a window of mask logits [N, F, H/4, W/4], whose first frame is ``first_frame``; nothing is final yet."""
        scores = state.mean_scores().cpu()
        has_class, ids = (scores != 0).any(1).float(), state.ids.cpu()
        new = ids >= len(self._runs)
        self._grow(int(new.sum()), scores.shape[1])
        self._had_class[ids[new]] = has_class[new]
        scores = scores * (has_class * (self._had_class[ids] + has_class) / 2)[:, None]
        self._sums[ids] += scores
        self._counts[ids] += (scores > 0).float()
        self._had_class[ids], self._quality[ids] = has_class, state.quality.cpu()
        for identity, masks in zip(ids.tolist(), logits, strict=True):
            self._runs[identity].append(first_frame, clip.enlarged_to_video(masks[None])[0] > 0)
        return []

    def _grow(self, count: int, classes: int) -> None:
        """Make room for new objects; ids are given without gaps."""
        missing = (0, classes - self._sums.shape[1], 0, count)
        self._sums, self._counts = F.pad(self._sums, missing), F.pad(self._counts, missing)
        self._had_class, self._quality = F.pad(self._had_class, (0, count)), F.pad(self._quality, (0, count))
        self._runs += [MaskRuns(self._store) for _ in range(count)]

    def finish(self, clip: Clip) -> list[VideoTracks]:
        """The entries of the whole video, by object, then class."""
        classes = self._sums / self._counts.clamp(min=1)
        scores = classes
        if len(classes):
            scores = classes * (self._quality / (int(self._quality.max()) + 1))[:, None]
        pairs = _chosen(classes, scores, self.settings.max_objects).nonzero()
        entries = tuple(TrackScore(row, category, float(scores[row, category])) for row, category in pairs.tolist())
        frames, size = clip.stop, clip.video_size
        return [VideoTracks(entries, lambda track: self._runs[track].segmentations(frames, size), size, frames)]


def _chosen(classes: Tensor, scores: Tensor, most: int) -> Tensor:
    """Pairs of object and class that are entries, bool [N, K]: one more than ``most``, more where many are likely."""
    valid = classes >= LEAST_SCORE
    if not valid.any():
        return valid
    likely = int(ENTRIES_PER_LIKELY * int((classes > LIKELY_SCORE).sum()))
    ranked = scores[valid].sort(descending=True).values
    return valid & (scores >= ranked[min(max(likely, most), len(ranked) - 1)])

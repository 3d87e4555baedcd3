"""Tracks of a video in which every object has a mask in every frame."""

from __future__ import annotations

import torch
from torch import Tensor

from univs.inference.clips.arithmetic import sure_pixels
from univs.inference.clips.clip import Clip
from univs.inference.clips.outputs.store import FrameArrays, MaskRuns
from univs.inference.clips.results import TrackScore, VideoTracks
from univs.inference.clips.settings import ClipSettings
from univs.inference.mask_store import MaskStore

FEWEST_ENTRIES = 5
# the quality of a mask is measured on about so many frames
QUALITY_FRAMES = 10
LEAST_QUALITY = 0.1


class TracksOfQueries:
    """Run-length codes of the masks of all tracks, and how many of their pixels are sure, of every finished frame."""

    def __init__(self, settings: ClipSettings) -> None:
        self.settings = settings
        self._store = MaskStore()
        self._runs: list[MaskRuns] = []
        # pixels [2, N] of each frame with logits above 1 and above -1
        self._pixels = FrameArrays(compressed=False)

    def add(self, logits: Tensor, clip: Clip) -> None:
        """The next frame's mask logits [N, H/4, W/4]."""
        self._runs = self._runs or [MaskRuns(self._store) for _ in logits]
        enlarged = clip.enlarged(logits[:, None])
        self._pixels.append(sure_pixels(clip.unpadded(enlarged)).int())
        for run, mask in zip(self._runs, clip.at_video_size(enlarged) > 0, strict=True):
            run.append(len(self._pixels) - 1, mask)

    def finish(self, scores: Tensor, clip: Clip) -> list[VideoTracks]:
        """The best pairs of track and class; ``scores`` [N, K] are the class scores of the tracks."""
        tracks, classes, values = _best_pairs(scores.cpu(), self.settings.max_objects)
        frames, size = len(self._pixels), clip.video_size
        counted = range(0, frames, max(frames // QUALITY_FRAMES, 1))
        inner, outer = torch.stack([self._pixels[number] for number in counted]).sum(0)
        quality = (inner / outer.clamp(min=1)).clamp(min=LEAST_QUALITY)
        entries = tuple(map(TrackScore, tracks.tolist(), classes.tolist(), (values * quality[tracks]).tolist()))
        return [VideoTracks(entries, lambda track: self._runs[track].segmentations(frames, size), size, frames)]


def _best_pairs(scores: Tensor, most: int) -> tuple[Tensor, Tensor, Tensor]:
    """Rows, classes and scores of the best pairs; of tracks that are no better than others, fewer classes count."""
    rows = scores.amax(1).argsort(descending=True, stable=True)[:most]
    flat = scores[rows].flatten()
    likely = int((flat > 2 / scores.shape[1]).sum())
    values, places = flat.topk(min(most, max(likely, FEWEST_ENTRIES), len(flat)))
    return rows[places // scores.shape[1]], places % scores.shape[1], values

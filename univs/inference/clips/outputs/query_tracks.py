"""Tracks of a video in which every object has a mask in every frame."""

from __future__ import annotations

import torch
from torch import Tensor

from univs.inference.clips.clip import Clip
from univs.inference.clips.outputs.store import FrameArrays, MaskRuns
from univs.inference.clips.results import TrackScore, VideoTracks
from univs.inference.clips.settings import ClipSettings
from univs.inference.mask_store import MaskStore

FEWEST_ENTRIES = 5
# the quality of a mask is measured on about so many frames
QUALITY_FRAMES = 10
LEAST_QUALITY = 0.1


def tracks_of_queries(scores: Tensor, masks: FrameArrays, clip: Clip, settings: ClipSettings) -> VideoTracks:
    """The best pairs of track and class.

    scores: [N, K] class scores of the tracks. masks: mask logits [N, h, w] of every frame.
    """
    tracks, classes, values = _best_pairs(scores, settings.max_objects)
    chosen, place = tracks.unique(return_inverse=True)
    interval = max(len(masks) // QUALITY_FRAMES, 1)
    store = MaskStore()
    runs = [MaskRuns(store) for _ in chosen]
    inner, outer = (torch.zeros(len(chosen), dtype=torch.int64) for _ in range(2))
    for number, logits in enumerate(masks):
        enlarged = clip.enlarged(logits[chosen.cpu()][:, None])
        if number % interval == 0:
            inner, outer = (
                count + (clip.unpadded(enlarged) > level).flatten(1).sum(1).cpu()
                for count, level in ((inner, 1.0), (outer, -1.0))
            )
        for run, mask in zip(runs, clip.at_video_size(enlarged) > 0, strict=True):
            run.append(number, mask)
    quality = (inner / outer.clamp(min=1)).clamp(min=LEAST_QUALITY)[place.cpu()]
    return VideoTracks(
        tuple(map(TrackScore, tracks.tolist(), classes.tolist(), (values.cpu() * quality).tolist())),
        lambda track: runs[chosen.tolist().index(track)].segmentations(len(masks), clip.video_size),
        clip.video_size,
        len(masks),
    )


def _best_pairs(scores: Tensor, most: int) -> tuple[Tensor, Tensor, Tensor]:
    """Rows, classes and scores of the best pairs; of tracks that are no better than others, fewer classes count."""
    rows = scores.amax(1).argsort(descending=True, stable=True)[:most]
    flat = scores[rows].flatten()
    likely = int((flat > 2 / scores.shape[1]).sum())
    values, places = flat.topk(min(most, max(likely, FEWEST_ENTRIES), len(flat)))
    return rows[places // scores.shape[1]], places % scores.shape[1], values

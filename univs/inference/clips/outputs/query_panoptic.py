"""Panoptic maps of a video in which every object has a mask in every frame."""

from __future__ import annotations

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor

from univs.inference.clips.arithmetic import sure_pixels
from univs.inference.clips.clip import Clip
from univs.inference.clips.outputs.segments import SegmentNumbers
from univs.inference.clips.outputs.store import FrameArrays
from univs.inference.clips.overlap import Shares, own_part, pixel_owner
from univs.inference.clips.results import PanopticFrame, VideoSegments
from univs.inference.clips.settings import ClipSettings

OUTPUT_HEIGHT = 720
# the quality of a mask is measured on every so many-th frame, and counts half as much as the class
QUALITY_INTERVAL = 5
QUALITY_WEIGHT = 0.5


class PanopticOfQueries:
    """Mask logits of all tracks, of every finished frame; who owns a pixel is known when the video has ended."""

    def __init__(self, settings: ClipSettings, things: Iterable[int]) -> None:
        self.settings, self.things = settings, frozenset(things)
        self._masks = FrameArrays(compressed=False)

    def add(self, logits: Tensor, clip: Clip) -> None:
        """The next frame's mask logits [N, H/4, W/4]."""
        self._masks.append(logits)

    def finish(self, scores: Tensor, clip: Clip) -> list[PanopticFrame | VideoSegments]:
        """The maps of all frames, 720 rows high, and their segments; ``scores`` [N, K] are the tracks' class scores."""
        masks, settings = self._masks, self.settings
        best, classes = scores.max(1)
        least = best.sort(descending=True).values[min(settings.max_objects, len(best)) - 1]
        rows = (best > least.clamp(min=settings.object_threshold)).nonzero().flatten()
        size = OUTPUT_HEIGHT, int(OUTPUT_HEIGHT * clip.video_size[1] / clip.video_size[0])
        if not len(rows):
            blank = torch.zeros(size, dtype=torch.int32)
            return [*(PanopticFrame(frame, lambda: blank) for frame in range(len(masks))), VideoSegments(())]
        owners, counted = _owners(best[rows] + QUALITY_WEIGHT * _quality(masks, rows, clip), masks, rows, clip, size)
        numbers = SegmentNumbers(self.things)
        table = numbers.table(classes[rows], counted.visible & (counted.ratio >= settings.overlap_threshold)).cpu()
        frames = [PanopticFrame(frame, lambda frame=frame: _read(owners, frame, table)) for frame in range(len(masks))]
        tracks = tuple(int(rows[row]) for row in numbers.rows)
        return [*frames, VideoSegments(numbers.segments(table.tolist()), tracks)]


def _read(owners: FrameArrays, frame: int, table: Tensor) -> Tensor:
    return table[owners[frame].long()].to(torch.int32)


def _enlarged(masks: Tensor, rows: Tensor, clip: Clip) -> Tensor:
    """Mask logits [n, H0, W0] of some tracks in one frame."""
    return clip.unpadded(clip.enlarged(masks[rows.cpu()].to(rows.device)[:, None]))[:, 0]


def _quality(masks: FrameArrays, rows: Tensor, clip: Clip) -> Tensor:
    """Mask quality [n] on every fifth frame."""
    measured = range(0, len(masks), QUALITY_INTERVAL)
    inner, outer = sum(sure_pixels(_enlarged(masks[number], rows, clip)) for number in measured)
    return inner / outer.clamp(min=1)


def _owners(
    scores: Tensor, masks: FrameArrays, rows: Tensor, clip: Clip, size: tuple[int, int]
) -> tuple[FrameArrays, Shares]:
    """Who owns each pixel of its own mask, a map int16 ``size`` per frame, and the pixels of each over all frames."""
    owners, counted = FrameArrays(compressed=True), Shares.none(len(rows), rows.device)
    for logits in masks:
        probabilities = _enlarged(logits, rows, clip).sigmoid()
        owner = pixel_owner(probabilities * scores[:, None, None], (probabilities >= 0.5).any(0))
        owner = F.interpolate(owner[None, None].double(), size=size, mode="nearest")[0, 0].long()
        own = F.interpolate(probabilities[None], size=size, mode="bilinear", align_corners=False)[0] >= 0.5
        counted = counted + Shares.count(owner, own)
        owners.append(own_part(owner, own).to(torch.int16))
    return owners, counted

"""Panoptic maps of found objects, one window of frames after the other, with ids that last for the whole video."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from univs.inference.clips.arithmetic import sure_pixels
from univs.inference.clips.clip import Clip
from univs.inference.clips.outputs.store import FrameArrays
from univs.inference.clips.overlap import Shares, own_part, pixel_owner
from univs.inference.clips.results import PanopticFrame, Segment, VideoSegments
from univs.inference.clips.seeds import VideoSeeds
from univs.inference.clips.settings import ClipSettings
from univs.inference.clips.state import ObjectState

# scores of stuff count less until the object is a segment of its own; known things need half the share of their masks
STUFF_WEIGHT = 0.75
KNOWN_FACTOR = 0.5


class PanopticWindows:
    """Segments so far: of things by object (id), of stuff by class."""

    def __init__(self, settings: ClipSettings, seeds: VideoSeeds) -> None:
        self.settings, self.things = settings, seeds.things
        self._of_object: dict[int, int] = {}
        self._of_class: dict[int, int] = {}
        # class that a thing had last
        self._classes: dict[int, int] = {}
        # who keeps all results of a video, to read them at its end, keeps no maps in memory
        self._maps = FrameArrays(compressed=True)

    def add(self, state: ObjectState, clip: Clip, first_frame: int, logits: Tensor) -> list[PanopticFrame]:
        """The maps of a window of mask logits [N, F, H/4, W/4], whose first frame is ``first_frame``."""
        if not len(state):
            return self._stored(first_frame, torch.zeros(logits.shape[1], *clip.video_size, dtype=torch.int32))
        scores, classes = state.mean_scores().max(1)
        is_thing = torch.tensor([category in self.things for category in classes.tolist()], device=scores.device)
        ids = state.ids.tolist()
        known = torch.tensor([identity in self._of_object for identity in ids], device=scores.device)
        scores = scores * _quality(clip, logits) * torch.where(known | is_thing, 1.0, STUFF_WEIGHT)
        owners, counted = _owners(clip, logits, scores)
        least = self.settings.overlap_threshold * torch.where(known, KNOWN_FACTOR, 1.0)
        table = self._number(ids, classes, is_thing, counted.visible & (~is_thing | (counted.ratio >= least)))
        self._classes.update(zip(ids, classes.tolist(), strict=True))
        return self._stored(first_frame, table[owners.cpu().long()].to(torch.int32))

    def _stored(self, first_frame: int, maps: Tensor) -> list[PanopticFrame]:
        """Maps [F, Ho, Wo] of the frames from ``first_frame`` on."""
        frames = []
        for number, ids in enumerate(maps):
            frames.append(PanopticFrame(first_frame + number, partial(self._maps.__getitem__, len(self._maps))))
            self._maps.append(ids)
        return frames

    def _number(self, objects: Sequence[int], classes: Tensor, is_thing: Tensor, kept: Tensor) -> Tensor:
        """Segment ids by row, 0 for rows that are not kept and, last, for nobody.

        As published, the ids of a window skip one number after those of the window before.
        """
        ids = [*self._of_object.values(), *self._of_class.values()]
        newest = max(ids) + 1 if ids else 0
        table = torch.zeros(len(classes) + 1, dtype=torch.int64)
        for row in kept.nonzero().flatten().tolist():
            listed, key = (self._of_object, objects[row]) if is_thing[row] else (self._of_class, int(classes[row]))
            if key not in listed:
                newest += 1
                listed[key] = newest
            table[row] = listed[key]
        return table

    def finish(self, clip: Clip) -> list[VideoSegments]:
        """Things with the classes that they have in the end, then stuff."""
        things = ((number, self._classes[identity]) for identity, number in self._of_object.items())
        segments = [Segment(number, category, category in self.things) for number, category in things]
        segments += [Segment(identity, category, False) for category, identity in self._of_class.items()]
        return [VideoSegments(tuple(segments))]


def _quality(clip: Clip, logits: Tensor) -> Tensor:
    """Mask quality [N] of logits [N, F, H/4, W/4] at the video's own size, frame by frame."""
    inner, outer = sum(sure_pixels(clip.enlarged_to_video(frame)) for frame in logits.split(1, dim=1))
    return inner / outer.clamp(min=1)


def _owners(clip: Clip, logits: Tensor, scores: Tensor) -> tuple[Tensor, Shares]:
    """Who owns each pixel of its own mask, int16 [F, Ho, Wo], -1 nobody, and the pixels of each in all frames."""
    owners, counted = [], Shares.none(len(scores), scores.device)
    for frame in logits.split(1, dim=1):
        frame = clip.enlarged_to_video(frame)[:, 0]
        own = frame.sigmoid() >= 0.5
        owner = pixel_owner(frame * scores[:, None, None], own.any(0))
        counted = counted + Shares.count(owner, own)
        owners.append(own_part(owner, own).to(torch.int16))
    return torch.stack(owners), counted

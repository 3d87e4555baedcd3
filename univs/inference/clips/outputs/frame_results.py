"""Results of a stream of clips as frames of objects, the form in which everything else takes results."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from pycocotools import mask as coco_mask

from univs.inference.clips.results import (
    FrameMasks,
    ImageResult,
    PanopticFrame,
    SemanticFrame,
    VideoSegments,
    VideoTracks,
)
from univs.structures import FrameResult, ObjectResult


def frame_of_masks(result: FrameMasks) -> FrameResult:
    """Followed objects; a pixel of several belongs to the first of them. Ids that begin at 0 are raised by 1."""
    raised = 1 if min(result.ids, default=1) == 0 else 0
    masks, taken = result.masks.cpu().numpy(), np.zeros(result.masks.shape[1:], bool)
    objects = []
    for identity, mask in zip(result.ids, masks, strict=True):
        objects.append(ObjectResult(identity + raised, mask & ~taken, 1.0))
        taken = taken | mask
    return FrameResult(result.index, objects)


def frame_of_answers(result: FrameMasks) -> FrameResult:
    """Objects that each answer a sentence, named by its id; their masks may overlap."""
    rows = zip(result.ids, result.masks.cpu().numpy(), strict=True)
    return FrameResult(result.index, [ObjectResult(identity, mask, 1.0, name=str(identity)) for identity, mask in rows])


def frame_of_classes(result: SemanticFrame, names: Sequence[str]) -> FrameResult:
    """One object per class that occurs, its id the class counted from 1; ``names`` of all classes."""
    classes = result.classes.cpu().numpy()
    objects = [ObjectResult(int(c) + 1, classes == c, 1.0, names[c]) for c in np.unique(classes)]
    return FrameResult(result.index, objects)


def frame_of_segments(result: PanopticFrame, segments: VideoSegments, names: Sequence[str]) -> FrameResult:
    """The segments of a panoptic map that occur in the frame, with the classes that they have in the whole video."""
    ids = result.ids().cpu().numpy()
    present = set(np.unique(ids).tolist())
    objects = [
        ObjectResult(segment.id, ids == segment.id, 1.0, names[segment.category])
        for segment in segments.segments
        if segment.id in present
    ]
    return FrameResult(result.index, objects)


def frames_of_tracks(tracks: VideoTracks, names: Sequence[str]) -> Iterator[FrameResult]:
    """One object per entry, numbered from 1 in the order of the result; entries of one track have the same masks, and
    the masks of several tracks may overlap."""
    codes = {entry.track: tracks.segmentations(entry.track) for entry in tracks.entries}
    for number in range(tracks.frames):
        masks = {track: coco_mask.decode(next(frames)).astype(bool) for track, frames in codes.items()}
        objects = [
            ObjectResult(place + 1, masks[entry.track], entry.score, names[entry.category])
            for place, entry in enumerate(tracks.entries)
        ]
        yield FrameResult(number, objects)


def track_records(tracks: VideoTracks, video_id: int | str, category_ids: Sequence[int]) -> list[dict[str, object]]:
    """Entries of a list of video instance results; ``category_ids`` are the data set's numbers of the classes."""
    height, width = tracks.size
    return [
        {
            "video_id": video_id,
            "score": entry.score,
            "category_id": category_ids[entry.category],
            "segmentations": list(tracks.segmentations(entry.track)),
            "height": height,
            "width": width,
        }
        for entry in tracks.entries
    ]


def picture_of_instances(result: ImageResult, names: Sequence[str]) -> FrameResult:
    """The instances of a picture, numbered from 1, the best first; their masks may overlap."""
    found = result.instances
    masks, classes = found.masks.cpu().numpy(), found.classes.tolist()
    rows = zip(masks, found.scores.tolist(), classes, strict=True)
    objects = [ObjectResult(place + 1, mask, score, names[c]) for place, (mask, score, c) in enumerate(rows)]
    return FrameResult(result.index, objects)


def picture_of_segments(result: ImageResult, names: Sequence[str]) -> FrameResult:
    """The panoptic segments of a picture."""
    ids = torch.as_tensor(result.panoptic)
    frame = PanopticFrame(result.index, lambda: ids)
    return frame_of_segments(frame, VideoSegments(result.segments), names)

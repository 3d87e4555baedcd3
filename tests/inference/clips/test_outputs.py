"""What is made of followed objects: entries of tracks, numbers of segments, frames of objects, stored arrays."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from pycocotools import mask as coco_mask

from univs.inference.clips.outputs.frame_results import (
    frame_of_answers,
    frame_of_classes,
    frame_of_masks,
    frame_of_segments,
    frames_of_tracks,
    picture_of_instances,
    picture_of_segments,
    track_records,
)
from univs.inference.clips.outputs.panoptic import PanopticWindows
from univs.inference.clips.outputs.segments import SegmentNumbers
from univs.inference.clips.outputs.store import FrameArrays, MaskRuns
from univs.inference.clips.outputs.tracks import TrackWindows
from univs.inference.clips.results import (
    FrameMasks,
    ImageResult,
    Instances,
    PanopticFrame,
    Segment,
    SemanticFrame,
    TrackScore,
    VideoSegments,
    VideoTracks,
)
from univs.inference.clips.seeds import VideoSeeds
from univs.inference.clips.settings import ClipSettings
from univs.inference.mask_store import MaskStore

SIZE = (2, 4)
NAMES = ("cat", "dog", "sky")


class _Clip(SimpleNamespace):
    video_size = SIZE

    def enlarged_to_video(self, masks):
        return masks


class _State(SimpleNamespace):
    """Only mean class scores and qualities; logits are given apart."""

    def __len__(self) -> int:
        return len(self.scores)

    @property
    def ids(self) -> torch.Tensor:
        return torch.arange(len(self))

    def mean_scores(self) -> torch.Tensor:
        return torch.tensor(self.scores)


def _logits(*rows: tuple[int, int], frames: int = 1) -> torch.Tensor:
    """Logits [N, F, 2, 4]: each object has the columns from the first number to the one before the second."""
    logits = torch.full((len(rows), frames, *SIZE), -5.0)
    for row, (start, stop) in enumerate(rows):
        logits[row, :, :, start:stop] = 5.0
    return logits


def _entries(windows: list[list[list[float]]], quality: list[float], most: int = 10) -> list[tuple[int, int, float]]:
    """Entries (object, class, score) of a video whose objects had these class scores in each window."""
    tracks = TrackWindows(ClipSettings(max_objects=most))
    for number, scores in enumerate(windows):
        state = _State(scores=scores, quality=torch.tensor(quality[: len(scores)]))
        tracks.add(state, _Clip(stop=number + 1), number, _logits(*[(0, 1)] * len(scores)))
    (result,) = tracks.finish(_Clip(stop=len(windows)))
    return [(entry.track, entry.category, round(entry.score, 4)) for entry in result.entries]


def test_scores_are_means_over_windows_times_quality():
    # the largest quality is 3.5: everything is divided by 3 + 1
    assert _entries([[[0.2, 0.4]], [[0.4, 0.2]]], [3.5]) == [(0, 0, 0.2625), (0, 1, 0.2625)]


def test_windows_without_a_class_do_not_count_and_halve_the_next_one():
    (entry,) = _entries([[[0.4]], [[0.0]], [[0.4]]], [3.0])
    # 0.4 and half of 0.4, over two windows, times 3 / 4
    assert entry == (0, 0, 0.225)


def test_an_object_counts_from_the_window_that_it_was_found_in():
    entries = _entries([[[0.4]], [[0.4], [0.2]]], [3.0, 2.0])
    assert entries == [(0, 0, 0.3), (1, 0, 0.1)]


def test_improbable_classes_are_no_entries_whatever_the_quality():
    assert _entries([[[0.0049, 0.3]]], [9.0]) == [(0, 1, 0.27)]
    assert _entries([[[0.001]]], [9.0]) == []


def test_one_entry_more_than_the_limit_stays_or_half_as_many_again_as_are_likely():
    unlikely = [[0.01, 0.02, 0.03, 0.04]]
    assert len(_entries([unlikely], [1.0], most=2)) == 3
    likely = [[0.1, 0.2, 0.3, 0.4, 0.5, 0.04, 0.03, 0.02, 0.01]]
    # five are likely, so that the limit is seven
    assert len(_entries([likely], [1.0], most=2)) == 8


def _panoptic(**settings) -> PanopticWindows:
    return PanopticWindows(ClipSettings(overlap_threshold=0.8, **settings), VideoSeeds(things=frozenset({0, 1})))


def _map(windows: PanopticWindows, state: _State, logits: torch.Tensor) -> list[int]:
    return windows.add(state, _Clip(), 0, logits)[0].ids()[0].tolist()


def test_a_known_thing_may_be_hidden_more_than_a_new_one():
    front, behind = [0.9, 0.0, 0.0], [0.0, 0.5, 0.0]
    windows = _panoptic()
    assert _map(windows, _State(scores=[front, behind]), _logits((0, 1), (0, 3))) == [1, 0, 0, 0]
    assert _map(windows, _State(scores=[front, behind]), _logits((0, 1), (1, 4))) == [1, 3, 3, 3]
    assert _map(windows, _State(scores=[front, behind]), _logits((0, 1), (0, 3))) == [1, 3, 3, 0]


def test_stuff_counts_less_until_it_is_a_thing_of_its_own():
    thing, stuff = [0.4, 0.0, 0.0], [0.0, 0.0, 0.5]
    assert _map(_panoptic(), _State(scores=[thing, stuff]), _logits((0, 4), (0, 4))) == [1, 1, 1, 1]
    better = [0.0, 0.0, 0.6]
    assert _map(_panoptic(), _State(scores=[thing, better]), _logits((0, 4), (0, 4))) == [1, 1, 1, 1]


def test_the_segments_of_a_video_have_the_last_class_of_their_object():
    windows = _panoptic()
    _map(windows, _State(scores=[[0.9, 0.0, 0.0]]), _logits((0, 4)))
    state = _State(scores=[[0.0, 0.0, 0.9]])
    _map(windows, state, _logits((0, 4)))
    (video,) = windows.finish(_Clip())
    # the object turned into stuff and is listed under both
    assert video.segments == (Segment(1, 2, False), Segment(3, 2, False))


def test_segments_of_a_picture():
    numbers = SegmentNumbers({0, 1})
    classes = torch.tensor([2, 0, 2, 0, 1])
    table = numbers.table(classes, torch.tensor([True, True, True, True, False]))
    assert table.tolist() == [1, 2, 1, 3, 0, 0]
    assert numbers.rows == [0, 1, 3]
    assert numbers.segments([0, 1, 3]) == (Segment(1, 2, False), Segment(3, 0, True))


def test_stored_arrays_and_codes_come_back():
    frames = [torch.full((2, 3), float(number)) for number in range(3)]
    for compressed in (False, True):
        arrays = FrameArrays(compressed)
        for frame in frames:
            arrays.append(frame)
        assert len(arrays) == 3 and all(torch.equal(a, b) for a, b in zip(arrays, frames, strict=True))
    runs = MaskRuns(MaskStore())
    masks = torch.rand(2, 5, 7) > 0.5
    runs.append(1, masks)
    decoded = coco_mask.decode(list(runs.segmentations(4, (5, 7)))).transpose(2, 0, 1).astype(bool)
    assert not decoded[[0, 3]].any() and (decoded[1:3] == masks.numpy()).all()


def test_codes_of_many_frames_one_by_one_and_with_gaps():
    runs, masks = MaskRuns(MaskStore()), torch.rand(40, 3, 4) > 0.5
    frames = [*range(20), *range(25, 45)]
    for frame, mask in zip(frames, masks, strict=True):
        runs.append(frame, mask[None])
    decoded = coco_mask.decode(list(runs.segmentations(50, (3, 4)))).transpose(2, 0, 1).astype(bool)
    assert (decoded[frames] == masks.numpy()).all() and not decoded[20:25].any() and not decoded[45:].any()


def test_masks_become_frames_in_which_the_first_object_wins():
    masks = torch.zeros(2, *SIZE, dtype=torch.bool)
    masks[0, :, :2], masks[1, :, 1:] = True, True
    frame = frame_of_masks(FrameMasks(4, (0, 3), masks))
    assert frame.index == 4
    assert frame.palette(*SIZE)[0].tolist() == [1, 1, 4, 4]
    assert frame_of_masks(FrameMasks(0, (2, 3), masks)).palette(*SIZE)[0].tolist() == [2, 2, 3, 3]
    answers = frame_of_answers(FrameMasks(0, (0, 3), masks))
    assert [item.name for item in answers.objects] == ["0", "3"]
    assert [item.mask[0].tolist() for item in answers.objects] == masks[:, 0].tolist()


def test_maps_become_frames():
    classes = torch.tensor([[2, 2, 0, 0]] * 2)
    frame = frame_of_classes(SemanticFrame(1, classes), NAMES)
    assert [(item.object_id, item.category) for item in frame.objects] == [(1, "cat"), (3, "sky")]
    assert (frame.palette(*SIZE) == classes.numpy() + 1).all()
    ids = torch.tensor([[0, 4, 4, 4]] * 2)
    segments = (Segment(1, 0, True), Segment(4, 1, True))
    frame = frame_of_segments(PanopticFrame(0, lambda: ids), VideoSegments(segments), NAMES)
    assert [(item.object_id, item.category) for item in frame.objects] == [(4, "dog")]
    picture = picture_of_segments(ImageResult(0, panoptic=ids, segments=segments), NAMES)
    assert (picture.palette(*SIZE) == ids.numpy()).all()


@pytest.fixture
def tracks() -> VideoTracks:
    runs = MaskRuns(MaskStore())
    runs.append(1, torch.ones(1, *SIZE, dtype=torch.bool))
    entries = (TrackScore(0, 1, 0.5), TrackScore(0, 2, 0.25))
    return VideoTracks(entries, lambda track: runs.segmentations(2, SIZE), SIZE, 2)


def test_tracks_become_frames_with_one_object_per_entry(tracks):
    empty, full = frames_of_tracks(tracks, NAMES)
    assert not any(item.mask.any() for item in empty.objects)
    assert [(item.object_id, item.category, item.score) for item in full.objects] == [(1, "dog", 0.5), (2, "sky", 0.25)]
    assert all(item.mask.all() for item in full.objects)


def test_tracks_become_records(tracks):
    first, second = track_records(tracks, 7, [10, 20, 30])
    assert (first["video_id"], first["category_id"], first["score"]) == (7, 20, 0.5)
    assert (second["category_id"], second["height"], second["width"]) == (30, *SIZE)
    assert [np.sum(coco_mask.decode(code)) for code in second["segmentations"]] == [0, 8]


def test_instances_become_a_frame():
    masks = torch.ones(1, *SIZE, dtype=torch.bool)
    found = Instances(torch.tensor([0.5]), torch.tensor([1]), torch.zeros(1, 4), masks)
    (item,) = picture_of_instances(ImageResult(3, instances=found), NAMES).objects
    assert (item.object_id, item.category, item.score, item.mask.all()) == (1, "dog", 0.5, True)

"""The learnable queries alone: frame tracker, semantic maps, pictures."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from pycocotools import mask as coco_mask

from tests.inference.clips.scripted import CLASSES, SIZE, THINGS, Scripted, ScriptedStream, still
from univs.inference.clips.outputs.query_panoptic import OUTPUT_HEIGHT
from univs.inference.clips.settings import FRAME_TRACKERS, TASKS, ClipSettings

TOP, BOTTOM = slice(0, 4), slice(4, 8)
LEFT, RIGHT, ALL = slice(0, 8), slice(8, 16), slice(0, 16)
NUMBERS = {"clip_frames": 2, "max_objects": 5, "object_threshold": 0.3, "overlap_threshold": 0.5}
TRACKS = ClipSettings(**{**NUMBERS, **FRAME_TRACKERS["vis"]})
PANOPTIC = ClipSettings(**{**NUMBERS, **FRAME_TRACKERS["vps"]})
SEMANTIC = ClipSettings(**{**NUMBERS, "stride": 2, **TASKS["vss"]})
IMAGE = ClipSettings(**{**NUMBERS, "clip_frames": 1, **TASKS["image"]})


def _things() -> list[Scripted]:
    moving = Scripted(0, lambda frame: (TOP, slice(frame, frame + 6)))
    return [moving, still(2, BOTTOM, ALL, logit=1.0), still(1, TOP, RIGHT, range(0), logit=-5.0)]


@pytest.mark.parametrize("frames", [1, 2, 7])
def test_tracks_of_queries_have_a_mask_in_every_frame(frames):
    (tracks,) = ScriptedStream(_things(), TRACKS).play(frames)
    assert tracks.frames == frames
    best = max(tracks.entries, key=lambda entry: entry.score)
    assert (best.track, best.category) == (0, 0)
    masks = coco_mask.decode(list(tracks.segmentations(0))).transpose(2, 0, 1)
    for frame, mask in enumerate(masks):
        columns = mask[8].nonzero()[0]
        assert abs(columns[0] - 4 * frame) <= 2 and abs(columns[-1] - (4 * frame + 23)) <= 2


def test_at_least_five_entries_and_at_most_the_limit():
    (tracks,) = ScriptedStream(_things(), TRACKS).play(3)
    assert len(tracks.entries) == 5
    (fewer,) = ScriptedStream(_things(), replace(TRACKS, max_objects=2)).play(3)
    assert len(fewer.entries) == 2


def test_masks_of_unstable_queries_still_count_a_little():
    (tracks,) = ScriptedStream(_things(), TRACKS).play(3)
    absent = [entry for entry in tracks.entries if entry.track == 2]
    probability = 1 / (1 + torch.tensor(5.0).exp())
    assert absent[0].score == pytest.approx(0.1 * float(probability), rel=1e-4)


def test_panoptic_maps_of_queries_are_720_rows_high():
    *frames, video = ScriptedStream(_things(), PANOPTIC).play(3)
    maps = torch.stack([frame.ids() for frame in frames])
    assert maps.shape == (3, OUTPUT_HEIGHT, OUTPUT_HEIGHT * SIZE[1] // SIZE[0])
    assert [(item.id, item.category, item.is_thing) for item in video.segments] == [(1, 0, True), (2, 2, False)]
    assert video.tracks == (0, 1)
    assert maps[:, 100, 60].tolist() == [1, 0, 0] and maps[:, 100, 600].tolist() == [0, 1, 1]
    assert (maps[:, 600] == 2).all()


def test_only_tracks_above_the_threshold_are_segments():
    *frames, video = ScriptedStream(_things(), replace(PANOPTIC, object_threshold=0.99)).play(2)
    assert video.segments == () and len(frames) == 2 and not frames[0].ids().any()
    *_, video = ScriptedStream(_things(), replace(PANOPTIC, object_threshold=0.9)).play(2)
    assert [item.category for item in video.segments] == [0]


@pytest.mark.parametrize("frames", [1, 2, 5])
def test_semantic_maps_come_with_every_clip(frames):
    stream = ScriptedStream(_things(), SEMANTIC, video_size=(20, 50))
    results = stream.play(frames)
    assert [result.index for result in results] == list(range(frames))
    assert stream.model.calls == [2] * (frames // 2) + [1] * (frames % 2)
    for result in results:
        assert result.classes.shape == (20, 50) and result.classes.max() < CLASSES
        assert (result.classes[12:] == 2).all()
        assert result.classes[4, 3 + int(50 * result.index / 16)] == 0


def test_pictures_have_all_three_results():
    first, second = ScriptedStream(_things(), IMAGE).play(2)
    assert (first.index, second.index) == (0, 1)
    assert first.semantic.shape == (CLASSES, *SIZE)
    assert (first.semantic.argmax(0)[20:] == 2).all()
    assert [(item.category, item.is_thing) for item in first.segments] == [(0, True), (2, False)]
    assert (first.panoptic[20:] == 2).all() and first.panoptic[4, 4] == 1
    assert set(first.instances.classes.tolist()) == THINGS
    assert first.instances.boxes[0].tolist() == [0.0, 0.0, 23.0, 15.0]


def test_pictures_show_what_is_asked_for():
    (result,) = ScriptedStream(_things(), replace(IMAGE, image_outputs=("instances",))).play(1)
    assert result.semantic is None and result.panoptic is None
    assert len(result.instances.scores) > 0


def test_a_picture_without_sure_queries_is_empty():
    (result,) = ScriptedStream(_things(), replace(IMAGE, object_threshold=1.0)).play(1)
    assert not result.panoptic.any() and result.segments == ()
    (result,) = ScriptedStream(_things(), replace(IMAGE, stability_threshold=1.0)).play(1)
    assert len(result.instances.scores) == 0 and not result.panoptic.any()


def test_where_nothing_is_countable_the_most_thinglike_queries_are_instances():
    stuff = [still(2, TOP, ALL), still(3, BOTTOM, ALL)]
    (result,) = ScriptedStream(stuff, IMAGE).play(1)
    assert set(result.instances.classes.tolist()) <= THINGS
    assert len(result.instances.scores) > 0

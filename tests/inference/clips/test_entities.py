"""Found objects beyond the stored cases: windows, late objects, short videos, strides, corrections."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from pycocotools import mask as coco_mask

from tests.inference.clips.scripted import SIZE, ScriptedStream, still
from univs.inference.clips.settings import TASKS, ClipSettings, Corrections

TOP, BOTTOM = slice(0, 4), slice(4, 8)
LEFT, MIDDLE, RIGHT = slice(0, 5), slice(5, 10), slice(10, 16)
NUMBERS = {"clip_frames": 2, "memory_frames": 2, "window_frames": 2, "class_threshold": 0.3, "max_objects": 10}
PANOPTIC = ClipSettings(**{**NUMBERS, **TASKS["vps"]})
TRACKS = ClipSettings(**{**NUMBERS, **TASKS["vis"]})


def _maps(results) -> torch.Tensor:
    assert [frame.index for frame in results[:-1]] == list(range(len(results) - 1))
    return torch.stack([frame.ids() for frame in results[:-1]])


def _track_masks(tracks, track: int) -> torch.Tensor:
    return torch.from_numpy(coco_mask.decode(list(tracks.segmentations(track)))).permute(2, 0, 1).bool()


def test_maps_come_in_windows_and_hold_every_frame_once():
    stream = ScriptedStream([still(0, TOP, LEFT), still(2, BOTTOM, RIGHT)], PANOPTIC)
    counts = []
    for number in range(30):
        counts.append(len(stream.step(torch.full((3, *SIZE), float(number)))))
    # ten frames after the clips that begin with frames 12 and 22, as soon as the next one begins
    assert [number for number, count in enumerate(counts) if count] == [14, 24]
    assert counts[14] == counts[24] == 10
    assert len(stream.finish()) == 10 + 1


def test_masks_are_held_until_their_window_is_given_out():
    stream = ScriptedStream([still(0, TOP, LEFT)], PANOPTIC)
    stream.play(60)
    assert max(stream.held) <= 10 + PANOPTIC.memory_frames + PANOPTIC.clip_frames
    assert max(stream.held[30:]) == max(stream.held[:30])


def test_regular_windows_are_the_published_ones_where_these_are_regular():
    things = [still(0, TOP, LEFT), still(1, BOTTOM, RIGHT, range(17, 99))]
    regular = replace(PANOPTIC, corrections=Corrections(regular_windows=True))
    streams = [ScriptedStream(things, settings) for settings in (PANOPTIC, regular)]
    maps = [_maps(stream.play(50)) for stream in streams]
    assert torch.equal(*maps) and streams[0].held == streams[1].held


@pytest.mark.parametrize("changes", [{"memory_frames": 12}, {"stride": 2, "memory_frames": 3}])
def test_regular_windows_bound_what_is_held(changes):
    published = ScriptedStream([still(0, TOP, LEFT)], replace(PANOPTIC, **changes))
    published.play(60)
    regular = replace(PANOPTIC, corrections=Corrections(regular_windows=True), **changes)
    stream = ScriptedStream([still(0, TOP, LEFT)], regular)
    assert len(_maps(stream.play(60))) == 60
    assert max(published.held) == 60 and max(stream.held) <= 10 + 12 + 4


@pytest.mark.parametrize("corrected, first_shown", [(False, 20), (True, 17)])
def test_an_object_that_comes_after_a_window_gets_a_number_of_its_own(corrected, first_shown):
    things = [still(0, TOP, LEFT), still(1, BOTTOM, RIGHT, range(17, 99)), still(2, BOTTOM, LEFT)]
    settings = replace(PANOPTIC, class_threshold=0.2, corrections=Corrections(unseen_frames=corrected))
    results = ScriptedStream(things, settings).play(30)
    maps, segments = _maps(results), results[-1].segments
    assert (maps[:, :12, :16] == 1).all()
    assert (maps[:, 20:, :16] == 2).all()
    # as published it claims all pixels of the frames before it, more than it can own, and is left out of that window
    assert (maps[:, 28, 60] == 4).nonzero().min() == first_shown
    assert (maps[first_shown:, 22:, 46:] == 4).all()  # 3 is skipped by the window
    assert [(item.id, item.category, item.is_thing) for item in segments] == [(1, 0, True), (4, 1, True), (2, 2, False)]


def test_stuff_of_one_class_is_one_segment():
    results = ScriptedStream([still(2, TOP, LEFT), still(2, BOTTOM, RIGHT), still(0, TOP, RIGHT)], PANOPTIC).play(6)
    maps = _maps(results)
    assert len(results[-1].segments) == 2
    assert maps[0, 4, 4] == maps[0, 28, 60] != maps[0, 4, 60]


@pytest.mark.parametrize("frames", [1, 2, 3])
@pytest.mark.parametrize("settings", [PANOPTIC, TRACKS], ids=["panoptic", "tracks"])
def test_a_video_shorter_than_a_clip_is_one_clip(settings, frames):
    stream = ScriptedStream([still(0, TOP, LEFT)], replace(settings, clip_frames=5))
    results = stream.play(frames)
    assert stream.model.calls == [frames]
    assert len(results) == (frames + 1 if settings is PANOPTIC else 1)
    masks = _maps(results) == 1 if settings is PANOPTIC else _track_masks(results[0], 0)
    assert masks.shape == (frames, *SIZE) and masks[:, :12, :16].all()


def test_an_empty_video_has_no_results():
    assert ScriptedStream([still(0, TOP, LEFT)], PANOPTIC).play(0) == []


@pytest.mark.parametrize("clip_frames, stride, frames", [(1, 1, 7), (4, 2, 9), (4, 3, 12), (3, 3, 8)])
def test_clips_of_any_length_and_stride_give_every_frame(clip_frames, stride, frames):
    moving = still(0, TOP, LEFT, range(2, 7))
    settings = replace(PANOPTIC, clip_frames=clip_frames, stride=stride, class_threshold=0.1)
    stream = ScriptedStream([still(1, BOTTOM, RIGHT), moving], settings)
    maps = _maps(stream.play(frames))
    assert len(maps) == frames
    assert (maps[:, 20:, 44:] > 0).all()
    assert not maps[7:, :12, :16].any()
    if clip_frames == 3:
        assert stream.model.calls == [3, 3, 2]


def test_as_published_nothing_is_found_after_an_empty_first_clip():
    late = still(0, TOP, LEFT, range(4, 99))
    assert not _maps(ScriptedStream([late], PANOPTIC).play(8)).any()
    corrected = replace(PANOPTIC, class_threshold=0.1, corrections=Corrections(late_finds=True))
    assert (_maps(ScriptedStream([late], corrected).play(8))[4:, :12, :16] > 0).all()


def test_the_score_of_a_late_object_counts_the_clips_before_it_as_zero():
    things = [still(0, TOP, LEFT), still(1, BOTTOM, RIGHT, range(6, 99))]
    (tracks,) = ScriptedStream(things, TRACKS).play(13)
    best = {entry.track: entry.score for entry in tracks.entries if entry.category == things[entry.track].category}
    # twelve clips; the second object is found in the sixth, which begins with frame 5
    assert best[1] < 0.65 * best[0]
    assert not _track_masks(tracks, 1)[:5].any() and _track_masks(tracks, 1)[6:, 20:, 44:].all()


def test_an_object_that_owns_too_little_of_its_mask_is_passed_over():
    # the second object is found in the first clip and then hidden behind the first one
    hidden = still(1, TOP, LEFT, logit=1.0)
    shown = still(1, BOTTOM, RIGHT, logit=1.0)
    together = ScriptedStream([still(0, TOP, LEFT), hidden], replace(TRACKS, nms_threshold=1.1, match_threshold=2.0))
    apart = ScriptedStream([still(0, TOP, LEFT), shown], replace(TRACKS, match_threshold=2.0))
    for stream, clips in ((together, 1), (apart, 5)):
        stream.play(6)
        # without matches of learnable queries, only prompts add to the quality
        assert stream.state.quality.round().tolist() == [5, clips]


def test_new_objects_are_looked_for_at_intervals():
    late = still(1, BOTTOM, RIGHT, range(2, 99))
    stream = ScriptedStream([still(0, TOP, LEFT), late], replace(TRACKS, discovery_interval=4))
    stream.play(8)
    assert stream.state.first_frames.tolist() == [0, 4]


def test_a_find_that_overlaps_a_known_object_is_not_new():
    other = still(1, TOP, slice(0, 6), range(3, 99))
    stream = ScriptedStream([still(0, TOP, LEFT), other], TRACKS)
    stream.play(6)
    assert len(stream.state) == 1


@pytest.mark.parametrize("base", [TRACKS, replace(PANOPTIC, corrections=Corrections(unseen_frames=True))])
def test_objects_that_are_not_seen_for_long_end(base):
    things, frames = [still(0, TOP, LEFT), still(1, BOTTOM, RIGHT, (*range(4), *range(70, 80)))], 80
    whole = ScriptedStream(things, base)
    bounded = ScriptedStream(things, replace(base, forget_after=12))
    kept, left = whole.play(frames), bounded.play(frames)
    assert whole.state.ids.tolist() == [0, 1]
    # the second comes back as a new object
    assert bounded.state.ids.tolist() == [0, 2] and bounded.state.first_frames.tolist()[0] == 0
    if base is TRACKS:
        best = {entry.track: entry.category for entry in sorted(left[0].entries, key=lambda entry: entry.score)}
        assert best == {0: 0, 1: 1, 2: 1}
        assert (_track_masks(left[0], 0) == _track_masks(kept[0], 0)).all()
        first, again = _track_masks(left[0], 1), _track_masks(left[0], 2)
        assert first[:4, 20:, 44:].all() and not first[4:].any()
        assert again[70:, 20:, 44:].all() and not again[:69].any()
    else:
        maps = _maps(left)
        assert ((maps > 0) == (_maps(kept) > 0)).all()
        ids = [set(maps[frame].unique().tolist()) - {0} for frame in (0, 40, 79)]
        assert len(ids[0]) == 2 and len(ids[1]) == 1 and len(ids[2]) == 2 and ids[0] != ids[2]
        classes = {segment.id: segment.category for segment in left[-1].segments}
        assert set(classes) == ids[0] | ids[2] and sorted(classes.values()) == [0, 1, 1]


def test_everything_may_end_and_begin_again():
    late = still(0, TOP, LEFT, (*range(3), *range(60, 70)))
    stream = ScriptedStream([late], replace(TRACKS, forget_after=12))
    stream.play(50)
    assert len(stream.state) == 0
    (tracks,) = ScriptedStream([late], replace(TRACKS, forget_after=12)).play(70)
    assert _track_masks(tracks, 1)[60:, :12, :16].all() and not _track_masks(tracks, 1)[:59].any()

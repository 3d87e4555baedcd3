from __future__ import annotations

import numpy as np
import pytest

from univs.errors import UserError
from univs.inference.predictor import VideoPredictor

from .fake import ColourSegmenter, centre, masks_of, open_session, squares

FRAMES = squares(20)


def predictor() -> VideoPredictor:
    return VideoPredictor(ColourSegmenter())


def test_pushed_frames_give_what_the_whole_video_gives() -> None:
    whole = open_session(FRAMES)
    whole.add_click(1, 0, [centre(0, 0)])
    whole.add_text(2, "green", frame=0)
    expected = masks_of(list(whole.propagate()))
    stream = predictor().open_stream((48, 80))
    stream.add_click(1, 0, [centre(0, 0)])
    stream.add_text(2, "green", frame=0)
    assert masks_of([stream.step(frame) for frame in FRAMES]) == expected


def test_an_iterator_is_read_to_its_end_frame_by_frame() -> None:
    whole = open_session(FRAMES)
    whole.add_click(1, 0, [centre(0, 0)])
    expected = masks_of(list(whole.propagate()))
    session = predictor().open(iter(FRAMES))
    session.add_click(1, 0, [centre(0, 0)])
    assert masks_of(list(session.propagate())) == expected
    assert session.step() is None


def test_objects_come_into_a_running_stream() -> None:
    stream = predictor().open_stream((48, 80))
    for t, frame in enumerate(FRAMES):
        result = stream.step(frame)
        assert set(result.masks) == (set() if t == 0 else {1} if t <= 6 else {1, 2})
        if t == 0:
            stream.add_click(1, 0, [centre(0, 0)])
        if t == 6:
            stream.add_click(2, 6, [centre(1, 6)])


def test_a_correction_of_the_frame_just_seen_acts_from_there_on_and_what_was_given_stays() -> None:
    stream = predictor().open_stream((48, 80))
    stream.add_click(1, 0, [centre(0, 0)])
    given = {}
    for t, frame in enumerate(FRAMES):
        given[t] = stream.step(frame).masks[1]
        if t == 10:
            stream.add_click(1, 10, [(70, 40)], [0])
            stream.add_mask(1, 10, np.roll(given[10], 8, axis=0))
    assert (stream.frame(4).masks[1] == given[4]).all()
    assert stream.objects[1].user_frames[10].base is not None
    assert stream.stale_frames(1) == list(range(1, 10))


def test_a_correction_a_few_frames_back_is_followed_up_to_now() -> None:
    segmenter = ColourSegmenter()
    stream = VideoPredictor(segmenter).open_stream((48, 80))
    stream.add_click(1, 0, [centre(0, 0)])
    for frame in FRAMES[:10]:
        stream.step(frame)
    stream.add_click(1, 6, [centre(0, 6)])
    segmenter.followed.clear()
    stream.step(FRAMES[10])
    assert [t for t, _ in segmenter.followed] == [7, 8, 9, 10]


def test_frames_that_have_passed_or_not_arrived_cannot_be_prompted() -> None:
    stream = predictor().open_stream((48, 80))
    for frame in FRAMES[:12]:
        stream.step(frame)
    with pytest.raises(UserError, match="Frame 13 has not arrived yet; the next one of the stream is 12"):
        stream.add_click(1, 13, [(5, 5)])
    with pytest.raises(UserError, match="Frame 1 has passed"):
        stream.add_click(1, 1, [(5, 5)])
    assert not stream.objects


def test_what_a_stream_has_left_behind_cannot_be_undone() -> None:
    stream = predictor().open_stream((48, 80))
    stream.add_click(1, 0, [centre(0, 0)])
    for frame in FRAMES[:11]:
        stream.step(frame)
    stream.add_click(1, 10, [(70, 40)], [0])
    stream.rename(1, "x")
    stream.step(FRAMES[11])
    assert stream.undo()  # the name
    before = stream.timeline
    with pytest.raises(UserError, match="Frame 0 has passed"):
        stream.undo()
    assert stream.timeline is before
    with pytest.raises(UserError, match="Frame 0 has passed"):
        stream.clear_prompts(1, 10)
    with pytest.raises(UserError, match="cannot be computed again"):
        stream.forget_masks()
    assert stream.step(FRAMES[12]).masks[1].any()


def test_a_sentence_in_a_stream_is_looked_for_from_now_on() -> None:
    frames = squares(20, appear={"red": range(20), "blue": range(12, 20)})
    stream = predictor().open_stream((48, 80))
    for frame in frames[:4]:
        stream.step(frame)
    stream.add_text(1, "blue")
    seen = [t for t in range(4, 20) if stream.step(frames[t]).masks]
    assert seen == list(range(14, 20))


def test_what_a_stream_cannot_do_is_said() -> None:
    session = predictor().open(iter(FRAMES))
    session.add_click(1, 0, [centre(0, 0)])
    with pytest.raises(UserError, match="stream goes forward"):
        session.propagate(direction="backward")
    with pytest.raises(UserError, match="stream goes forward"):
        session.propagate(end=4)
    with pytest.raises(UserError, match="step\\(\\) without a frame"):
        session.step(FRAMES[0])
    with pytest.raises(UserError, match="pixels"):
        predictor().open_stream((48, 80)).step(np.zeros((10, 10, 3), np.uint8))

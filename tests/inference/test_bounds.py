"""Memory that does not grow with the video, damaged frames, and threads."""

from __future__ import annotations

import itertools
import threading

import numpy as np
import pytest

from univs.errors import UserError
from univs.inference.frame_ranges import FrameRanges
from univs.inference.mask_store import IN_MEMORY_BYTES, Entry, FrameTable, MaskStore
from univs.inference.session import VideoSession
from univs.video.arrays import ArraySource
from univs.video.source import FrameReader, LostFrameError

from .fake import ColourSegmenter, centre, masks_of, open_session, square_at, squares


class DamagedSource(ArraySource):
    """Frames of which some cannot be decoded."""

    def __init__(self, frames: list[np.ndarray], lost: set[int]) -> None:
        super().__init__(frames)
        self.lost = lost

    def open_reader(self) -> FrameReader:
        reader = super().open_reader()
        decode, lost = reader.decode, self.lost

        def decode_or_lose(index: int) -> np.ndarray:
            if index in lost:
                raise LostFrameError(index, f"frame {index} is damaged")
            return decode(index)

        reader.decode = decode_or_lose
        return reader


def test_only_damaged_frames_are_left_without_masks() -> None:
    session = VideoSession(ColourSegmenter(), DamagedSource(squares(20), {6, 7, 13}))
    session.add_click(1, 0, [centre(0, 0)])
    session.add_click(1, 16, [centre(0, 16)])
    session.discover(["green"], every=6)
    session.add_text(3, "green")
    results = {result.index: result for result in session.propagate()}
    assert sorted(results) == list(range(20))
    assert [t for t in results if not results[t].masks[1].any()] == [6, 7, 13]


def test_a_prompt_on_a_damaged_frame_is_refused_in_words() -> None:
    session = VideoSession(ColourSegmenter(), DamagedSource(squares(9), {4}))
    session.add_click(1, 4, [centre(0, 4)])
    with pytest.raises(UserError, match="Frame 4 of the video is damaged.*another frame"):
        session.preview(1, 4)


def test_what_is_held_does_not_grow_with_the_video() -> None:
    reports = []
    for count in (40, 400):
        session = open_session(squares(count))
        session.add_click(1, 0, [centre(0, 0)])
        for _ in session.propagate():
            assert session.memory_report()["cached_frames"] <= session.settings.cached_frames
        reports.append(session.memory_report())
    short, long = reports
    assert long["forward"] == short["forward"]
    assert long["feature_bytes"] == short["feature_bytes"]
    assert long["masks"] == 400
    assert long["table_bytes"] <= 32 * 400
    assert long["mask_file_bytes"] < 400 * 300


def test_large_results_move_to_the_disk() -> None:
    store = MaskStore()
    first = store.write(b"a" * (IN_MEMORY_BYTES - 1), 0.5)
    assert not store._file._rolled
    second = store.write(b"bb", 0.25)
    assert store._file._rolled
    assert store.read(second) == b"bb" and store.read(first)[:3] == b"aaa"
    store.close()


def test_a_table_is_filled_in_any_order_and_knows_what_is_missing() -> None:
    table = FrameTable(10)
    for frame in (300, 12, 10):
        table.put(frame, Entry(frame, 1, 0.5))
    assert table.get(12) == Entry(12, 1, 0.5)
    assert table.get(11) is None and table.get(5) is None and table.get(10_000) is None
    assert table.frames().tolist() == [10, 12, 300] and len(table) == 3
    assert table.missing(8, 13).tolist() == [8, 9, 11, 13]
    assert table.missing(299, 301).tolist() == [299, 301]
    assert table.missing(5, 4).tolist() == []


def test_frame_ranges_are_a_set_of_frames() -> None:
    rng = np.random.default_rng(0)
    ranges, expected = FrameRanges(), set()
    for _ in range(200):
        low = int(rng.integers(0, 300))
        high = low + int(rng.integers(0, 4))
        ranges.add(low, high)
        expected |= set(range(low, high + 1))
        assert list(ranges) == sorted(expected) and len(ranges) == len(expected)
    assert all((frame in ranges) == (frame in expected) for frame in range(320))
    assert all(a[1] + 1 < b[0] for a, b in zip(ranges.ranges, ranges.ranges[1:], strict=False))
    assert list(FrameRanges(ranges.ranges)) == sorted(expected)


def test_prompts_from_another_thread_do_not_disturb_a_running_propagation() -> None:
    frames = squares(60)
    expected = open_session(frames)
    expected.add_click(1, 0, [centre(0, 0)])
    masks = {t: each[1] for t, each in masks_of(list(expected.propagate())).items()}
    session, seen = open_session(frames), {}
    session.add_click(1, 0, [centre(0, 0)])
    errors: list[BaseException] = []

    def prompt() -> None:
        try:
            for object_id in range(10, 30):
                session.add_click(object_id, object_id, [centre(1, object_id)])
                session.rename(object_id, "x")
                session.remove(object_id)
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=prompt)
    for result in session.propagate():
        if result.index == 2:
            thread.start()
        seen |= masks_of([result])
    thread.join()
    assert not errors
    assert {t: each[1] for t, each in seen.items()} == masks


def test_propagations_side_by_side_and_masks_dropped_on_the_way_give_the_same_masks() -> None:
    frames = squares(30)

    def prepared() -> VideoSession:
        session = open_session(frames)
        session.add_click(1, 0, [centre(0, 0)])
        session.add_click(1, 18, [centre(0, 18)])
        session.add_click(2, 3, [centre(1, 3)])
        return session

    expected = masks_of(list(prepared().propagate()))
    session, seen = prepared(), {}
    first, second = session.propagate(), session.propagate()
    for steps, run in ((5, first), (12, second), (9, first), (3, second), (20, first), (20, second)):
        for result in itertools.islice(run, steps):
            seen |= masks_of([result])
    assert seen == expected
    session, seen = prepared(), {}
    for result in session.propagate():
        seen |= masks_of([result])
        if result.index in (4, 20):
            session.forget_masks()
    assert seen == expected == masks_of(list(session.propagate()))


def test_a_mask_that_is_not_finite_is_caught_where_it_arises() -> None:
    segmenter = ColourSegmenter()
    session = open_session(squares(4), segmenter)
    session.add_click(1, 0, [centre(0, 0)])
    follow = segmenter.follow

    def broken(*arguments: object) -> dict:
        answers = follow(*arguments)
        for answer in answers.values():
            answer.mask_logits[0, 0] = float("nan")
        return answers

    segmenter.follow = broken
    with pytest.raises(FloatingPointError, match="not finite"):
        list(session.propagate())


def test_odd_sizes_and_one_frame() -> None:
    frame = np.full((37, 53, 3), 110, np.uint8)
    y, x = square_at(0, 0)
    frame[y : y + 14, x : x + 14] = (220, 40, 40)
    session = open_session([frame])
    session.add_click(1, 0, [(x + 7, y + 7)])
    (result,) = session.propagate(direction="both")
    assert result.masks[1].shape == (37, 53)
    assert result.masks[1].sum() == pytest.approx(14 * 14, rel=0.3)

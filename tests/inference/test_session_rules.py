"""The rules of a session that users rely on, each with a test; docs/SESSION.md states them with their reasons."""

from __future__ import annotations

import itertools
import threading

import numpy as np
import pytest

from univs.inference.session import VideoSession
from univs.structures import PointPrompt

from .fake import ColourSegmenter, centre, iou, masks_of, open_session, propagated, square_at, square_mask, squares

FRAMES = squares(24)


def test_a_click_follows_its_object_through_the_video() -> None:
    session = open_session(FRAMES)
    session.add_click(1, frame=0, points=[centre(0, 0)], labels=[1])
    results = list(session.propagate())
    assert [result.index for result in results] == list(range(24))
    for result in results:
        assert iou(result.masks[1], square_mask(0, result.index)) > 0.6
        assert 0 < result.scores[1] <= 1


@pytest.mark.parametrize("kind", ["click", "box", "mask", "scribble", "text"])
def test_every_kind_of_prompt_on_any_frame(kind: str) -> None:
    session = open_session(FRAMES)
    y, x = square_at(0, 9)
    give = {
        "click": lambda: session.add_click(1, 9, [centre(0, 9)]),
        "box": lambda: session.add_box(1, 9, (x, y, x + 14, y + 14)),
        "mask": lambda: session.add_mask(1, 9, square_mask(0, 9)),
        "scribble": lambda: session.add_scribble(1, 9, [[(x + 4, y + 4), (x + 9, y + 9)]]),
        "text": lambda: session.add_text(1, "the red square", frame=9),
    }
    give[kind]()
    results = {result.index: result for result in session.propagate(direction="both")}
    assert sorted(results) == list(range(24))
    for t in (0, 8, 9, 10, 23):
        assert iou(results[t].masks[1], square_mask(0, t)) > 0.6


def test_the_order_of_prompts_does_not_matter() -> None:
    def edits(session: VideoSession) -> list:
        return [
            lambda: session.add_click(1, 0, [centre(0, 0)]),
            lambda: session.add_click(1, 0, [(70, 40)], [0]),
            lambda: session.add_click(1, 12, [centre(0, 12)]),
            lambda: session.add_box(2, 5, (20, 10, 60, 40)),
            lambda: session.add_text(1, "red"),
        ]

    outcomes = []
    for order in itertools.islice(itertools.permutations(range(5)), 0, None, 23):
        session = open_session(FRAMES)
        for place in order:
            edits(session)[place]()
        outcomes.append(propagated(session, direction="both"))
    assert all(outcome == outcomes[0] for outcome in outcomes[1:])


def test_corrections_in_any_order_give_the_same_masks() -> None:
    outcomes = []
    for first, second in ((6, 15), (15, 6)):
        session = open_session(FRAMES)
        session.add_click(1, 0, [centre(0, 0)])
        list(session.propagate())
        session.add_click(1, first, [centre(0, first)])
        session.add_click(1, second, [centre(0, second)])
        outcomes.append(propagated(session))
    assert outcomes[0] == outcomes[1]


def test_clicks_given_one_by_one_or_together_are_one_prompt() -> None:
    together, one_by_one = open_session(FRAMES), open_session(FRAMES)
    together.add_click(1, 3, [centre(0, 3), (70, 45)], [1, 0])
    one_by_one.add_click(1, 3, [(70, 45)], [0])
    one_by_one.add_click(1, 3, [centre(0, 3)])
    assert together.objects == one_by_one.objects
    assert together.objects[1].user_frames[3].prompts == (PointPrompt((centre(0, 3), (70.0, 45.0)), (1, 0)),)


def test_objects_do_not_know_of_each_other() -> None:
    alone = open_session(FRAMES)
    alone.add_click(1, 0, [centre(0, 0)])
    before = propagated(alone)
    together = open_session(FRAMES)
    together.add_click(1, 0, [centre(0, 0)])
    together.add_click(2, 7, [centre(1, 7)])
    together.add_click(2, 14, [centre(1, 14)])
    after = propagated(together)
    assert {t: masks[1] for t, masks in after.items()} == {t: masks[1] for t, masks in before.items()}


def test_an_object_added_after_propagation_changes_others_only_where_they_overlap() -> None:
    session = open_session(FRAMES)
    session.add_click(2, 0, [centre(0, 0)])
    before = {result.index: result.masks[2] for result in session.propagate()}
    session.add_mask(1, 0, square_mask(0, 0) & (np.arange(48) < 9)[:, None])  # half of the same square
    after = {result.index: result for result in session.propagate()}
    for t, result in after.items():
        assert not (result.masks[1] & result.masks[2]).any()
        changed = before[t] ^ result.masks[2]
        assert not (changed & ~result.masks[1]).any()
    assert any((before[t] != after[t].masks[2]).any() for t in after)


def test_adding_late_equals_adding_at_once() -> None:
    late, at_once = open_session(FRAMES), open_session(FRAMES)
    late.add_click(1, 0, [centre(0, 0)])
    list(late.propagate())
    for session in (late, at_once):
        session.add_click(2, 4, [centre(1, 4)])
    at_once.add_click(1, 0, [centre(0, 0)])
    assert propagated(late) == propagated(at_once)


def test_a_given_mask_stays_as_it_is_pixel_by_pixel() -> None:
    session = open_session(FRAMES)
    odd = np.zeros((48, 80), bool)
    odd[3:17, 5:12] = True
    odd[4, 6] = False
    session.add_click(2, 0, [centre(0, 0)])
    session.add_mask(1, 5, odd)
    results = {result.index: result for result in session.propagate(direction="both")}
    assert (results[5].masks[1] == odd).all()
    assert (session.frame(5).masks[1] == odd).all()
    assert not (results[5].masks[2] & odd).any()


def test_a_user_frame_is_never_overwritten_and_bounds_what_a_correction_changes() -> None:
    session = open_session(FRAMES)
    session.add_click(1, 0, [centre(0, 0)])
    session.add_click(1, 10, [centre(0, 10)])
    before = propagated(session)
    session.add_click(1, 16, [(40, 40)])  # something quite different
    after = propagated(session)
    assert {t: before[t] for t in range(11)} == {t: after[t] for t in range(11)}
    assert all(before[t] != after[t] for t in range(11, 24))


def test_a_correction_recomputes_the_two_gaps_at_its_frame_only() -> None:
    segmenter = ColourSegmenter()
    session = open_session(FRAMES, segmenter)
    for t in (0, 8, 16):
        session.add_click(1, t, [centre(0, t)])
    session.add_click(2, 0, [centre(1, 0)])
    propagated(session)
    segmenter.followed.clear()
    session.add_click(1, 12, [centre(0, 12)])
    propagated(session)
    assert {object_id for _, ids in segmenter.followed for object_id in ids} == {1}
    assert {t for t, _ in segmenter.followed} == {9, 10, 11, 13, 14, 15}
    segmenter.followed.clear()
    propagated(session)
    assert segmenter.followed == []


def test_a_correction_starts_from_what_the_user_saw() -> None:
    segmenter = ColourSegmenter()
    session = open_session(FRAMES, segmenter)
    session.add_click(1, 0, [centre(0, 0)])
    shown = {result.index: result.masks[1] for result in session.propagate()}
    session.add_click(1, 10, [(70, 40)], [0])
    session.add_click(1, 10, [centre(0, 10)])
    session.preview(1, 10)
    prompts, base = segmenter.asked[-1]
    assert prompts == (PointPrompt((centre(0, 10), (70.0, 40.0)), (1, 0)),)
    assert (base == shown[10]).all()
    fresh = open_session(FRAMES, segmenter)
    fresh.add_click(1, 10, [centre(0, 10)])
    fresh.preview(1, 10)
    assert segmenter.asked[-1][1] is None


def test_a_correction_acts_at_once_on_its_frame() -> None:
    session = open_session(FRAMES)
    session.add_click(1, 0, [centre(0, 0)])
    list(session.propagate())
    session.add_mask(1, 10, square_mask(1, 10))
    assert (session.frame(10).masks[1] == square_mask(1, 10)).all()
    assert session.stale_frames(1) == [t for t in range(24) if t not in (0, 10)]
    list(session.propagate())
    assert session.stale_frames(1) == []


def test_between_two_user_frames_the_nearer_one_counts_more() -> None:
    session = open_session(FRAMES)
    session.add_mask(1, 0, square_mask(0, 0))
    session.add_mask(1, 12, square_mask(1, 12))  # the user says: from here on it is the other square
    results = {result.index: result.masks[1] for result in session.propagate()}
    assert iou(results[2], square_mask(0, 2)) > 0.6
    assert iou(results[10], square_mask(1, 10)) > 0.6
    assert results[2].sum() and not (results[2] & square_mask(1, 2)).any()


def test_one_go_equals_frame_by_frame_equals_pieces() -> None:
    def prepared() -> VideoSession:
        session = open_session(FRAMES)
        session.add_click(1, 0, [centre(0, 0)])
        session.add_click(1, 13, [centre(0, 13)])
        session.add_text(2, "green")
        session.discover(["red", "blue"], every=6)
        return session

    whole = propagated(prepared())
    stepper = prepared()
    steps = masks_of([stepper.step() for _ in range(24)])
    assert stepper.step() is None
    pieces_session, pieces = prepared(), {}
    for start, end in ((0, 4), (5, 15), (16, 23)):
        pieces |= propagated(pieces_session, start=start, end=end)
    assert whole == steps == pieces


def test_a_range_gives_what_the_whole_gives() -> None:
    whole, part = open_session(FRAMES), open_session(FRAMES)
    for session in (whole, part):
        session.add_click(1, 0, [centre(0, 0)])
        session.add_click(1, 20, [centre(0, 20)])
    expected = propagated(whole)
    assert propagated(part, start=7, end=11) == {t: expected[t] for t in range(7, 12)}
    assert propagated(part) == expected


@pytest.mark.parametrize("stop", [1, 9, 14])
@pytest.mark.parametrize("direction", ["forward", "backward", "both"])
def test_a_cancelled_propagation_keeps_what_is_finished_and_goes_on(stop: int, direction: str) -> None:
    def prepared(segmenter: ColourSegmenter | None = None) -> VideoSession:
        session = open_session(FRAMES, segmenter)
        session.add_click(1, 4, [centre(0, 4)])
        session.add_click(1, 18, [centre(0, 18)])
        session.add_click(2, 11, [centre(1, 11)])
        return session

    expected = propagated(prepared(), direction=direction)
    session, cancel, first = prepared(), threading.Event(), {}
    for result in session.propagate(direction=direction, cancel=cancel):
        first |= masks_of([result])
        if len(first) == stop:
            cancel.set()
    assert first == dict(list(expected.items())[:stop])
    assert propagated(session, direction=direction) == expected


def test_directions_give_their_frames_in_their_order() -> None:
    def order(direction: str, **prompts: int) -> list[int]:
        session = open_session(FRAMES)
        session.add_click(1, prompts["at"], [centre(0, prompts["at"])])
        return [result.index for result in session.propagate(direction=direction)]

    assert order("forward", at=5) == list(range(24))
    assert order("backward", at=5) == list(range(23, -1, -1))
    assert order("both", at=5) == [*range(4, -1, -1), *range(5, 24)]


def test_forward_leaves_out_what_lies_before_an_object_and_backward_adds_it() -> None:
    session = open_session(FRAMES)
    session.add_click(1, 10, [centre(0, 10)])
    forward = {result.index: set(result.masks) for result in session.propagate()}
    assert [t for t, ids in forward.items() if ids == {1}] == list(range(10, 24))
    backward = {result.index: set(result.masks) for result in session.propagate(direction="backward")}
    assert all(ids == {1} for ids in backward.values())


def test_both_equals_forward_then_backward() -> None:
    once, twice = open_session(FRAMES), open_session(FRAMES)
    for session in (once, twice):
        session.add_click(1, 6, [centre(0, 6)])
        session.add_click(1, 17, [centre(0, 17)])
        session.add_click(2, 12, [centre(1, 12)])
    list(twice.propagate())
    list(twice.propagate(direction="backward"))
    expected = masks_of([twice.frame(t) for t in range(24)])
    assert propagated(once, direction="both") == expected


def test_each_frame_is_encoded_exactly_once_in_the_plain_case() -> None:
    segmenter = ColourSegmenter()
    session = open_session(FRAMES, segmenter)
    session.add_click(1, 0, [centre(0, 0)])
    session.add_box(2, 6, (20, 10, 60, 40))
    session.add_text(3, "green")
    session.discover(["red"], every=4)
    list(session.propagate())
    assert len(segmenter.encoded) == len(set(segmenter.encoded)) == 24


def test_frames_without_objects_are_not_encoded() -> None:
    segmenter = ColourSegmenter()
    session = open_session(FRAMES, segmenter)
    session.add_click(1, 15, [centre(0, 15)])
    results = list(session.propagate(end=17))
    assert len(results) == 18
    assert not results[3].objects
    assert len(segmenter.encoded) == 3

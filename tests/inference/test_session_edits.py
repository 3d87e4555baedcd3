"""Edits of a session: objects and prompts that come and go, undo, previews, progress."""

from __future__ import annotations

import numpy as np
import pytest

from univs.errors import UserError
from univs.structures import MaskPrompt, PointPrompt, TextPrompt

from .fake import ColourSegmenter, centre, masks_of, open_session, propagated, squares

FRAMES = squares(24)


def test_prompts_given_while_the_video_runs_act_from_there_on() -> None:
    session = open_session(FRAMES)
    session.add_click(1, 0, [centre(0, 0)])
    seen = {}
    for result in session.propagate():
        seen[result.index] = set(result.masks)
        if result.index == 9:
            session.add_click(2, 9, [centre(1, 9)])
        if result.index == 15:
            session.remove(1)
    assert all(seen[t] == {1} for t in range(10))
    assert all(seen[t] == {1, 2} for t in range(10, 16))
    assert all(seen[t] == {2} for t in range(16, 24))


def test_the_same_input_gives_the_same_bits() -> None:
    outcomes = []
    for _ in range(2):
        session = open_session(FRAMES)
        session.add_click(1, 2, [centre(0, 2)])
        session.add_click(1, 12, [centre(0, 12)])
        session.discover(["green"], every=3)
        outcomes.append(propagated(session, direction="both"))
    assert outcomes[0] == outcomes[1]


def test_objects_are_renamed_removed_and_ids_are_never_used_twice() -> None:
    session = open_session(FRAMES)
    session.add_click(1, 0, [centre(0, 0)])
    session.add_click(5, 0, [centre(1, 0)])
    session.rename(1, "bus")
    assert session.frame(0).objects[0].name == "bus"
    session.remove(5)
    assert list(session.objects) == [1]
    session.discover(["green"], every=4)
    list(session.propagate())
    assert list(session.objects) == [1, 6]


def test_merge_unites_two_objects_on_their_prompted_frames() -> None:
    session = open_session(FRAMES)
    session.add_click(1, 0, [centre(0, 0)])
    session.add_click(2, 0, [centre(1, 0)])
    list(session.propagate())
    parts = session.frame(0).masks
    session.merge(1, 2)
    assert list(session.objects) == [1]
    assert (session.frame(0).masks[1] == parts[1] | parts[2]).all()


def test_merge_wants_masks_on_all_prompted_frames() -> None:
    session = open_session(FRAMES)
    session.add_click(1, 0, [centre(0, 0)])
    session.add_click(2, 8, [centre(1, 8)])
    with pytest.raises(UserError, match="Object 1 has no present mask in frame 8"):
        session.merge(1, 2)
    list(session.propagate())
    one, two = session.frame(8).masks[1], session.frame(8).masks[2]
    session.merge(1, 2)
    assert (session.frame(8).masks[1] == one | two).all()
    with pytest.raises(UserError, match="with itself"):
        session.merge(1, 1)


def test_prompts_are_cleared_by_frame_and_kind() -> None:
    session = open_session(FRAMES)
    session.add_click(1, 0, [centre(0, 0)])
    before = propagated(session)
    session.add_click(1, 10, [centre(0, 10)])
    session.add_box(1, 10, (0, 0, 30, 30))
    session.clear_prompts(1, 10, kind="box")
    assert [prompt.kind for prompt in session.objects[1].user_frames[10].prompts] == ["point"]
    session.clear_prompts(1, 10)
    assert propagated(session) == before
    session.clear_prompts(1)
    assert session.objects[1].user_frames == {}
    assert not session.frame(0).objects


def test_undo_and_redo_bring_masks_back_without_computing() -> None:
    segmenter = ColourSegmenter()
    session = open_session(FRAMES, segmenter)
    session.add_click(1, 0, [centre(0, 0)])
    first = propagated(session)
    session.add_click(1, 12, [(40, 40)])
    second = propagated(session)
    segmenter.followed.clear()
    assert session.undo()
    assert masks_of([session.frame(t) for t in range(24)]) == first == propagated(session)
    assert session.redo()
    assert masks_of([session.frame(t) for t in range(24)]) == second == propagated(session)
    assert segmenter.followed == []
    assert not session.redo()
    assert session.undo() and session.undo() and not session.undo()
    assert not session.objects


def test_an_edit_after_an_undo_ends_the_redo() -> None:
    session = open_session(FRAMES)
    session.add_click(1, 0, [centre(0, 0)])
    session.add_click(2, 0, [centre(1, 0)])
    session.undo()
    session.rename(1, "one")
    assert not session.redo()
    assert list(session.objects) == [1]


def test_undo_is_bounded() -> None:
    session = open_session(FRAMES, undo_steps=3)
    for t in range(6):
        session.add_click(1, t, [centre(0, t)])
    assert [session.undo() for _ in range(4)] == [True, True, True, False]
    assert sorted(session.objects[1].user_frames) == [0, 1, 2]


def test_reset_starts_over_and_can_be_undone() -> None:
    session = open_session(FRAMES)
    session.add_click(3, 0, [centre(0, 0)])
    before = propagated(session)
    session.reset()
    assert not session.objects and len(session.finished) == 0
    assert session.memory_report()["masks"] == 0
    with pytest.raises(UserError, match="nothing to follow"):
        session.propagate()
    session.undo()
    assert propagated(session) == before


def test_an_ambiguous_first_click_has_other_readings() -> None:
    session = open_session(FRAMES)
    session.add_click(1, 0, [centre(0, 0)])
    previews = session.preview(1, 0)
    assert len(previews) == 3
    assert (previews[0].mask == session.frame(0).masks[1]).all()
    other = previews[2].mask
    session.choose(1, 0, other)
    assert (session.frame(0).masks[1] == other).all()
    assert session.objects[1].user_frames[0].prompts == (MaskPrompt.from_array(other),)
    session.add_click(1, 0, [(70, 40)], [0])
    assert len(session.preview(1, 0)) == 1


def test_preview_of_a_followed_frame_and_of_none() -> None:
    session = open_session(FRAMES)
    session.add_click(1, 0, [centre(0, 0)])
    with pytest.raises(UserError, match="no mask in frame 3"):
        session.preview(1, 3)
    results = {result.index: result for result in session.propagate(end=3)}
    assert (session.preview(1, 3)[0].mask == results[3].masks[1]).all()


def test_an_empty_mask_says_that_the_object_is_not_there() -> None:
    session = open_session(FRAMES)
    session.add_click(1, 0, [centre(0, 0)])
    session.add_mask(1, 10, np.zeros((48, 80), bool))
    results = {result.index: result for result in session.propagate()}
    assert results[3].masks[1].any()
    assert not results[10].masks[1].any()


def test_a_sentence_and_a_click_on_one_frame_are_answered_together() -> None:
    segmenter = ColourSegmenter()
    session = open_session(FRAMES, segmenter)
    session.add_text(1, "red", frame=2)
    session.add_click(1, 2, [centre(0, 2)])
    session.preview(1, 2)
    assert segmenter.asked[-1][0] == (PointPrompt((centre(0, 2),), (1,)), TextPrompt("red"))


def test_progress_is_told_up_to_its_end() -> None:
    session = open_session(FRAMES)
    session.add_click(1, 3, [centre(0, 3)])
    session.add_click(1, 20, [centre(0, 20)])
    steps: list[tuple[int, int]] = []
    list(session.propagate(direction="both", on_step=lambda done, total: steps.append((done, total))))
    assert [done for done, _ in steps] == list(range(1, len(steps) + 1))
    assert steps[-1][0] == steps[-1][1]
    assert all(done <= total for done, total in steps)

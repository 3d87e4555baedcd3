from __future__ import annotations

import numpy as np
import pytest

from univs.errors import SessionWarning
from univs.inference.session import VideoSession
from univs.structures import FrameResult, TextPrompt

from .fake import ColourSegmenter, centre, masks_of, open_session, squares


def ids(results: list[FrameResult]) -> dict[int, list[int]]:
    """The frames in which each object has pixels."""
    out: dict[int, list[int]] = {}
    for result in sorted(results, key=lambda each: each.index):
        for object_id, mask in result.masks.items():
            if mask.any():
                out.setdefault(object_id, []).append(result.index)
    return out


def test_categories_are_found_every_few_frames_and_take_the_next_free_ids() -> None:
    frames = squares(20, appear={"red": range(20), "green": range(20), "blue": range(7, 20)})
    session = open_session(frames)
    session.add_click(4, 0, [centre(1, 0)])  # the green one
    session.discover(["red", "green", "blue"], every=5)
    found = ids(list(session.propagate()))
    assert found == {4: list(range(20)), 5: list(range(20)), 6: list(range(10, 20))}
    objects = session.objects
    assert [(objects[i].category, objects[i].discovered) for i in (4, 5, 6)] == [
        ("green", False),  # the user's own object learns its category and stays the user's
        ("red", True),
        ("blue", True),
    ]
    assert objects[5].score == pytest.approx(0.9)
    assert session.frame(12).categories == {4: "green", 5: "red", 6: "blue"}


def test_what_was_found_and_removed_does_not_come_back() -> None:
    session = open_session(squares(20))
    session.discover(["red", "green"], every=5)
    list(session.propagate())
    assert list(session.objects) == [1, 2]
    session.remove(1)
    assert set(ids(list(session.propagate()))) == {2}


def test_what_is_mostly_covered_by_known_objects_is_nothing_new() -> None:
    frames = squares(10)
    for every, covered in ((True, 0.7), (False, 1.1)):
        session = open_session(frames, covered_share=covered, same_iou=1.1)
        session.add_click(1, 0, [centre(0, 0)])
        session.discover(["red"], every=20)
        list(session.propagate())
        assert (list(session.objects) == [1]) is every


def test_weak_finds_are_left_out() -> None:
    session = open_session(squares(5), discovery_threshold=0.95)
    session.discover(["red"])
    with pytest.warns(SessionWarning, match="Nothing was found of red in the frames 0 to 4"):
        list(session.propagate())
    assert not session.objects


def test_a_found_object_is_corrected_like_any_other() -> None:
    segmenter = ColourSegmenter()
    session = open_session(squares(20), segmenter)
    session.discover(["red"], every=5)
    list(session.propagate())
    seed = session.objects[1].user_frames[0]
    session.add_click(1, 0, [(70, 40)], [0])
    assert session.objects[1].user_frames[0].base == seed.base
    session.preview(1, 0)
    assert (segmenter.asked[-1][1] == seed.base.to_array()).all()
    session.add_click(1, 9, [centre(1, 9)])
    session.rename(1, "van")
    assert ids(list(session.propagate()))[1][:15] == list(range(15))


def test_found_objects_that_vanished_expire_and_their_results_stay() -> None:
    frames = squares(30, appear={"red": range(8), "green": range(30)})
    segmenter = ColourSegmenter()
    session = open_session(frames, segmenter, expire_frames=4)
    session.discover(["red", "green"], every=50)
    session.add_click(9, 0, [centre(0, 0)])
    session.rename(9, "mine")
    list(session.propagate(end=0))
    found = ids(list(session.propagate()))
    assert found[9] == list(range(8))
    followed = {t: given for t, given in segmenter.followed}
    green = next(i for i in session.objects if i != 9)
    assert found[green] == list(range(30))
    assert all(9 in followed[t] for t in range(1, 30))  # the user's own object is waited for
    session = open_session(frames, segmenter := ColourSegmenter(), expire_frames=4)
    session.discover(["red", "green"], every=50)
    found = ids(list(session.propagate()))
    assert found[1] == list(range(8))
    assert [t for t, given in segmenter.followed if 1 in given] == list(range(1, 12))
    assert session.memory_report()["forward"]["objects"] == 1
    assert not session.frame(25).masks[1].any()


def test_a_range_is_searched_from_its_first_frame_on() -> None:
    session = open_session(squares(12))
    session.discover(["red"], every=5)
    assert ids(list(session.propagate(start=3)))[1] == list(range(3, 12))
    (search,) = session.timeline.searches
    assert search.done == {3, 5, 10}


def test_categories_go_backwards_too() -> None:
    session = open_session(squares(12, appear={"red": range(12), "blue": range(6)}))
    session.discover(["red", "blue"], every=4)
    found = ids(list(session.propagate(direction="backward")))
    assert found == {1: list(range(12)), 2: list(range(5))}


def test_the_same_categories_again_change_only_how_often() -> None:
    session = open_session(squares(12))
    session.discover(["red"], every=6)
    list(session.propagate(end=3))
    session.discover("red", every=3)
    (search,) = session.timeline.searches
    assert (search.names, search.every, search.done) == (("red",), 3, frozenset({0}))


@pytest.mark.parametrize("direction", ["forward", "backward", "both"])
def test_a_sentence_is_looked_for_from_frame_0_every_few_frames(direction: str) -> None:
    frames = squares(20, appear={"red": range(20), "blue": range(7, 20)})
    session = open_session(frames)
    session.add_text(3, "the blue one")
    results = list(session.propagate(direction=direction))
    assert [frame.frame for frame in session.objects[3].frames] == [10]
    assert session.objects[3].user_frames[10].prompts == (TextPrompt("the blue one"),)
    expected = {"forward": range(10, 20), "backward": range(7, 11), "both": range(7, 20)}
    assert ids(results)[3] == list(expected[direction])


def test_a_sentence_that_fits_nothing_is_said_and_the_rest_goes_on() -> None:
    session = open_session(squares(12))
    session.add_text(1, "a yellow thing")
    session.add_text(2, "green")
    with pytest.warns(SessionWarning, match='Object 1, "a yellow thing", was not found in the frames 0 to 11'):
        found = ids(list(session.propagate()))
    assert found == {2: list(range(12))}


def test_a_sentence_goes_to_the_frame_that_the_user_prompts() -> None:
    session = open_session(squares(12))
    session.add_text(1, "red")
    session.add_click(1, 7, [centre(0, 7)])
    assert [prompt.kind for prompt in session.objects[1].user_frames[7].prompts] == ["point", "text"]
    session.add_click(1, 3, [centre(0, 3)])
    assert [len(item.prompts) for item in session.objects[1].user_frames.values()] == [2, 1]
    session.clear_prompts(1, kind="text")
    assert [len(item.prompts) for item in session.objects[1].user_frames.values()] == [1, 1]


def test_a_found_sentence_is_refined_by_clicks_on_its_frame_and_elsewhere() -> None:
    segmenter = ColourSegmenter()
    session = open_session(squares(12), segmenter)
    session.add_text(1, "red")
    list(session.propagate())
    session.add_click(1, 0, [(70, 40)], [0])
    session.preview(1, 0)
    prompts, base = segmenter.asked[-1]
    assert [prompt.kind for prompt in prompts] == ["point", "text"] and base is None
    session.add_click(1, 6, [centre(0, 6)])
    assert ids(list(session.propagate()))[1] == list(range(12))


def test_discovery_and_cancelled_runs_agree_with_one_run() -> None:
    frames = squares(20, appear={"red": range(20), "blue": range(4, 20)})

    def prepared() -> VideoSession:
        session = open_session(frames)
        session.discover(["red", "blue"], every=3)
        session.add_text(9, "blue")
        return session

    whole = masks_of(list(prepared().propagate()))
    session, pieces = prepared(), {}
    while len(pieces) < 20:
        for result in session.propagate(start=len(pieces)):
            pieces |= masks_of([result])
            if np.random.default_rng(result.index).random() < 0.3:
                break
    assert pieces == whole

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from univs.errors import UserError
from univs.inference.canonical import canonical, from_plain, to_plain
from univs.inference.session import VideoSession
from univs.structures import BoxPrompt, CategoryPrompt, MaskPrompt, PointPrompt, ScribblePrompt, TextPrompt

from .fake import centre, open_session, squares

FRAMES = squares(5)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda s: s.add_click(1, 0, [(81, 5)]), r"Click \(81, 5\) lies outside the frame, which has 80x48 pixels"),
        (lambda s: s.add_click(1, 0, [(-1, 5)]), "outside the frame"),
        (lambda s: s.add_click(1, 0, [(float("nan"), 5)]), "give x and y as numbers"),
        (lambda s: s.add_click(1, 0, [(1, 2, 3)]), "give x and y as numbers"),
        (lambda s: s.add_click(1, 0, []), "There are no clicks"),
        (lambda s: s.add_click(1, 0, [(5, 5)], [2]), "each 1 .* or 0"),
        (lambda s: s.add_click(1, 0, [(5, 5)], [1, 0]), "1 clicks need 1 labels"),
        (lambda s: s.add_click(1, 5, [(5, 5)]), "There is no frame 5: the video has 5 frames, 0 to 4"),
        (lambda s: s.add_click(1, -1, [(5, 5)]), "whole numbers from 0"),
        (lambda s: s.add_click(1, 1.5, [(5, 5)]), "whole numbers from 0"),
        (lambda s: s.add_click(0, 0, [(5, 5)]), "Object id 0 is not possible"),
        (lambda s: s.add_click("a", 0, [(5, 5)]), "Object id 'a' is not possible"),
        (lambda s: s.add_click(70000, 0, [(5, 5)]), "from 1 to 65535"),
        (lambda s: s.add_box(1, 0, (5, 5, 5, 9)), r"Box \(5, 5, 5, 9\) is empty"),
        (lambda s: s.add_box(1, 0, (90, 5, 99, 9)), "lies outside the frame"),
        (lambda s: s.add_box(1, 0, (1, 2, 3)), "four numbers"),
        (lambda s: s.add_mask(1, 0, np.ones((40, 80))), r"shape \[40, 80\], the video's frames are \[48, 80\]"),
        (lambda s: s.add_id_map(0, np.ones((48, 80, 3))), "shape"),
        (lambda s: s.add_scribble(1, 0, []), "at least one stroke"),
        (lambda s: s.add_scribble(1, 0, [[]]), "at least one stroke"),
        (lambda s: s.add_scribble(1, 0, [[(1, 1), (200, 3)]]), "Scribble point .* outside"),
        (lambda s: s.add_text(1, "  "), "The text is empty"),
        (lambda s: s.discover([]), "empty category name"),
        (lambda s: s.discover("person,,dog"), "empty category name"),
        (lambda s: s.discover(["person"], every=0), "give 1 or more"),
        (lambda s: s.rename(7, "x"), "There is no object 7; the objects are: 1, 2"),
        (lambda s: s.remove(7), "There is no object 7"),
        (lambda s: s.clear_prompts(1, 3), "Object 1 has no prompt on frame 3"),
        (lambda s: s.clear_prompts(1, kind="line"), "no kind of prompt 'line'"),
        (lambda s: s.preview(7, 0), "There is no object 7"),
        (lambda s: s.preview(1, 9), "There is no frame 9"),
        (lambda s: s.propagate(direction="sideways"), "no direction 'sideways'"),
        (lambda s: s.propagate(start=3, end=1), "start must not be above end"),
        (lambda s: s.propagate(end=5), "There is no frame 5"),
    ],
)
def test_mistakes_are_said_in_one_sentence_and_change_nothing(
    edit: Callable[[VideoSession], None], message: str
) -> None:
    session = open_session(FRAMES)
    session.add_click(1, 0, [centre(0, 0)])
    session.add_click(2, 0, [centre(1, 0)])
    before = session.timeline
    with pytest.raises(UserError, match=message) as caught:
        edit(session)
    assert "\n" not in str(caught.value)
    assert session.timeline is before


def test_nothing_to_follow_is_said_before_anything_runs() -> None:
    with pytest.raises(UserError, match="nothing to follow: prompt an object or name categories"):
        open_session(FRAMES).propagate()


def test_a_box_is_cut_at_the_borders() -> None:
    session = open_session(FRAMES)
    session.add_box(1, 0, (-5, 10.5, 200, 60))
    assert session.objects[1].user_frames[0].prompts == (BoxPrompt((0.0, 10.5, 80.0, 48.0)),)


def test_several_boxes_masks_and_strokes_on_one_frame_are_one_of_each() -> None:
    left, right = np.zeros((4, 6), bool), np.zeros((4, 6), bool)
    left[:, :2], right[:, 4:] = True, True
    prompts = [
        TextPrompt("b"),
        BoxPrompt((3.0, 0.0, 5.0, 2.0)),
        MaskPrompt.from_array(right),
        ScribblePrompt((((2.0, 2.0),),), (1,)),
        PointPrompt(((4.0, 1.0),), (0,)),
        BoxPrompt((0.0, 1.0, 1.0, 4.0)),
        TextPrompt("a"),
        MaskPrompt.from_array(left),
        ScribblePrompt((((1.0, 1.0), (2.0, 1.0)),), (0,)),
        PointPrompt(((1.0, 1.0),), (1,)),
    ]
    expected = (
        PointPrompt(((1.0, 1.0), (4.0, 1.0)), (1, 0)),
        BoxPrompt((0.0, 0.0, 5.0, 4.0)),
        MaskPrompt.from_array(left | right),
        ScribblePrompt((((1.0, 1.0), (2.0, 1.0)), ((2.0, 2.0),)), (0, 1)),
        TextPrompt("a"),
        TextPrompt("b"),
    )
    assert canonical(prompts) == canonical(prompts[::-1]) == canonical(prompts + prompts) == expected


def test_prompts_go_through_plain_data_unchanged() -> None:
    prompts = (
        PointPrompt(((1.25, 2.0),), (1,)),
        BoxPrompt((0.1, 0.2, 5.5, 4.0)),
        MaskPrompt.from_array(np.eye(5, dtype=bool)),
        ScribblePrompt((((1.0, 1.0), (2.0, 1.5)),), (0,)),
        TextPrompt("a cat"),
    )
    assert tuple(from_plain(to_plain(prompt)) for prompt in prompts) == prompts
    with pytest.raises(ValueError, match="unknown kind"):
        from_plain({"kind": "smell"})
    with pytest.raises(TypeError):
        to_plain(CategoryPrompt(("cat",)))

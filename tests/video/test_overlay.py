"""What is drawn over the picture, and where."""

from __future__ import annotations

import numpy as np
import pytest

from univs.structures import BoxPrompt, FrameResult, ObjectResult, PointPrompt, ScribblePrompt, TextPrompt
from univs.video import OverlayStyle, draw
from univs.video.labels import LabelLayout, plate
from univs.video.overlay import label_texts
from univs.video.palette import object_colour

GREY = 90
BARE = OverlayStyle(labels=False)


def scene(height: int = 120, width: int = 200) -> tuple[np.ndarray, FrameResult]:
    """A grey frame with object 1 left and object 2 right."""
    masks = np.zeros((2, height, width), bool)
    masks[0, height // 4 : height // 2, width // 8 : width // 3] = True
    masks[1, height // 2 : -height // 8, width // 2 : -width // 8] = True
    items = [ObjectResult(1, masks[0], 0.934, category="dog"), ObjectResult(2, masks[1], 0.5, name="the red car")]
    return np.full((height, width, 3), GREY, np.uint8), FrameResult(0, items)


def test_objects_are_filled_in_their_colours_and_the_rest_is_left() -> None:
    frame, result = scene()
    picture = draw(frame, result, style=BARE)
    assert (frame == GREY).all(), "the frame itself must stay as it is"
    for item in result.objects:
        inside = np.median(picture[item.mask], axis=0)
        expected = 0.55 * GREY + 0.45 * np.array(object_colour(item.object_id))
        assert np.abs(inside - expected).max() <= 2
    changed = (picture != frame).any(axis=2)
    grown = np.zeros_like(changed)
    for item in result.objects:
        rows, columns = np.nonzero(item.mask)
        grown[rows.min() - 2 : rows.max() + 3, columns.min() - 2 : columns.max() + 3] = True
    assert not (changed & ~grown).any()


def test_outlines_are_stronger_than_fillings() -> None:
    frame, result = scene(480, 854)
    picture = draw(frame, result, style=BARE).astype(int)
    item = result.objects[0]
    rows, columns = np.nonzero(item.mask)
    colour = np.array(object_colour(1))
    edge = picture[rows.min(), (columns.min() + columns.max()) // 2]
    middle = picture[(rows.min() + rows.max()) // 2, (columns.min() + columns.max()) // 2]
    assert np.abs(edge - colour).sum() < 0.3 * np.abs(middle - colour).sum()


@pytest.mark.parametrize("size", [(1, 1), (5, 400), (16, 16), (61, 33), (1080, 1920)])
def test_any_size_can_be_drawn(size: tuple[int, int]) -> None:
    frame = np.zeros((*size, 3), np.uint8)
    result = FrameResult(0, [ObjectResult(1, np.ones(size, bool), 1.0, name="everything there is")])
    prompts = [(1, PointPrompt(((0.5, 0.5),), (1,))), (1, BoxPrompt((0, 0, size[1], size[0])))]
    picture = draw(frame, result, prompts)
    assert picture.shape == frame.shape and picture.dtype == np.uint8
    assert picture.any()


def test_lines_grow_with_the_picture() -> None:
    widths = []
    for height, width in ((120, 200), (960, 1600)):
        frame = np.zeros((height, width, 3), np.uint8)
        prompt = BoxPrompt((width * 0.25, height * 0.25, width * 0.75, height * 0.75))
        picture = draw(frame, FrameResult(0, []), [(1, prompt)])
        widths.append((picture[height // 2] == object_colour(1)).all(axis=1).sum() / 2)
    assert widths[0] < 0.5 * widths[1]


def test_an_object_that_is_not_there_leaves_no_trace() -> None:
    frame, _ = scene()
    gone = FrameResult(0, [ObjectResult(3, np.zeros(frame.shape[:2], bool), 0.1, name="gone")])
    assert (draw(frame, gone) == frame).all()


def test_plates_carry_names_and_can_be_left_out() -> None:
    frame, result = scene(480, 854)
    assert (draw(frame, result) != draw(frame, result, style=BARE)).any()
    assert label_texts(result.objects[0]) == ["1 dog 93%", "1 dog", "1"]
    assert label_texts(result.objects[1], scores=False) == ["2 the red car", "2"]
    assert label_texts(ObjectResult(7, np.ones((1, 1), bool), 1.0)) == ["7 100%", "7"]


@pytest.mark.parametrize("name", ["x" * 500, "a man\nwith\ta hat", "狗在跑", "", "%s {0} \\ 🐕"])
def test_any_name_can_be_shown(name: str) -> None:
    texts = label_texts(ObjectResult(4, np.ones((1, 1), bool), 0.25, name=name))
    assert texts[-1] == "4" and all(len(text) <= 70 and "\n" not in text for text in texts)
    assert plate(texts[0], 14, (200, 30, 30)).shape[2] == 4


def test_plates_stay_inside_and_off_each_other() -> None:
    picture = np.zeros((120, 160, 3), np.uint8)
    boxes = [(150, 0, 10, 20), (0, 0, 20, 20), (2, 1, 20, 20), (3, 115, 5, 5)]
    layout = LabelLayout(picture, 0.5, boxes)
    for number, box in enumerate(boxes, 1):
        layout.add([f"{number} name"], (250, 200, 40), box)
    covered = np.zeros(picture.shape[:2], int)
    assert len(layout._plates) == 4
    for x, y, wide, tall in layout._plates:
        assert x >= 0 and y >= 0 and x + wide <= 160 and y + tall <= 120
        covered[y : y + tall, x : x + wide] += 1
    assert covered.max() == 1


def test_a_plate_goes_below_where_another_object_is_above() -> None:
    picture = np.zeros((300, 300, 3), np.uint8)
    upper, lower = (100, 50, 60, 100), (100, 150, 60, 60)
    layout = LabelLayout(picture, 1, [upper, lower])
    layout.add(["1 bicycle"], (200, 0, 0), lower)
    assert layout._plates[0][1] > lower[1] + lower[3]


def test_clicks_boxes_and_scribbles_are_marked_where_they_were_made() -> None:
    frame = np.zeros((480, 854, 3), np.uint8)
    prompts = [
        (1, PointPrompt(((100.0, 100.0), (300.0, 100.0)), (1, 0))),
        (4, BoxPrompt((400.0, 200.0, 500.0, 300.0))),
        (5, ScribblePrompt((((600.0, 400.0), (700.0, 400.0)),), (1,))),
        (2, TextPrompt("the dog")),
    ]
    picture = draw(frame, FrameResult(0, []), prompts).astype(int)
    assert picture[103, 103, 1] > 120 > picture[103, 103, 0], "clicks on the object are green"
    assert picture[103, 303, 0] > 120 > picture[103, 303, 1], "those off the object are red"
    assert tuple(picture[250, 400]) == object_colour(4)
    assert tuple(picture[400, 650]) == object_colour(5)
    marked = np.argwhere(picture.any(axis=2))
    assert marked.min(axis=0).tolist() >= [80, 80] and marked.max(axis=0).tolist() <= [410, 710]


def test_prompts_beyond_the_edge_do_no_harm() -> None:
    frame = np.zeros((40, 60, 3), np.uint8)
    prompts = [(1, PointPrompt(((-50.0, 9e5),), (1,))), (1, BoxPrompt((-1e6, -1e6, 1e6, 1e6)))]
    assert draw(frame, FrameResult(0, []), prompts).shape == frame.shape


def test_colours_are_stable_and_distinct() -> None:
    colours = np.array([object_colour(number) for number in range(1, 21)])
    apart = np.abs(colours[:, None] - colours[None]).sum(axis=2) + 1000 * np.eye(20, dtype=int)
    assert apart.min() > 60
    assert object_colour(1) == (230, 55, 55) and object_colour(100000) == object_colour(100000)

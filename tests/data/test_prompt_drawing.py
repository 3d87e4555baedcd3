"""Prompts lie where a user would put them."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from univs.data.prompt_drawing import (
    PromptShares,
    correction_click,
    draw_prompt,
    first_click,
    jittered_box,
    negative_click,
    scribble,
    tight_box,
)
from univs.errors import UserError
from univs.structures import MaskPrompt

SEEDS = range(25)


def disk(centre: tuple[int, int] = (30, 40), radius: int = 12, shape: tuple[int, int] = (60, 80)) -> np.ndarray:
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    return (rows - centre[0]) ** 2 + (columns - centre[1]) ** 2 <= radius**2


def on(mask: np.ndarray, point: tuple[float, float]) -> bool:
    x, y = point
    assert x % 1 == 0.5 and y % 1 == 0.5
    return bool(mask[int(y), int(x)])


def test_first_clicks_are_on_the_object_and_central_ones_deep_inside() -> None:
    mask = disk()
    anywhere = [first_click(np.random.default_rng(seed), mask, 0.0) for seed in SEEDS]
    assert all(on(mask, point) for point in anywhere)
    distances = [np.hypot(x - 40.5, y - 30.5) for x, y in anywhere]
    assert max(distances) > 7
    central = [first_click(np.random.default_rng(seed), mask, 1.0) for seed in SEEDS]
    assert max(np.hypot(x - 40.5, y - 30.5) for x, y in central) <= 4


def test_the_innermost_point_of_an_object_at_the_border_is_away_from_it() -> None:
    mask = np.zeros((40, 40), bool)
    mask[:, :20] = True
    x, _ = first_click(np.random.default_rng(0), mask, 1.0)
    assert 6 < x < 14


def test_corrections_are_on_the_largest_error() -> None:
    target, prediction = disk(), disk(radius=5)
    point, label = correction_click(np.random.default_rng(0), prediction, target)
    assert label == 1 and on(target & ~prediction, point)
    surplus = prediction | disk(centre=(45, 15), radius=10) | target
    point, label = correction_click(np.random.default_rng(0), surplus, target)
    assert label == 0 and np.hypot(point[0] - 15.5, point[1] - 45.5) < 2


def test_corrections_leave_unknown_ground_alone() -> None:
    target = disk()
    surplus = disk(centre=(45, 15), radius=8)
    assert correction_click(np.random.default_rng(0), target | surplus, target, unknown=surplus) is None
    assert correction_click(np.random.default_rng(0), target, target) is None


def test_scattered_corrections_stay_in_the_error() -> None:
    target, prediction = disk(), np.zeros((60, 80), bool)
    points = [correction_click(np.random.default_rng(seed), prediction, target, central=0.0)[0] for seed in SEEDS]
    assert all(on(target, point) for point in points) and len(set(points)) > 10


def test_negative_clicks_are_beside_the_object() -> None:
    mask, other = disk(), disk(centre=(10, 10), radius=5)
    for seed in SEEDS:
        near = negative_click(np.random.default_rng(seed), mask)
        assert not on(mask, near) and np.hypot(near[0] - 40.5, near[1] - 30.5) < 12 + 0.25 * 25 + 2
        assert on(other, negative_click(np.random.default_rng(seed), mask, other))
        assert not on(mask, negative_click(np.random.default_rng(seed), mask, mask))
    assert negative_click(np.random.default_rng(0), np.ones((5, 5), bool)) is None


def test_boxes_are_tight_or_moved_within_bounds() -> None:
    mask = disk()
    assert tight_box(mask) == (28.0, 18.0, 53.0, 43.0)
    boxes = np.array([jittered_box(np.random.default_rng(seed), mask, 0.1) for seed in SEEDS])
    assert np.abs(boxes - tight_box(mask)).max() <= 2.5 and np.ptp(boxes, axis=0).min() > 1
    assert jittered_box(np.random.default_rng(0), mask, 0.0) == tight_box(mask)


def test_boxes_of_single_pixels_have_an_area_inside_the_picture() -> None:
    mask = np.zeros((10, 10), bool)
    mask[9, 9] = True
    for seed in SEEDS:
        x0, y0, x1, y1 = jittered_box(np.random.default_rng(seed), mask, 0.5)
        assert 0 <= x0 < x1 <= 10 and 0 <= y0 < y1 <= 10


def test_scribbles_run_along_the_object() -> None:
    mask = np.zeros((40, 100), bool)
    mask[15:25, 5:95] = True
    strokes = [scribble(np.random.default_rng(seed), mask) for seed in SEEDS]
    assert all(on(mask, point) for stroke in strokes for point in stroke)
    assert max(abs(stroke[-1][0] - stroke[0][0]) for stroke in strokes) > 50
    single = np.zeros((5, 5), bool)
    single[2, 3] = True
    assert scribble(np.random.default_rng(0), single) == ((3.5, 2.5),)


def test_kinds_are_drawn_by_their_shares() -> None:
    shares = PromptShares(point=0.25, box=0.25, mask=0.5)
    kinds = Counter(draw_prompt(np.random.default_rng(seed), disk(), shares).kind for seed in range(200))
    assert set(kinds) == {"point", "box", "mask"} and 75 < kinds["mask"] < 125
    only = draw_prompt(np.random.default_rng(0), disk(), PromptShares(0, 0, 0, 1))
    assert only.kind == "scribble" and only.labels == (1,)
    mask = draw_prompt(np.random.default_rng(0), disk(), PromptShares(0, 0, 1))
    assert isinstance(mask, MaskPrompt) and (mask.to_array() == disk()).all()


def test_nothing_to_draw_from_is_refused() -> None:
    empty = np.zeros((8, 8), bool)
    for draw in (first_click, scribble, jittered_box):
        with pytest.raises(UserError, match="empty mask"):
            draw(np.random.default_rng(0), empty)
    with pytest.raises(UserError, match="share above 0"):
        draw_prompt(np.random.default_rng(0), disk(), PromptShares(0, 0, 0, 0))

"""Geometry and colour of training pictures."""

from __future__ import annotations

import numpy as np
import pytest

from univs.data.augmentation import (
    IGNORE,
    MotionSettings,
    chain,
    clamp_centre,
    colour_change,
    crop_matrix,
    elastic_motion,
    recolour,
    smooth_motion,
    warp,
)
from univs.data.pseudo_video import Layer, paste_layers
from univs.data.scale_jitter import JitterSettings, draw_views, look, look_at_mask


def apply(matrix: np.ndarray, x: float, y: float) -> np.ndarray:
    return matrix @ np.array([x, y, 1.0])


def test_a_crop_has_its_centre_in_the_middle() -> None:
    matrix = crop_matrix((30.0, 20.0), 2.0, (11, 21))
    np.testing.assert_allclose(apply(matrix, 30, 20), [10, 5])
    np.testing.assert_allclose(apply(matrix, 31, 20), [12, 5])
    np.testing.assert_allclose(apply(crop_matrix((30.0, 20.0), 2.0, (11, 21), flip=True), 31, 20), [8, 5])


def test_chaining_applies_the_inner_matrix_first() -> None:
    inner, outer = crop_matrix((3.0, 4.0), 1.5, (9, 9), turn_degrees=20), crop_matrix((1.0, 2.0), 0.7, (5, 5))
    np.testing.assert_allclose(apply(chain(outer, inner), 6, 7), apply(outer, *apply(inner, 6, 7)))


@pytest.mark.parametrize("centre", [(-50.0, 5.0), (200.0, 90.0), (40.0, 30.0)])
def test_clamped_crops_lie_in_the_picture(centre: tuple[float, float]) -> None:
    size, picture, scale = (20, 30), (60, 80), 0.8
    matrix = crop_matrix(tuple(clamp_centre(np.array(centre), scale, size, picture)), scale, size)
    _, ids = warp(np.zeros((*picture, 3), np.uint8), np.ones(picture, np.uint8), matrix, size)
    assert (ids == 1).all()


def test_motion_begins_at_rest_and_is_smooth() -> None:
    course = smooth_motion(np.random.default_rng(3), 6, (20.0, 10.0), 100.0, MotionSettings())
    np.testing.assert_allclose(course[0], [[1, 0, 0], [0, 1, 0]], atol=1e-12)
    jumps = np.abs(np.diff(course[:, :, 2] + course[:, :, :2] @ [20.0, 10.0], axis=0))
    assert 0.1 < jumps.max() < 20
    still = smooth_motion(np.random.default_rng(3), 6, (20.0, 10.0), 100.0, MotionSettings().scaled(0.0))
    np.testing.assert_allclose(still, np.broadcast_to([[1, 0, 0], [0, 1, 0]], still.shape), atol=1e-12)


def test_bends_begin_at_zero() -> None:
    bends = elastic_motion(np.random.default_rng(0), 4, 3.0)
    assert bends.shape == (4, 4, 4, 2) and not bends[0].any() and np.abs(bends[-1]).max() > 1


def test_picture_and_mask_are_moved_alike_and_beyond_is_unknown() -> None:
    image, ids = np.zeros((20, 20, 3), np.uint8), np.zeros((20, 20), np.uint8)
    image[5:9, 5:9], ids[5:9, 5:9] = 200, 4
    shift = np.array([[1.0, 0.0, 6.0], [0.0, 1.0, 2.0]])
    for bend in (None, np.zeros((3, 3, 2), np.float32)):
        seen, moved = warp(image, ids, shift, (20, 20), bend)
        np.testing.assert_array_equal((seen[..., 0] == 200)[:, 6:], (moved == 4)[:, 6:])
        assert moved[7:11, 11:15].min() == 4 and (moved[:, :6] == IGNORE).all()


def test_a_bend_moves_both_alike() -> None:
    image, ids = np.zeros((40, 40, 3), np.uint8), np.zeros((40, 40), np.uint8)
    image[10:20, 10:20], ids[10:20, 10:20] = 200, 4
    bend = np.full((4, 4, 2), 3.0, np.float32)
    seen, moved = warp(image, ids, np.eye(2, 3), (40, 40), bend)
    np.testing.assert_array_equal(np.argwhere(moved == 4).min(0), [7, 7])
    np.testing.assert_array_equal(seen[..., 0] == 200, moved == 4)


def test_colours_change_mildly_and_not_at_all_at_strength_zero() -> None:
    image = np.random.default_rng(0).integers(40, 200, (8, 8, 3)).astype(np.uint8)
    same = recolour(image, colour_change(np.random.default_rng(1), 2, 0.0)[1])
    assert np.abs(same.astype(int) - image).max() <= 1
    changed = recolour(image, colour_change(np.random.default_rng(1), 1)[0])
    assert 1 < np.abs(changed.astype(int) - image).mean() < 60


def test_cut_outs_are_drawn_in_order_and_follow_their_matrices() -> None:
    images, ids = [np.zeros((30, 30, 3), np.uint8) for _ in range(2)], [np.zeros((30, 30), np.uint8) for _ in range(2)]
    paint = np.full((8, 8, 3), 250, np.uint8)
    course = np.stack([np.array([[1.0, 0, x], [0, 1.0, 10.0]]) for x in (4.0, 14.0)])
    below = Layer(paint, np.full((8, 8), 255, np.uint8), np.stack([course[0]] * 2), None, 201)
    above = Layer(paint // 2, np.full((8, 8), 255, np.uint8), course, None, 202)
    paste_layers(images, ids, [below, above])
    assert set(np.unique(ids[0])) == {0, 202} and set(np.unique(ids[1])) == {0, 201, 202}
    np.testing.assert_array_equal(np.argwhere(ids[1] == 202).min(0), [10, 14])
    assert images[1][14, 18, 0] == 125 and images[1][14, 7, 0] == 250 and images[0][0, 0, 0] == 0


def test_a_cut_out_beyond_the_canvas_draws_nothing() -> None:
    image, ids = np.zeros((30, 30, 3), np.uint8), np.zeros((30, 30), np.uint8)
    away = np.array([[[1.0, 0, 500.0], [0, 1.0, 500.0]]])
    paste_layers([image], [ids], [Layer(image[:8, :8] + 9, np.full((8, 8), 255, np.uint8), away, None, 201)])
    assert not image.any() and not ids.any()


def test_square_views_pad_at_right_and_bottom() -> None:
    settings = JitterSettings(image_size=64, min_scale=0.5, max_scale=0.5, rotation=0.0, flip=False)
    views = draw_views(np.random.default_rng(0), (40, 80), 3, settings)
    assert views.size == (64, 64) and not views.flipped
    for matrix in views.matrices:
        mask = look_at_mask(np.ones((40, 80), bool), matrix, views.size)
        np.testing.assert_array_equal(np.argwhere(mask).max(0), [15, 31])
        assert mask[:16, :32].all()


def test_large_views_are_cropped_and_drift_within_bounds() -> None:
    settings = JitterSettings(image_size=64, min_scale=3.0, max_scale=3.0, rotation=0.0)
    views = draw_views(np.random.default_rng(0), (60, 60), 5, settings)
    corners = views.matrices[:, :, 2]
    assert np.abs(np.diff(corners, axis=0)).max() <= 0.1 * 64 + 1e-6 and np.ptp(corners, axis=0).max() > 0
    assert all(look_at_mask(np.ones((60, 60), bool), matrix, views.size).all() for matrix in views.matrices)


def test_views_by_the_shorter_side_respect_the_longer_one() -> None:
    settings = JitterSettings(square=False, short_sides=(50,), longest_side=90, rotation=0.0, flip=False)
    assert draw_views(np.random.default_rng(0), (40, 60), 2, settings).size == (50, 75)
    assert draw_views(np.random.default_rng(0), (40, 160), 2, settings).size == (22, 90)


def test_angles_grow_or_fall_through_a_clip() -> None:
    settings = JitterSettings(square=False, short_sides=(60,), rotation=15.0, flip=False)
    directions = set()
    for seed in range(8):
        matrices = draw_views(np.random.default_rng(seed), (60, 90), 4, settings).matrices
        angles = np.degrees(np.arctan2(matrices[:, 1, 0], matrices[:, 0, 0]))
        assert np.abs(angles).max() <= 15
        signs = set(np.sign(np.diff(angles)))
        assert len(signs) == 1
        directions |= signs
    assert directions == {-1.0, 1.0}


def test_shrinking_averages_instead_of_skipping() -> None:
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 200
    small = look(stripes, np.array([[0.25, 0, -0.375], [0, 0.25, -0.375]]), (16, 16))
    assert np.abs(small.astype(int) - 100).max() <= 2

from __future__ import annotations

import numpy as np

from univs.inference.geometry import MaskGeometry
from univs.inference.postprocess import Layer, exact_layer, separate, soft_layer
from univs.inference.soft_mask import decode, encode

SIZE = (20, 30)
GEOMETRY = MaskGeometry.of_network(SIZE, SIZE, (20, 32), 4)


def layer(object_id: int, top: int, left: int, value: float, shape: tuple = (6, 8), confirmed: bool = False) -> Layer:
    return Layer(object_id, top, left, np.full(shape, value, np.float32), confirmed)


def test_masks_apart_stay_as_they_are() -> None:
    masks = separate([layer(1, 0, 0, 1), layer(2, 10, 20, 2)], SIZE)
    assert masks[1].sum() == masks[2].sum() == 48
    assert masks[1][:6, :8].all()


def test_the_larger_logit_takes_a_pixel_and_ties_go_to_the_lower_id() -> None:
    masks = separate([layer(3, 0, 0, 1), layer(2, 3, 4, 2)], SIZE)
    assert masks[2].sum() == 48 and masks[3].sum() == 48 - 3 * 4
    for order in ([5, 4], [4, 5]):
        masks = separate([layer(i, 0, 0, 1) for i in order], SIZE)
        assert masks[4].sum() == 48 and not masks[5].any()


def test_what_the_user_pointed_at_comes_first() -> None:
    masks = separate([layer(1, 0, 0, 9), layer(2, 3, 4, 0.5, confirmed=True)], SIZE)
    assert masks[2].sum() == 48
    assert masks[1].sum() == 48 - 12


def test_negative_logits_are_outside() -> None:
    masks = separate([layer(1, 0, 0, -1), layer(2, 0, 0, 0.5), layer(3, 0, 0, 0.0)], SIZE)
    assert not masks[1].any() and masks[2].sum() == 48 and not masks[3].any()


def test_an_object_that_is_nowhere_has_an_empty_mask() -> None:
    empty = soft_layer(1, decode(b"", GEOMETRY.grid), GEOMETRY, False)
    masks = separate([empty, layer(2, 0, 0, 1), layer(3, 1, 1, 1)], SIZE)
    assert masks[1].shape == SIZE and not masks[1].any()
    assert not separate([empty], SIZE)[1].any()
    assert separate([], SIZE) == {}


def test_an_exact_mask_is_kept_pixel_by_pixel() -> None:
    mask = np.zeros(SIZE, bool)
    mask[2:9, 3:11] = True
    mask[4, 5] = False
    soft = decode(encode(np.full(GEOMETRY.grid, 4, np.float32)), GEOMETRY.grid)
    for confirmed in (True, False):
        assert (separate([exact_layer(1, mask, soft, GEOMETRY, confirmed)], SIZE)[1] == mask).all()
    drawn, found = (exact_layer(1, mask, soft, GEOMETRY, confirmed) for confirmed in (True, False))
    rival = Layer(2, 0, 0, np.full(SIZE, 6, np.float32), False)
    assert (separate([drawn, rival], SIZE)[1] == mask).all()
    assert not separate([found, rival], SIZE)[1].any()


def test_no_pixel_belongs_to_two_objects_and_none_is_lost() -> None:
    rng = np.random.default_rng(3)
    layers = [Layer(i, 0, 0, rng.normal(size=SIZE).astype(np.float32), bool(i % 2)) for i in range(1, 7)]
    masks = separate(layers, SIZE)
    union = np.any([item.logits > 0 for item in layers], axis=0)
    assert (np.sum(list(masks.values()), axis=0) == union).all()

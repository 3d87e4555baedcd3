"""J and F on masks whose values can be worked out by hand."""

import numpy as np
import pytest

from univs.evaluation.metrics.region_boundary import boundary_accuracy, boundary_map, region_similarity


def _square(top: int, left: int, side: int, shape=(40, 40)) -> np.ndarray:
    mask = np.zeros(shape, bool)
    mask[top : top + side, left : left + side] = True
    return mask


def test_region_similarity():
    assert region_similarity(_square(5, 5, 10), _square(5, 10, 10)) == pytest.approx(50 / 150)
    nothing = np.zeros((40, 40), bool)
    assert region_similarity(nothing, nothing) == 1
    assert region_similarity(nothing, _square(0, 0, 3)) == 0


def test_boundary_of_a_full_mask_is_empty():
    full = np.ones((10, 10), bool)
    assert not boundary_map(full).any()
    assert boundary_accuracy(full, np.zeros((10, 10), bool)) == 1  # neither has a boundary


def test_boundary_within_the_tolerance():
    assert boundary_accuracy(_square(10, 10, 12), _square(11, 10, 12)) == 1  # a radius of one pixel at this size
    assert boundary_accuracy(_square(10, 10, 12), _square(10, 10, 12)) == 1
    far = boundary_accuracy(_square(2, 2, 8), _square(25, 25, 8))
    assert far == 0
    assert boundary_accuracy(np.zeros((40, 40), bool), _square(2, 2, 8)) == 0
    half = boundary_accuracy(_square(10, 10, 12), _square(14, 10, 12))
    assert 0 < half < 1

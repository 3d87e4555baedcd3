from __future__ import annotations

import numpy as np
import pytest
import torch

from univs.inference.geometry import MaskGeometry

CASES = [((96, 128), (96, 128), (96, 128)), ((97, 131), (64, 96), (64, 96)), ((90, 61), (128, 87), (128, 96))]


def reference(values: np.ndarray, size: tuple, image: tuple, padded: tuple) -> np.ndarray:
    """Enlarge to the padded input, cut off the padding: PyTorch's bilinear resizing, written with its own sampling."""
    y = (np.arange(size[0]) + 0.5) * image[0] / size[0]
    x = (np.arange(size[1]) + 0.5) * image[1] / size[1]
    grid = np.stack(np.meshgrid(x / padded[1] * 2 - 1, y / padded[0] * 2 - 1), -1)
    tensors = torch.from_numpy(values)[None, None], torch.from_numpy(grid.astype(np.float32))[None]
    out = torch.nn.functional.grid_sample(*tensors, padding_mode="border", align_corners=False)
    return out[0, 0].numpy()


@pytest.mark.parametrize(("size", "image", "padded"), CASES)
def test_the_whole_grid_is_enlarged_bilinearly(size: tuple, image: tuple, padded: tuple) -> None:
    geometry = MaskGeometry.of_network(size, image, padded, 4)
    values = np.random.default_rng(1).normal(size=geometry.grid).astype(np.float32)
    out, top, left = geometry.enlarge(values)
    assert (top, left) == (0, 0)
    assert out == pytest.approx(reference(values, size, image, padded), abs=1e-3)


@pytest.mark.parametrize(("size", "image", "padded"), CASES)
def test_a_part_is_enlarged_as_it_would_be_in_the_whole(size: tuple, image: tuple, padded: tuple) -> None:
    geometry = MaskGeometry.of_network(size, image, padded, 4)
    values = np.random.default_rng(2).normal(size=geometry.grid).astype(np.float32)
    whole, _, _ = geometry.enlarge(values)
    for rows, columns in ((slice(0, 5), slice(0, 9)), (slice(3, 12), slice(7, 8)), (slice(9, None), slice(4, None))):
        part, top, left = geometry.enlarge(values[rows, columns], rows.start, columns.start)
        same = whole[top : top + part.shape[0], left : left + part.shape[1]]
        assert part.shape == same.shape
        assert (part == same).all()


def test_all_pixels_inside_lie_in_the_enlarged_part() -> None:
    geometry = MaskGeometry.of_network((90, 61), (128, 87), (128, 96), 4)
    values = np.full(geometry.grid, -9, np.float32)
    values[10:14, 6:11] = 3
    whole, _, _ = geometry.enlarge(values)
    part, top, left = geometry.enlarge(values[9:15, 5:12], 9, 5)
    placed = np.zeros(whole.shape, bool)
    placed[top : top + part.shape[0], left : left + part.shape[1]] = part > 0
    assert (placed == (whole > 0)).all()


def test_shrinking_takes_the_pixel_at_each_cells_centre() -> None:
    geometry = MaskGeometry.of_network((16, 24), (16, 24), (16, 32), 4)
    mask = np.zeros((16, 24), bool)
    mask[4:12, 8:24] = True
    expected = np.zeros((4, 8), bool)
    expected[1:3, 2:6] = True
    assert (geometry.shrink(mask) == expected).all()

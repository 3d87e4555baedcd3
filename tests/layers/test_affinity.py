"""Similarity in windows, top-k reading."""

import pytest
import torch

from univs.layers.affinity import Affinity, keep_best, similarity, squared_lengths, window_similarity


@pytest.mark.parametrize("radius", [0, 2, 20])
@pytest.mark.parametrize("place", [(0, 0), (1, 2), (3, 3)])
def test_windows_agree_with_the_whole_map(radius: int, place: tuple[int, int]) -> None:
    height, width = whole_size = 7, 9
    query, keys = torch.randn(8, height, width), torch.randn(8, height, width)
    whole = similarity(query.flatten(1).t(), keys.flatten(1).t(), 1.5)
    part = query[:, place[0] : place[0] + 4, place[1] : place[1] + 6]
    found, cells = window_similarity(part, keys, squared_lengths(keys), 1.5, place, radius)
    rows, columns = cells // width, cells % width
    for y in range(part.shape[1]):
        for x in range(part.shape[2]):
            own = (place[0] + y, place[1] + x)
            inside = ((rows - own[0]).abs() <= radius) & ((columns - own[1]).abs() <= radius)
            scores = found[y * part.shape[2] + x]
            assert torch.isneginf(scores[~inside]).all()
            expected = whole[own[0] * width + own[1]]
            torch.testing.assert_close(scores[inside], expected[cells[inside]], rtol=1e-4, atol=1e-4)
            reach = [
                min(radius, side) + min(radius, size - 1 - side) + 1 for side, size in zip(own, whole_size, strict=True)
            ]
            assert inside.sum() == reach[0] * reach[1]  # no cell in reach is left out


@pytest.mark.parametrize("columns", [479, 481, 487, 1000])
def test_the_best_of_many_columns_are_the_best(columns: int) -> None:
    scores = torch.randn(5, columns)
    scores[1, : columns - 40] = -torch.inf
    scores[2, -3:] = 9.0  # behind the last full group
    expected, found = scores.topk(30, dim=1), keep_best(scores, 30)
    assert torch.equal(found.cells.sort(1).values, expected.indices.sort(1).values)
    values = torch.randn(columns, 3)
    torch.testing.assert_close(found.read(values), Affinity(expected.indices, expected.values.softmax(1)).read(values))


def test_similarity_is_minus_the_squared_distance_up_to_the_row():
    query, keys = torch.randn(5, 3), torch.randn(6, 3)
    distance = torch.cdist(query, keys).square()
    row = query.square().sum(1, keepdim=True)
    torch.testing.assert_close(similarity(query, keys, 1.0), row - distance, rtol=1e-4, atol=1e-4)


def test_reading_is_a_softmax_over_the_best_cells():
    scores, values = torch.randn(4, 10), torch.randn(10, 3)
    affinity = keep_best(scores, 3)
    best = scores.topk(3, dim=1)
    expected = (best.values.softmax(1)[..., None] * values[best.indices]).sum(1)
    torch.testing.assert_close(affinity.read(values), expected)
    rows = torch.tensor([2, 0])
    torch.testing.assert_close(affinity.rows(rows).read(values), expected[rows])


def test_fewer_cells_than_asked_for():
    affinity = keep_best(torch.randn(2, 3), 30)
    assert affinity.cells.shape == (2, 3)

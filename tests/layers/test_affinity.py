"""Similarity in windows, top-k reading."""

import pytest
import torch

from univs.layers.affinity import Affinity, RememberedKeys, keep_best, similarity, similarity_to


def test_similarity_to_some_cells_is_that_to_all() -> None:
    query, keys = torch.randn(4, 8), torch.randn(8, 7, 9)
    whole = similarity(query, keys.flatten(1).t(), 1.5)
    cells, table = torch.tensor([3, 0, 62, 40]), torch.zeros(4, 3 + 4)
    similarity_to(query, RememberedKeys.of(keys), cells, 1.5, out=table[:, 3:])
    torch.testing.assert_close(table[:, 3:], whole[:, cells], rtol=1e-4, atol=1e-4)
    assert not table[:, :3].any()


@pytest.mark.parametrize("columns", [29, 959, 960, 967, 2000])
def test_the_best_of_many_columns_are_the_best(columns: int) -> None:
    scores = torch.randn(5, columns)
    scores[1, : max(0, columns - 40)] = -torch.inf
    scores[3] = torch.arange(columns)
    scores[2, -3:] = 9.0  # behind the last full group
    expected, found = scores.topk(min(30, columns), dim=1), keep_best(scores, 30)
    assert torch.equal(found.cells.sort(1).values, expected.indices.sort(1).values)
    values = torch.randn(columns, 3)
    wanted = Affinity(expected.indices, expected.values.softmax(1), expected.values[:, 0])
    torch.testing.assert_close(found.read(values), wanted.read(values))
    assert torch.equal(found.best, wanted.best)


def test_of_equal_columns_the_first_are_kept_whatever_the_other_rows() -> None:
    scores = torch.randn(6, 1200).round(decimals=1)
    found = keep_best(scores, 30)
    for row in range(6):
        alone = keep_best(scores[row : row + 1], 30)
        assert torch.equal(alone.cells[0], found.cells[row]) and torch.equal(alone.weights[0], found.weights[row])
        order = sorted(range(1200), key=lambda column: (-float(scores[row, column]), column))
        assert sorted(order[:30]) == found.cells[row].tolist()


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


def test_fewer_cells_than_asked_for():
    affinity = keep_best(torch.randn(2, 3), 30)
    assert affinity.cells.shape == (2, 3)

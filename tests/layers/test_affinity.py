"""Similarity in windows, top-k reading."""

import torch

from univs.layers.affinity import keep_best, similarity, window_cells, window_similarity, with_border


def test_windows_agree_with_the_whole_map():
    height, width, radius = 7, 9, 2
    query, keys = torch.randn(8, height, width), torch.randn(8, height, width)
    whole = similarity(query.flatten(1).t(), keys.flatten(1).t(), 1.5)
    place, size = (1, 2), (4, 6)
    part = query[:, 1:5, 2:8]
    found = window_similarity(part, *with_border(keys, radius), 1.5, place, radius)
    cells = window_cells(radius, width)
    offsets = torch.arange(-radius, radius + 1)
    for row in range(size[0]):
        for column in range(size[1]):
            y, x = place[0] + row, place[1] + column
            inside = ((y + offsets >= 0) & (y + offsets < height))[:, None] & (x + offsets >= 0) & (x + offsets < width)
            scores = found[row * size[1] + column]
            assert torch.isneginf(scores[~inside.flatten()]).all()
            own = y * width + x
            expected = whole[own, own + cells[inside.flatten()]]
            torch.testing.assert_close(scores[inside.flatten()], expected, rtol=1e-4, atol=1e-4)


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

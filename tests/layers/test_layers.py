"""Attention, deformable attention, positions and point sampling against their definitions."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from univs.layers import deformable_attention, positions
from univs.layers.attention import Attention, AttentionLayer, FeedForward, Perceptron
from univs.layers.point_sampling import sample_points


def _random(*shape, seed=0, dtype=torch.float32):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@pytest.mark.parametrize("masked", [False, True])
def test_attention_equals_torch(masked):
    ours, theirs = Attention(16, 4), nn.MultiheadAttention(16, 4, batch_first=True)
    theirs.load_state_dict(ours.state_dict())
    query, key, value = _random(2, 5, 16), _random(2, 7, 16, seed=1), _random(2, 7, 16, seed=2)
    allowed = _random(2, 5, 7, seed=3) > -0.5 if masked else None
    blocked = None if allowed is None else ~allowed.repeat_interleave(4, 0)
    expected = theirs(query, key, value, attn_mask=blocked, need_weights=False)[0]
    torch.testing.assert_close(ours(query, key, value, allowed), expected)


@pytest.mark.parametrize("masked", [False, True])
def test_few_queries_equal_the_same_among_many(masked):
    attention = Attention(16, 4)
    nn.init.normal_(attention.in_proj_bias)
    query, key, value = _random(2, 9, 16), _random(2, 20, 16, seed=1), _random(2, 20, 16, seed=2)
    allowed = _random(2, 9, 20, seed=3) > -0.5 if masked else None
    few = attention(query[:, :3], key, value, allowed[:, :3] if masked else None)
    torch.testing.assert_close(few, attention(query, key, value, allowed)[:, :3])


def test_each_query_with_itself_equals_one_more_key():
    attention = Attention(16, 4)
    nn.init.normal_(attention.in_proj_bias)
    query, own, values = _random(2, 3, 16), _random(2, 3, 16, seed=1), _random(2, 3, 16, seed=2)
    key, value = _random(2, 6, 16, seed=3), _random(2, 6, 16, seed=4)
    together = attention.with_itself(query, (own, values), key, value)
    for row in (slice(number, number + 1) for number in range(3)):
        keys, joined = torch.cat([own[:, row], key], 1), torch.cat([values[:, row], value], 1)
        torch.testing.assert_close(together[:, row], attention(query[:, row], keys, joined))


def test_attention_mask_may_be_shared_by_the_batch():
    layer = AttentionLayer(8, 2)
    x, memory, allowed = _random(3, 4, 8), _random(3, 6, 8, seed=1), _random(4, 6, seed=2) > 0
    allowed[:, 0] = True
    one = layer(x, memory, allowed=allowed)
    torch.testing.assert_close(one, layer(x, memory, allowed=allowed.expand(3, -1, -1)))
    changed = memory.clone()
    changed[:, 1:] += (~allowed.any(0))[1:, None] * 5.0  # keys that nobody may see
    torch.testing.assert_close(one, layer(x, changed, allowed=allowed))


def test_positions_join_queries_and_keys_only():
    layer = AttentionLayer(8, 2)
    x, memory = _random(1, 3, 8), _random(1, 5, 8, seed=1)
    place, memory_place = _random(1, 3, 8, seed=2), _random(1, 5, 8, seed=3)
    expected = layer.norm(x + layer.attention(x + place, memory + memory_place, memory))
    torch.testing.assert_close(layer(x, memory, place, memory_place), expected)


def test_feed_forward_and_perceptron_shapes():
    assert FeedForward(8, 32)(_random(2, 3, 8)).shape == (2, 3, 8)
    perceptron = Perceptron(8, 16, 4, 3)
    assert [tuple(layer.weight.shape) for layer in perceptron.layers] == [(16, 8), (16, 16), (4, 16)]
    assert perceptron(_random(2, 8)).shape == (2, 4)


def _sampling_inputs(dtype=torch.float64):
    sizes = [(2, 3), (3, 4)]
    value = _random(1, 18, 2, 3, dtype=dtype)
    locations = torch.rand((1, 4, 2, 2, 2, 2), generator=torch.Generator().manual_seed(1), dtype=dtype) * 1.4 - 0.2
    weights = _random(1, 4, 2, 4, seed=2, dtype=dtype).softmax(-1).view(1, 4, 2, 2, 2)
    return value, sizes, locations, weights


def _reading(level, x, y):
    """Bilinear reading of a map [H, W, D] at (x, y) in 0..1, zero outside, by the definition."""
    height, width, _ = level.shape
    column, row = x * width - 0.5, y * height - 0.5
    total = torch.zeros(level.shape[2], dtype=level.dtype)
    for i in (math.floor(row), math.floor(row) + 1):
        for j in (math.floor(column), math.floor(column) + 1):
            if 0 <= i < height and 0 <= j < width:
                total += (1 - abs(row - i)) * (1 - abs(column - j)) * level[i, j]
    return total


def test_deformable_sampling_equals_its_definition():
    value, sizes, locations, weights = _sampling_inputs()
    output = deformable_attention.deformable_sampling(value, sizes, locations, weights).view(4, 2, 3)
    levels = value[0].split([6, 12])
    for query in range(4):
        for head in range(2):
            expected = torch.zeros(3, dtype=value.dtype)
            for number, (height, width) in enumerate(sizes):
                level = levels[number][:, head].view(height, width, 3)
                for point in range(2):
                    x, y = locations[0, query, head, number, point].tolist()
                    expected += weights[0, query, head, number, point] * _reading(level, x, y)
            torch.testing.assert_close(output[query, head], expected)


def test_deformable_sampling_gradients():
    value, sizes, locations, weights = (
        item.requires_grad_() if isinstance(item, torch.Tensor) else item for item in _sampling_inputs()
    )
    assert torch.autograd.gradcheck(
        lambda v, p, w: deformable_attention.deformable_sampling(v, sizes, p, w), (value, locations, weights)
    )


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_deformable_sampling_in_half_precision(dtype):
    value, sizes, locations, weights = _sampling_inputs(torch.float32)
    expected = deformable_attention.deformable_sampling(value.to(dtype).float(), sizes, locations, weights)
    output = deformable_attention.deformable_sampling(value.to(dtype), sizes, locations, weights)
    assert output.dtype == dtype
    torch.testing.assert_close(output, expected.to(dtype))


@pytest.mark.parametrize("frames", [1, 3])
def test_sampling_back_ends_agree(frames):
    value, sizes, locations, weights = _sampling_inputs()
    value, locations, weights = (item.repeat(frames, *[1] * (item.dim() - 1)) for item in (value, locations, weights))
    value = value * torch.arange(1, 1 + frames).view(-1, 1, 1, 1)
    # also far outside the maps
    locations = 3 * locations - 1
    one, other = (
        back_end(value, sizes, locations, weights)
        for back_end in (deformable_attention.sample_with_grid_sample, deformable_attention.sample_with_embedding_bag)
    )
    torch.testing.assert_close(one, other)


def test_sampling_back_ends_are_exchangeable(monkeypatch):
    monkeypatch.setattr(deformable_attention, "_backends", dict(deformable_attention._backends))
    monkeypatch.setattr(deformable_attention, "_chosen", "grid_sample")
    deformable_attention.register_sampling_backend("zeros", lambda value, *rest: torch.zeros(1))
    deformable_attention.use_sampling_backend("zeros")
    assert deformable_attention.deformable_sampling(*_sampling_inputs()).shape == (1,)
    with pytest.raises(KeyError, match="grid_sample"):
        deformable_attention.use_sampling_backend("none")


def test_fresh_deformable_attention_looks_around_the_reference():
    attention = deformable_attention.DeformableAttention(16, heads=4, levels=2, points=3)
    offsets = attention.sampling_offsets.bias.view(4, 2, 3, 2)
    torch.testing.assert_close(offsets.abs().amax((0, 1, 3)), torch.tensor([1.0, 2.0, 3.0]))
    torch.testing.assert_close(offsets[0, 0, 0], torch.tensor([1.0, 0.0]))


def test_time_code_is_added_to_the_place():
    time = positions.video_time_code(torch.tensor([0, 5]), 16)
    code = positions.clip_code(3, 4, time)
    assert code.shape == (2, 16, 3, 4)
    torch.testing.assert_close(code[1] - code[0], (time[1] - time[0])[:, None, None].expand(-1, 3, 4))


def test_sine_code_by_formula():
    code = positions.sine_code(torch.tensor([1.5]), 6)[0]
    expected = [f(1.5 / 10000 ** (2 * (k // 2) / 6)) for k, f in enumerate([math.sin, math.cos] * 3)]
    torch.testing.assert_close(code, torch.tensor(expected))


def test_sample_points_reads_cell_centres_and_zero_outside():
    maps = torch.arange(12.0).view(1, 1, 3, 4)
    points = torch.tensor([[[0.5 / 4, 0.5 / 3], [3.5 / 4, 2.5 / 3], [2.0 / 4, 0.5 / 3], [-1.0, 0.5]]])
    torch.testing.assert_close(sample_points(maps, points)[0, 0], torch.tensor([0.0, 11.0, 1.5, 0.0]))
    two = sample_points(maps.expand(2, 1, 3, 4), points, mode="nearest")
    assert two.shape == (2, 1, 4)
    assert sample_points(maps.half(), points).dtype == torch.float16


def test_sample_points_of_no_maps():
    assert sample_points(torch.zeros(0, 2, 3, 4), torch.rand(1, 5, 2)).shape == (0, 2, 5)

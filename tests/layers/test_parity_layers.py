"""Stored values of the position codes and of deformable attention."""

from __future__ import annotations

import pytest
import torch

from tests import parity, rule
from univs.layers import positions
from univs.layers.deformable_attention import DeformableAttention, deformable_sampling


def _tensor(case, name, shape):
    return parity.tensor(rule.tensor(case.tag, name, shape))


@pytest.mark.parametrize("case", parity.cases("positions"))
def test_parity_positions(case):
    config = case.config
    frames, height, width, channels = config["T"], config["h"], config["w"], config["channels"]
    indices = parity.tensor(case.inputs["frame_indices"])
    points = parity.tensor(rule.uniform(case.tag + "/pts", (6, 2)))
    fixed = positions.clip_time_code(frames, channels, parity.DEVICE)
    arbitrary = positions.video_time_code(indices, channels)
    counted = positions.video_time_code(torch.arange(frames, device=parity.DEVICE), channels)

    case.check("sine2d", positions.grid_code(height, width, channels, parity.DEVICE).expand(frames, -1, -1, -1))
    case.check("fixed", positions.clip_code(height, width, fixed)[None])
    case.check("arbitrary", positions.clip_code(height, width, arbitrary)[None])
    case.check("arbitrary_default", positions.clip_code(height, width, counted)[None])
    case.check("fixed_points", positions.point_code(points, fixed))
    case.check("arbitrary_points_one", positions.point_code(points, arbitrary[1:2].expand(frames, -1)))
    case.check("arbitrary_points_all", positions.point_code(points, arbitrary))


@pytest.mark.parametrize("case", parity.cases("deform_core"))
def test_parity_deformable_sampling(case):
    config = case.config
    sizes = [tuple(size) for size in config["levels"]]
    rows, heads, points, queries = config["N"], config["heads"], config["points"], config["queries"]
    levels, cells = len(sizes), sum(height * width for height, width in sizes)
    value = _tensor(case, "value", (rows, cells, heads, config["head_dim"]))
    locations = rule.uniform(case.tag + "/loc", (rows, queries, heads, levels, points, 2)) * 1.4 - 0.2
    weights = _tensor(case, "attn", (rows, queries, heads, levels * points)).softmax(-1)
    weights = weights.view(rows, queries, heads, levels, points)
    locations = parity.tensor(locations)
    case.check("output", deformable_sampling(value, sizes, locations, weights))


@pytest.mark.parametrize("case", parity.cases("deform_module"))
def test_parity_deformable_attention(case):
    config = case.config
    sizes = [tuple(size) for size in config["levels"]]
    cells = sum(height * width for height, width in sizes)
    attention = DeformableAttention(config["d_model"], config["heads"], len(sizes), config["points"])
    parity.fill(attention, case.tag, "pixel_decoder.layers.0.self_attn.")
    shape = (2, cells, config["d_model"])
    reference = parity.tensor(rule.uniform(case.tag + "/ref", (2, cells, 1, 2)))
    with torch.no_grad():
        output = attention(_tensor(case, "query", shape), reference, _tensor(case, "input", shape), sizes)
    case.check("output", output)

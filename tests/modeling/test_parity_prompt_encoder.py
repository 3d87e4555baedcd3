"""Stored values of the visual prompt encoders."""

from __future__ import annotations

import pytest
import torch

from tests import parity, rule
from univs.layers.positions import clip_time_code, grid_code, video_time_code
from univs.modeling.prompt_encoder import (
    PromptFrame,
    VisualPromptSettings,
    encode_boxes,
    encode_masks,
    encode_points,
)
from univs.modeling.prompt_encoder.box import box_points
from univs.modeling.prompt_encoder.mask import mask_points


def _frame(case) -> PromptFrame:
    config = case.config
    dim, size = config["hidden_dim"], (config["h"], config["w"])
    if config["position_embedding"] == "FixedT":
        time = clip_time_code(config["T"], dim, parity.DEVICE)[config["key_frame"]]
    else:
        time = video_time_code(parity.tensor([config["frame_index_of_key"]]), dim)[0]
    source = parity.tensor(rule.tensor(case.tag, "prompt_feat", (1, dim, *size)))[0]
    return PromptFrame(source, grid_code(*size, dim, parity.DEVICE) + time[:, None, None], time)


def _check(case, name, tokens):
    """Tokens of every frame are the same; [K, R, C] against [K, R, T, C]."""
    for suffix, values in (("feats", tokens.features), ("pe", tokens.positions)):
        case.check(f"{name}_{suffix}", values.unsqueeze(2).expand(-1, -1, case.config["T"], -1))


@pytest.mark.parametrize("case", parity.cases("prompt_encoder_"))
def test_parity_points(case):
    frame, settings = _frame(case), VisualPromptSettings(tokens=case.config["points_per_prompt"])
    points = parity.tensor(case.inputs["points"]).unsqueeze(1)
    tokens = encode_points(points, torch.ones(len(points), 1, dtype=torch.int64, device=parity.DEVICE), frame, settings)
    case.check("point_eval_coords", points[:, 0] * tokens.valid[:, None])
    _check(case, "point_eval", tokens)


@pytest.mark.parametrize("mode", ["eval", "train"])
@pytest.mark.parametrize("case", parity.cases("prompt_encoder_"))
def test_parity_boxes(case, mode):
    frame, settings = _frame(case), VisualPromptSettings(tokens=case.config["points_per_prompt"])
    draws, boxes = parity.RuleDraws(case), case.stored_input("boxes")
    case.check(f"box_{mode}_coords", box_points(boxes, draws))
    _check(case, f"box_{mode}", encode_boxes(boxes, frame, settings, draws, mode == "train"))


@pytest.mark.parametrize("mode", ["eval", "train"])
@pytest.mark.parametrize("scale", [1.0, 0.9])
@pytest.mark.parametrize("case", parity.cases("prompt_encoder_"))
def test_parity_masks(case, mode, scale):
    frame, settings = _frame(case), VisualPromptSettings(tokens=case.config["points_per_prompt"])
    draws, boxes = parity.RuleDraws(case), case.stored_input("boxes")
    masks = case.stored_input("masks").float() * scale
    name = f"{'mask' if scale == 1.0 else 'softmask'}_{mode}"
    case.check(f"{name}_coords", mask_points(masks, boxes, draws))
    _check(case, name, encode_masks(masks, boxes, frame, settings, draws, mode == "train"))

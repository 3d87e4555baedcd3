"""Stored values of the pixel decoder."""

from __future__ import annotations

import re

import pytest
import torch

from tests import parity, rule
from univs.modeling.pixel_decoder import PixelDecoder, PixelDecoderSettings

NAMES = ("res2", "res3", "res4", "res5")


def _inputs(case):
    """Channels by name and the maps that the text of the case describes."""
    text = case.inputs["res2..res5"]
    channels = [int(number) for number in re.search(r"C = \[([\d, ]+)\]", text).group(1).split(",")]
    frames = int(re.search(r"T=(\d+)", text).group(1))
    height, width = case.config["H"], case.config["W"]
    shapes = [(frames, c, height // s, width // s) for c, s in zip(channels, (4, 8, 16, 32), strict=True)]
    maps = {n: parity.tensor(rule.tensor(case.tag, n, shape)).relu() for n, shape in zip(NAMES, shapes, strict=True)}
    return dict(zip(NAMES, channels, strict=True)), maps


@pytest.mark.parametrize("case", parity.cases("pixel_decoder"))
def test_parity_pixel_decoder(case):
    channels, maps = _inputs(case)
    config = case.config
    settings = PixelDecoderSettings(
        in_channels=channels,
        hidden_dim=config["conv_dim"],
        encoder_layers=config["encoder_layers"],
        heads=config["heads"],
    )
    decoder = parity.fill(PixelDecoder(settings), case.tag, "pixel_decoder.")
    tokens = []
    for layer in decoder.layers:
        layer.register_forward_hook(lambda module, inputs, output: tokens.append(output))
    with torch.no_grad():
        levels, mask_features = decoder(maps)
        stride_four = decoder.stride_four_map(maps["res2"], levels[-1])
    case.check("encoder_layer_1", tokens[0])
    case.check("encoder_last", tokens[-1])
    case.check("mask_features", mask_features)
    case.check("fpn_out", stride_four)
    for number, level in enumerate(levels):
        case.check(f"level_{number}", level)

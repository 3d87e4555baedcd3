"""The pixel decoder at other sizes than the published ones."""

from __future__ import annotations

import pytest
import torch

from univs.errors import UserError
from univs.modeling.pixel_decoder import PixelDecoder, PixelDecoderSettings

CHANNELS = {"res2": 6, "res3": 8, "res4": 10, "res5": 12}


def _maps(height=64, width=96):
    generator = torch.Generator().manual_seed(0)
    strides = dict(zip(CHANNELS, (4, 8, 16, 32), strict=True))
    return {
        name: torch.randn(2, channels, height // strides[name], width // strides[name], generator=generator)
        for name, channels in CHANNELS.items()
    }


def _decoder(hidden_dim=48):
    torch.manual_seed(0)
    return PixelDecoder(PixelDecoderSettings(CHANNELS, hidden_dim, encoder_layers=1, feedforward_dim=32, heads=4))


def test_levels_come_coarsest_first():
    levels, mask_features = _decoder()(_maps())
    assert [tuple(level.shape) for level in levels] == [(2, 48, 2, 3), (2, 48, 4, 6), (2, 48, 8, 12)]
    assert mask_features.shape == (2, 48, 16, 24)


def test_frames_do_not_see_each_other():
    decoder, maps = _decoder(), _maps()
    alone = decoder({name: x[:1] for name, x in maps.items()})
    together = decoder(maps)
    torch.testing.assert_close(alone[1], together[1][:1])
    torch.testing.assert_close(alone[0][2], together[0][2][:1])


@pytest.mark.parametrize(("hidden_dim", "groups"), [(64, 32), (48, 24), (36, 18)])
def test_norms_take_as_many_groups_as_divide_the_width(hidden_dim, groups):
    assert _decoder(hidden_dim).lateral[1].num_groups == groups


def test_heads_must_divide_the_width():
    with pytest.raises(UserError, match="width 50 must be a multiple of its 4 heads"):
        _decoder(50)


def test_always_computed_in_float32():
    decoder, maps = _decoder(), _maps()
    plain = decoder(maps)[1]
    with torch.autocast("cpu", torch.bfloat16):
        mixed = decoder({name: x.bfloat16() for name, x in maps.items()})[1]
    assert mixed.dtype == torch.float32
    rounded = decoder({name: x.bfloat16().float() for name, x in maps.items()})[1]
    torch.testing.assert_close(mixed, rounded, rtol=0, atol=0)
    assert not torch.equal(mixed, plain)  # the inputs were rounded, nothing else


def test_every_parameter_gets_a_gradient():
    decoder = _decoder()
    # fresh attention has equal weights and fixed places: moved a little, all of it matters
    for layer in decoder.layers:
        torch.nn.init.normal_(layer.self_attn.sampling_offsets.weight, std=0.1)
        torch.nn.init.normal_(layer.self_attn.attention_weights.weight, std=0.1)
    levels, mask_features = decoder(_maps())
    (sum(level.square().sum() for level in levels) + mask_features.square().sum()).backward()
    assert not [name for name, p in decoder.named_parameters() if p.grad is None or not p.grad.abs().sum()]

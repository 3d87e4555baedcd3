"""Swin Transformer: windows, shifts, freezing, registration."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from detectron2.modeling import build_backbone

from univs.config import get_config
from univs.modeling.backbones.swin import (
    BLOCKED_SCORE,
    PatchMerging,
    SwinSettings,
    SwinTransformer,
    from_windows,
    shift_scores,
    to_windows,
)

TINY = SwinSettings(embed_dim=12, depths=(2, 2), heads=(2, 3), window=4, out_features=("res2", "res3"))


def test_windows_and_back():
    x = torch.randn(2, 8, 12, 3)
    windows = to_windows(x, 4)
    assert windows.shape == (2, 6, 16, 3)
    torch.testing.assert_close(windows[0, 1].view(4, 4, 3), x[0, :4, 4:8])
    torch.testing.assert_close(from_windows(windows, 4, (8, 12)), x)


def test_shift_scores_join_neighbours_only():
    scores = shift_scores((8, 8), 4, torch.device("cpu"))
    assert scores.shape == (4, 16, 16)
    assert (scores[0] == 0).all()  # all cells of the first window are neighbours
    # after the shift by 2, the last two rows of the lower windows come from the top of the picture
    lower = scores[2].view(4, 4, 4, 4)
    assert lower[0, 0, 1, 3] == 0
    assert lower[0, 0, 2, 0] == BLOCKED_SCORE
    assert scores[3].view(4, 4, 4, 4)[0, 0, 0, 2] == BLOCKED_SCORE


def test_patch_merging_takes_neighbours_in_column_order():
    merging = PatchMerging(1)
    merging.norm = torch.nn.Identity()
    merging.reduction = torch.nn.Identity()
    x = torch.arange(6.0).view(1, 2, 3, 1)
    # odd width: a column of zeros is added
    assert merging(x)[0, 0].tolist() == [[0, 3, 1, 4], [2, 5, 0, 0]]


def test_maps_have_the_promised_shapes_at_any_size():
    swin = SwinTransformer(TINY).eval()
    outputs = swin(torch.randn(1, 3, 37, 50))
    assert outputs["res2"].shape == (1, 12, 10, 13)
    assert outputs["res3"].shape == (1, 24, 5, 7)
    assert {name: (spec.channels, spec.stride) for name, spec in swin.output_shape().items()} == {
        "res2": (12, 4),
        "res3": (24, 8),
    }


def test_frozen_parts_stay_in_evaluation_mode_and_get_no_gradient():
    swin = SwinTransformer(dataclasses.replace(TINY, freeze_at=2)).train()
    assert not swin.patch_embed.training
    assert not swin.layers[0].blocks[1].training
    assert swin.layers[1].training
    sum(x.sum() for x in swin(torch.randn(1, 3, 32, 32)).values()).backward()
    without = {name.split(".")[0] + name.split(".")[1] for name, p in swin.named_parameters() if p.grad is None}
    assert without == {"patch_embedproj", "patch_embednorm", "layers0"}
    assert swin.norm0.weight.grad is not None


def test_drop_path_only_in_training():
    swin = SwinTransformer(dataclasses.replace(TINY, drop_path_rate=0.9))
    x = torch.randn(1, 3, 32, 32)
    torch.manual_seed(0)
    different = [swin.train()(x)["res3"] for _ in range(4)]
    assert any(not torch.equal(different[0], other) for other in different[1:])
    torch.testing.assert_close(swin.eval()(x)["res3"], swin(x)["res3"])
    assert [block.drop_path.p for stage in swin.layers for block in stage.blocks] == pytest.approx([0, 0.3, 0.6, 0.9])


def test_checkpointing_gives_the_same_gradients():
    x = torch.randn(1, 3, 32, 32)
    gradients = []
    for use_checkpoint in (False, True):
        torch.manual_seed(0)
        swin = SwinTransformer(dataclasses.replace(TINY, drop_path_rate=0.0, use_checkpoint=use_checkpoint)).train()
        swin(x)["res3"].square().mean().backward()
        gradients.append(swin.patch_embed.proj.weight.grad)
    torch.testing.assert_close(*gradients)


def test_built_from_a_configuration():
    opts = ["MODEL.BACKBONE.NAME", "build_swin_backbone", "MODEL.BACKBONE.FREEZE_AT", 1]
    opts += ["MODEL.SWIN.EMBED_DIM", 12, "MODEL.SWIN.DEPTHS", [1, 1, 1, 1], "MODEL.SWIN.NUM_HEADS", [1, 2, 3, 4]]
    swin = build_backbone(get_config(None, opts))
    assert swin.settings.embed_dim == 12 and swin.settings.freeze_at == 1
    assert swin.size_divisibility == 32
    assert swin.output_shape()["res5"].channels == 96

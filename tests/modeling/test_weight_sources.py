"""Files of weights are recognised by their names and shapes, and fit our models one to one."""

from __future__ import annotations

import functools
import re

import pytest
import torch
from torch import Tensor

from tests import parity
from tests.published_file import published_state, small_model
from univs.config import get_config
from univs.errors import UserError
from univs.modeling.meta_arch import UniVS
from univs.modeling.published_names import to_published
from univs.modeling.weight_sources import IMAGENET, MASK2FORMER, OURS, PUBLISHED, backbone_of, recognised
from univs.modeling.weights import compare, load_state, select
from univs.resources import config_file

TITLES = {"r50": "ResNet-50", "swint": "Swin-T", "swinb": "Swin-B", "swinl": "Swin-L"}


@functools.cache
def model_of(backbone: str, stage: int = 2) -> UniVS:
    """Our model of a backbone, without values."""
    cfg = get_config(config_file(f"train/univs_{backbone}_stage{stage}.yaml"), ["MODEL.DEVICE", "meta"])
    with torch.device("meta"):
        return UniVS(cfg)


def without_values(shapes: dict[str, tuple[int, ...]]) -> dict[str, Tensor]:
    return {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}


def published(backbone: str, averaged: bool = False) -> dict[str, Tensor]:
    """A published state without values; stage 3 has averaged copies of everything."""
    state = without_values(parity.published_shapes(f"univs_{backbone}"))
    copies = {re.sub(r"^(\w+)\.", r"\1_t.", name): value for name, value in state.items()}
    return state | (copies if averaged else {})


# --- published models ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("averaged", [False, True], ids=["stage 2", "stage 3"])
@pytest.mark.parametrize("backbone", TITLES)
def test_every_published_entry_has_its_place(backbone: str, averaged: bool) -> None:
    state = published(backbone, averaged)
    source = recognised(state, f"weights/univs_{backbone}{'' if averaged else '_stage2'}.pth")
    tensors, report = select(model_of(backbone, 3 if averaged else 2), source)
    assert report.complete and not report.fresh and not report.left_out
    assert len(tensors) == len(parity.published_shapes(f"univs_{backbone}")) and report.averaged == averaged
    told = report.summary()
    assert f"published UniVS with {TITLES[backbone]}, stage {3 if averaged else 2}" in told and "\n" not in told
    assert f"all {len(tensors)} {'averaged ' * averaged}weights have their place, none missing, none left over" in told


def test_a_file_of_another_image_encoder_is_explained() -> None:
    source = recognised(published("swinb"), "univs_swinb_stage3.pth")
    with pytest.raises(UserError, match="with Swin-B, stage 3, and the config.* asks for ResNet-50.*'swinb'") as told:
        select(model_of("r50"), source)
    assert "univs_swinb_stage3.pth" in str(told.value) and "missing" not in str(told.value)


def test_a_model_with_other_parts_is_explained() -> None:
    cfg = get_config(config_file("mini/univs_mini_queries.yaml"), ["MODEL.DEVICE", "cpu"])
    with torch.device("meta"):
        ours = UniVS(cfg).state_dict()
        dense = UniVS(get_config(config_file("mini/univs_mini.yaml")))
    with pytest.raises(UserError, match="holds the parts mask_decoder, pixel_decoder that the configuration leaves"):
        select(dense, recognised(ours))
    left = {name: value for name, value in ours.items() if not name.startswith("dense_memory.")}
    with pytest.raises(UserError, match="asks for the parts dense_memory that the file lacks"):
        with torch.device("meta"):
            select(UniVS(cfg), recognised(left))


@pytest.mark.parametrize("change", ["missing", "left over", "of another shape", "averaged"])
def test_one_entry_too_few_or_too_many_is_refused_and_named(change: str) -> None:
    state = published("r50", averaged=True)
    key = "sem_seg_head.predictor.query_feat.weight"
    if change == "missing":
        del state[key]
    elif change == "left over":
        state["sem_seg_head.predictor.more.weight"] = torch.empty(1, device="meta")
    elif change == "of another shape":
        state[key] = torch.empty(100, 256, device="meta")
    else:
        state["sem_seg_head_t.predictor.query_feat.weight"] = torch.empty(7, 256, device="meta")
    with pytest.raises(UserError, match="WEIGHTS_PARTIAL") as told:
        select(model_of("r50"), recognised(state))
    assert {
        "missing": "1 missing in the file (mask_decoder.query_content.weight)",
        "left over": "1 left over in the file (sem_seg_head.predictor.more.weight)",
        "of another shape": "mask_decoder.query_content.weight [100, 256] instead of [200, 256]",
        "averaged": "averaged mask_decoder.query_content.weight [7, 256] instead of [200, 256]",
    }[change] in str(told.value)
    tensors, report = select(model_of("r50"), recognised(state), partial=True)
    assert not report.complete and len(tensors) >= 625


def test_constants_of_a_criterion_are_left_out_and_told() -> None:
    state = published("r50") | {"criterion.empty_weight": torch.empty(134, device="meta")}
    _, report = select(model_of("r50"), recognised(state))
    assert report.complete and "left out: criterion.empty_weight" in report.summary()


# --- averaged copies ----------------------------------------------------------------------------------------------


def test_averages_take_the_place_of_what_trains_and_of_nothing_else() -> None:
    model = small_model()
    state = published_state(model, averaged=1.0)
    trained = {name for name, value in model.named_parameters() if value.requires_grad}
    frozen = model.state_dict().keys() - trained
    assert "backbone.stem.conv1.weight" in frozen and "backbone.stem.conv1.norm.running_var" in frozen
    tensors, report = select(model, recognised(state))
    for name, value in model.state_dict().items():
        torch.testing.assert_close(tensors[name], value + 1.0 if name in trained else value, rtol=0, atol=0)
    assert report.averaged
    tensors, report = select(model, recognised(state), averaged=False)
    assert not report.averaged and all(torch.equal(tensors[name], value) for name, value in model.state_dict().items())


def test_a_file_of_averages_alone_loads() -> None:
    model = small_model()
    state = {name: value for name, value in published_state(model, 0.0).items() if re.match(r"\w+_t\.", name)}
    assert select(model, recognised(state))[1].complete


def test_copies_that_lack_a_trained_parameter_are_refused() -> None:
    state = published_state(small_model(), 1.0)
    del state["sem_seg_head_t.predictor.query_feat.weight"]
    with pytest.raises(UserError, match="none of mask_decoder.query_content.weight.*WEIGHTS_AVERAGED"):
        select(small_model(), recognised(state))


# --- starting points ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("backbone", TITLES)
def test_mask2former_starts_what_it_has(backbone: str) -> None:
    start = parity.published_shapes(f"mask2former_{backbone}_initial")
    wanted = parity.published_shapes(f"univs_{backbone}")
    source = recognised(without_values(start), f"model_final_{backbone}.pkl")
    tensors, report = select(model_of(backbone), source)
    assert source.origin is MASK2FORMER and report.complete
    assert {to_published(name) for name in report.fresh} == {
        key for key, shape in wanted.items() if start.get(key) != shape
    }
    assert {to_published(name) for name in tensors} == {key for key, shape in wanted.items() if start.get(key) == shape}
    told = report.summary()
    assert f"Mask2Former with {TITLES[backbone]}" in told and f"{len(report.fresh)} start fresh" in told
    assert "mask_decoder.layers.*.prompt_attention.norm.bias (9)" in told and "class_embed.weight" in told
    with pytest.raises(UserError, match="training can start from but no whole UniVS model"):
        select(model_of(backbone), source, start=False)


def test_names_of_older_mask2former_files_are_known() -> None:
    start = without_values(parity.published_shapes("mask2former_r50_initial"))
    older = {
        name.replace("query_feat", "static_query").replace("sem_seg_head.pixel_decoder.", "sem_seg_head."): value
        for name, value in start.items()
    }
    assert older.keys() != start.keys()
    assert recognised(older).tensors.keys() == recognised(start).tensors.keys()


def test_a_mask2former_file_that_lacks_more_is_refused() -> None:
    start = without_values(parity.published_shapes("mask2former_r50_initial"))
    del start["sem_seg_head.predictor.decoder_norm.weight"]
    with pytest.raises(UserError, match=r"1 missing in the file \(mask_decoder.heads.norm.weight\)"):
        select(model_of("r50"), recognised(start))


def classifier(kind: str) -> dict[str, Tensor]:
    """The state of an ImageNet classifier as its authors name it."""
    name = "swint" if kind == "swin" else "r50"
    backbone = {
        key.removeprefix("backbone."): shape
        for key, shape in parity.published_shapes(f"univs_{name}").items()
        if key.startswith("backbone.")
    }
    if kind == "swin":
        used = {key: shape for key, shape in backbone.items() if not re.match(r"norm\d", key)}
        masks = {f"layers.{stage}.blocks.1.attn_mask": (4, 49, 49) for stage in range(3)}
        return without_values(used | masks | {"norm.weight": (768,), "norm.bias": (768,), "head.weight": (1000, 768)})
    if kind == "detectron2":
        return without_values(backbone | {"fc.weight": (1000, 2048), "fc.bias": (1000,)})
    return without_values({_torchvision_name(key): shape for key, shape in backbone.items()} | {"fc.bias": (1000,)})


def _torchvision_name(key: str) -> str:
    """conv1, bn1, layer1.0.conv1, layer1.0.bn1, layer1.0.downsample.0, layer1.0.downsample.1."""
    key = re.sub(r"conv(\d)\.norm\.", r"bn\1.", key).replace("shortcut.norm.", "downsample.1.")
    key = key.replace("shortcut.", "downsample.0.").removeprefix("stem.")
    return re.sub(r"^res(\d)", lambda match: f"layer{int(match[1]) - 1}", key)


@pytest.mark.parametrize(("kind", "backbone"), [("swin", "swint"), ("detectron2", "r50"), ("torchvision", "r50")])
def test_a_classifier_starts_the_image_encoder(kind: str, backbone: str) -> None:
    model, source = model_of(backbone, 1), recognised(classifier(kind))
    tensors, report = select(model, source)
    own = {name for name in model.state_dict() if re.match(r"backbone\.(?!norm\d)", name)}
    assert source.origin is IMAGENET and set(tensors) == own
    assert report.complete and set(report.fresh) == model.state_dict().keys() - own
    assert "ImageNet classifier with " + TITLES[backbone] in report.summary() and report.left_out


def test_a_classifier_of_another_width_is_refused() -> None:
    with pytest.raises(UserError, match="the configuration asks for Swin-B"):
        select(model_of("swinb"), recognised(classifier("swin")))


# --- what else there is -------------------------------------------------------------------------------------------


def test_our_own_names_stay() -> None:
    state = small_model().state_dict()
    source = recognised({f"module.{name}": value for name, value in state.items()}, "model_final.pth")
    assert source.origin is OURS and source.tensors.keys() == state.keys() and source.stage is None
    assert recognised(published_state(small_model())).origin is PUBLISHED
    assert "ResNet-50 of 8 instead of 64 channels" in source.title


@pytest.mark.parametrize(
    ("shapes", "title"),
    [
        ({"backbone.patch_embed.proj.weight": (100, 3, 4, 4)}, "a Swin Transformer of 100 channels"),
        ({"backbone.stem.conv1.weight": (64, 3, 7, 7)}, "a ResNet of (0, 0, 0, 0) blocks"),
        ({"backbone.stem.conv.weight": (32, 3, 3, 3)}, "EfficientNet-Lite0"),
        ({"x": (1,)}, "an unknown image encoder"),
    ],
)
def test_image_encoders_are_told_apart(shapes: dict[str, tuple[int, ...]], title: str) -> None:
    assert backbone_of(without_values(shapes)).title.startswith(title)


def test_a_loaded_model_has_the_files_values() -> None:
    state = published_state(small_model("other"))
    target = small_model("target")
    assert load_state(target, state, source="w.pth").complete
    for name, value in small_model("other").state_dict().items():
        assert torch.equal(target.state_dict()[name], value)
    assert compare(target.state_dict(), recognised(state)).complete

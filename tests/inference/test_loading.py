"""From a file of weights to a model: which configuration builds it, what is refused, what the user is told."""

from __future__ import annotations

import dataclasses
import json
import re
import warnings
from pathlib import Path

import pytest
import torch

from tests import parity
from tests.published_file import published_state, small_model, write_config, write_published
from univs.config import get_config
from univs.errors import UserError
from univs.inference.loading import load_model, load_segmenter, note_of_squares, state_hash
from univs.inference.model_choice import (
    SETTINGS_KEY,
    choose_config,
    find_config,
    published_configs,
    settings_text,
    stored_config,
)
from univs.modeling.weight_sources import recognised
from univs.modeling.weights import save_weights
from univs.resources import config_file


def source_of(backbone: str):
    """A published file of a backbone, names and shapes only."""
    shapes = parity.published_shapes(f"univs_{backbone}")
    return recognised({name: torch.empty(shape, device="meta") for name, shape in shapes.items()}, "univs.pth")


# --- whole files --------------------------------------------------------------------------------------------------


def test_a_published_file_and_a_config_make_the_published_model(tmp_path: Path) -> None:
    config = write_config(tmp_path / "small.yaml")
    loaded = load_model(config, write_published(tmp_path / "univs_small_stage2.pth", small_model()), "cpu")
    assert loaded.cfg.INFERENCE.TASK == "vos" and not loaded.model.training
    assert "published UniVS" in loaded.report and "stage 2: all " in loaded.report
    images = loaded.model.normalised_frames([{"image": torch.full((3, 32, 64), 120.0)}])
    with torch.inference_mode():
        masks = [model.mask_decoder(model.encode(images)).mask_logits for model in (loaded.model, small_model())]
    assert torch.equal(*masks) and masks[0].isfinite().all()


@pytest.mark.parametrize("wanted", [True, False], ids=["averages", "plain weights"])
def test_averages_are_loaded_unless_the_plain_weights_are_wanted(tmp_path: Path, wanted: bool) -> None:
    config = tmp_path / "wanted.yaml"
    write_config(tmp_path / "small.yaml")
    config.write_text(f"_BASE_: small.yaml\nMODEL:\n  WEIGHTS_AVERAGED: {wanted}\n")
    loaded = load_model(config, write_published(tmp_path / "w.pth", small_model(), averaged=1.0), "cpu")
    name = "mask_decoder.query_content.weight"
    assert torch.equal(loaded.model.state_dict()[name], small_model().state_dict()[name] + float(wanted))
    assert "stage 3: all " in loaded.report and ("averaged weights" in loaded.report) == wanted


def test_a_file_of_full_size_needs_no_config(tmp_path: Path) -> None:
    shapes = parity.published_shapes("univs_r50")
    values = {key: torch.full(shape, 0.01, dtype=torch.float32) for key, shape in shapes.items()}
    torch.save({"model": values}, tmp_path / "univs_r50_stage3.pth")
    loaded = load_model(weights=tmp_path / "univs_r50_stage3.pth", device="cpu", task="rvos")
    assert loaded.cfg.INFERENCE.TASK == "rvos" and loaded.cfg.MODEL.UNIVS.SELF_ATTENTION == "sep-blocked"
    assert "published UniVS with ResNet-50, stage 3: all 626 weights have their place" in loaded.report
    assert all((value == torch.tensor(0.01)).all() for value in loaded.model.state_dict().values())


def test_a_file_of_another_model_is_refused_in_a_sentence(tmp_path: Path) -> None:
    config = write_config(tmp_path / "small.yaml")
    state = published_state(small_model())
    torch.save(state | {"sem_seg_head.predictor.class_embed.weight": torch.ones(3, 3)}, tmp_path / "m2f.pkl")
    with pytest.raises(UserError, match="training can start from but no whole UniVS model"):
        load_model(config, tmp_path / "m2f.pkl", "cpu")
    del state["sem_seg_head.predictor.query_feat.weight"]
    torch.save(state, tmp_path / "w.pth")
    with pytest.raises(UserError, match="1 missing in the file"):
        load_model(config, tmp_path / "w.pth", "cpu")
    with pytest.raises(UserError, match="the configuration asks for EfficientNet-Lite0"):
        load_segmenter("univs_mini", tmp_path / "w.pth", "cpu")


def test_a_session_runs_a_published_model(tmp_path: Path) -> None:
    config = write_config(tmp_path / "small.yaml")
    segmenter = load_segmenter(config, write_published(tmp_path / "w.pth", small_model()), "cpu")
    assert segmenter.name.startswith("w-")
    state = segmenter.model.state_dict()
    assert all(torch.equal(state[name], value) for name, value in small_model().state_dict().items())


def test_the_name_follows_every_value_that_was_loaded_and_nothing_else(tmp_path: Path) -> None:
    config, model = write_config(tmp_path / "small.yaml"), small_model()

    def name_of(file: str, model: torch.nn.Module = model) -> str:
        return load_model(config, write_published(tmp_path / file, model, averaged=1.0), "cpu").name

    first = name_of("w.pth")
    assert re.fullmatch(r"w-[0-9a-f]{12}", first)
    content = torch.load(tmp_path / "w.pth", weights_only=True)
    torch.save(content | {"optimizer": {"state": {0: torch.ones(9)}}}, tmp_path / "w.pth")
    assert load_model(config, tmp_path / "w.pth", "cpu").name == first
    content["model"]["sem_seg_head_t.predictor.query_feat.weight"][-1, -1] += 1e-3
    torch.save(content, tmp_path / "w.pth")
    assert load_model(config, tmp_path / "w.pth", "cpu").name != first
    plain = load_model(config, tmp_path / "w.pth", "cpu", options=["MODEL.WEIGHTS_AVERAGED", "False"])
    assert plain.name not in (first, load_model(config, tmp_path / "w.pth", "cpu").name)


@pytest.mark.parametrize(
    ("backbone", "stage", "square", "told"),
    [("swint", 2, 0, True), ("swint", 2, 1024, False), ("swint", 3, 0, False), ("r50", 2, 0, False)],
)
def test_weights_of_squares_are_told(backbone: str, stage: int, square: int, told: bool) -> None:
    source = dataclasses.replace(source_of(backbone), stage=stage)
    cfg = get_config(None, ["INPUT.SQUARE_TEST", square])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        note_of_squares(cfg, source)
    assert [("square of 1024" in str(each.message)) for each in caught] == [True] * told


def test_the_hash_of_a_state_tells_names_shapes_and_kinds_apart() -> None:
    states = [
        {"a": torch.zeros(4)},
        {"b": torch.zeros(4)},
        {"a": torch.zeros(2, 2)},
        {"a": torch.zeros(4, dtype=torch.int32)},
        {"a": torch.zeros(4), "b": torch.tensor(True)},
        {"a": torch.zeros(2), "b": torch.zeros(2)},
    ]
    assert len({state_hash(state) for state in states}) == len(states)
    assert state_hash({"a": torch.arange(6.0).view(2, 3).t()}) == state_hash(
        {"a": torch.tensor([[0.0, 3], [1, 4], [2, 5]])}
    )


# --- which config -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("backbone", ["r50", "swint", "swinb", "swinl"])
@pytest.mark.parametrize("task", ["any", "vos", "pvos", "rvos", "vis", "vps", "vss", "image"])
def test_a_published_file_without_config_gets_ours(backbone: str, task: str) -> None:
    cfg = choose_config(source_of(backbone), {}, task)
    assert cfg.INFERENCE.TASK == ("vos" if task == "any" else task)
    encoder = "build_resnet_backbone" if backbone == "r50" else "build_swin_backbone"
    assert cfg.MODEL.BACKBONE.NAME == encoder
    assert backbone == "r50" or cfg.MODEL.SWIN.EMBED_DIM == {"swint": 96, "swinb": 128, "swinl": 192}[backbone]


def test_our_own_file_without_config_gets_the_embedded_models(tmp_path: Path) -> None:
    embedded = load_model(device="cpu")
    save_weights(embedded.model.state_dict(), tmp_path / "mine.safetensors")
    again = load_model(weights=tmp_path / "mine.safetensors", device="cpu")
    assert again.model.state_dict().keys() == embedded.model.state_dict().keys() and again.name != embedded.name


def test_what_fits_no_config_asks_for_one() -> None:
    with pytest.raises(UserError, match="ResNet-50 of 8 instead of 64 channels, for which no config.*--config"):
        choose_config(recognised(published_state(small_model()), "w.pth"), {})


def test_settings_inside_a_file_come_back(tmp_path: Path) -> None:
    cfg = get_config(write_config(tmp_path / "small.yaml", "eval/rvos/univs_r50_refdavis.yaml"))
    metadata = {SETTINGS_KEY: settings_text(cfg)}
    stored = stored_config(metadata, "w.safetensors")
    assert stored.INFERENCE == cfg.INFERENCE and stored.MODEL.UNIVS == cfg.MODEL.UNIVS and stored.INPUT == cfg.INPUT
    assert stored.MODEL.RESNETS == cfg.MODEL.RESNETS and "DATASETS" not in json.loads(metadata[SETTINGS_KEY])
    small = recognised(published_state(small_model()), "w.pth")
    assert choose_config(small, metadata, "vis").INFERENCE.TASK == "rvos"  # nothing of ours would fit it
    assert choose_config(source_of("r50"), metadata, "rvos").MODEL.UNIVS.HIDDEN_DIM == 32
    assert choose_config(source_of("r50"), metadata, "vis").MODEL.UNIVS.HIDDEN_DIM == 256


@pytest.mark.parametrize("text", ["{", "[1]", '{"MODEL": {"NOTHING": 1}}', '{"MODEL": 3}', "[" * 100_000])
def test_settings_that_cannot_be_used_are_refused(text: str) -> None:
    with pytest.raises(UserError, match=r"settings inside w.safetensors .* cannot be used"):
        stored_config({SETTINGS_KEY: text}, "w.safetensors")


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("univs_R50_vos_davis17_c1+univs.yaml", "eval/vos/univs_r50_davis17.yaml"),
        ("configs/univs_inf/vids/vis/univs_swinb_ovis_c1+univs_entity.yaml", "eval/vis/univs_swinb_ovis.yaml"),
        ("univs_swinb_text_c1+univs_entity", "eval/rvos/univs_swinb_own_videos.yaml"),
    ],
)
def test_names_of_published_configs_are_understood(name: str, file: str) -> None:
    assert find_config(name) == get_config(config_file(file))


@pytest.mark.parametrize(
    "name",
    ["configs/eval/vos/univs_r50_davis17.yaml", "vos/univs_r50_davis17", "univs_r50_davis17", "univs_r50_davis17.yaml"],
)
def test_our_configs_are_known_by_name_from_any_folder(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_config(name) == get_config(config_file("eval/vos/univs_r50_davis17.yaml"))
    with pytest.raises(UserError, match="rvos/univs_swinb_own_videos, vps/univs_swinb_own_videos; name one"):
        find_config("univs_swinb_own_videos")
    with pytest.raises(UserError, match="no model or config"):
        find_config("pvos/univs_r50_davis17")


def test_every_published_config_has_one_of_ours() -> None:
    assert len(published_configs()) >= 50 and len(set(published_configs().values())) == len(published_configs())
    with pytest.raises(UserError, match="no model or config 'univs_R50_nothing.yaml'"):
        find_config("univs_R50_nothing.yaml")

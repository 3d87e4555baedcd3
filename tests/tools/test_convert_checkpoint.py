"""Checkpoints become safetensors with the settings of the model inside, and load again without a config."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.published_file import small_model, write_config, write_published
from tools.convert_checkpoint import main
from univs.inference.loading import load_model
from univs.modeling.weight_files import read_metadata


@pytest.mark.parametrize("options", [[], ["--plain"]], ids=["averages", "plain"])
def test_a_published_file_becomes_ours(tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str]) -> None:
    config = write_config(tmp_path / "small.yaml", "eval/rvos/univs_r50_refdavis.yaml")
    source, target = write_published(tmp_path / "univs_stage3.pth", small_model(), 1.0), tmp_path / "out.safetensors"
    assert main([str(source), str(target), "--config", str(config), *options]) == 0
    assert "all " in (told := capsys.readouterr().out) and ("averaged weights" in told) == (not options)
    assert read_metadata(target)["source"].startswith("published UniVS with ")
    config.unlink()
    loaded = load_model(weights=target, device="cpu")
    assert loaded.cfg.INFERENCE.TASK == "rvos" and loaded.cfg.MODEL.UNIVS.HIDDEN_DIM == 32
    trained = {name for name, value in small_model().named_parameters() if value.requires_grad and not options}
    for name, value in small_model().state_dict().items():
        assert torch.equal(loaded.model.state_dict()[name], value + 1.0 if name in trained else value)


def test_weights_that_share_memory_are_written_apart(tmp_path: Path) -> None:
    config, model = write_config(tmp_path / "small.yaml"), small_model()
    write_published(tmp_path / "w.pth", model)
    content = torch.load(tmp_path / "w.pth", weights_only=True)
    state = content["model"]
    state["sem_seg_head.predictor.cls_temp.weight"] = state["sem_seg_head.predictor.reid_temp.weight"]
    torch.save(content, tmp_path / "w.pth")
    assert main([str(tmp_path / "w.pth"), str(tmp_path / "out.safetensors"), "--config", str(config)]) == 0
    heads = load_model(weights=tmp_path / "out.safetensors", device="cpu").model.mask_decoder.heads
    assert torch.equal(heads.class_temperature.weight, heads.identity_temperature.weight)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["absent.pth", "out.safetensors"], "absent.pth does not exist"),
        (["w.pth", "out.pth"], "must end in .safetensors"),
        (["w.pth", "out.safetensors"], "name yours with --config"),
        (["w.pth", "out.safetensors", "--config", "univs_R50_vos_davis17_c1+univs"], "asks for ResNet-50"),
    ],
)
def test_mistakes_are_told(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    told: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    write_published(Path("w.pth"), small_model())
    assert main(arguments) == 2
    assert told in capsys.readouterr().err
    assert not Path("out.safetensors").exists()

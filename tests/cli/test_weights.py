"""``univs demo --weights``: any checkpoint by one option, and what the user is told of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.published_file import small_model, write_config, write_published
from univs.cli import main
from univs.modeling.weights import read_checkpoint, save_weights
from univs.resources import weights_file

CLIP = Path(__file__).resolve().parents[2] / "datasets" / "demo_clips" / "dog_walk.mp4"
DEMO = ["demo", "--video", str(CLIP), "--box", "1:255,185,350,262@0", "--end", "1", "--device", "cpu", "--no-overlay"]


def test_weights_alone_are_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    save_weights(read_checkpoint(weights_file("univs_mini.safetensors"))["model"], tmp_path / "mine.safetensors")
    assert main([*DEMO, "--weights", "mine.safetensors", "--output", "out"]) == 0
    told = capsys.readouterr().err
    assert "univs: note: mine.safetensors: UniVS with EfficientNet-Lite0: all " in told
    assert (tmp_path / "out" / "results.json").exists()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--weights", "w.pth"], "for which no configuration comes with the library; name yours with --config."),
        (["--weights", "w.pth", "--config", "univs_mini"], "the configuration asks for EfficientNet-Lite0"),
        (["--weights", "broken.pth"], "broken.pth cannot be read"),
        (["--config", "small.yaml"], "needs weights; give them with --weights FILE."),
    ],
)
def test_weights_that_do_not_fit_are_a_sentence(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    told: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    write_published(Path("w.pth"), small_model())
    write_config(Path("small.yaml"))
    Path("broken.pth").write_bytes(b"nothing")
    assert main([*DEMO, *options]) == 2
    error = capsys.readouterr().err
    assert told in error and len(error.splitlines()) == 1

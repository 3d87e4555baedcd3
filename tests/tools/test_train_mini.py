"""The recipe of the embedded model: which programs it calls, in which order, on whose weights."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools import train_mini
from univs.config import get_config
from univs.resources import config_file


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    made: list[tuple[str, ...]] = []

    def record(*words: str) -> int:
        made.append(words)
        return 3 if "configs/train/univs_mini_fails.yaml" in words else 0

    monkeypatch.setattr(train_mini, "_run", record)
    return made


def options(call: tuple[str, ...]) -> dict[str, str]:
    words = call[call.index("--resume") + 1 :]
    return dict(zip(words[::2], words[1::2], strict=True))


def test_every_step_starts_from_the_one_before(calls: list[tuple[str, ...]], tmp_path: Path) -> None:
    assert train_mini.main(["--folder", str(tmp_path), "--weights", str(tmp_path / "out")]) == 0
    *steps, pack = calls
    assert [call[2] for call in steps] == [f"configs/train/univs_mini_{step}.yaml" for step in train_mini.STEPS]
    for before, after in zip(steps, steps[1:], strict=False):
        assert options(after)["MODEL.WEIGHTS"] == f"{options(before)['OUTPUT_DIR']}/model_final.safetensors"
    assert "MODEL.WEIGHTS" not in options(steps[0]) and all("SOLVER.MAX_ITER" not in options(s) for s in steps)
    assert pack == (
        "pack_weights.py",
        f"--part=dense_memory={tmp_path}/follow/model_final.safetensors",
        f"--part=backbone,prompt_answer={tmp_path}/answer_again/model_final.safetensors",
        *("--output", str(tmp_path / "out")),
    )


def test_the_configurations_start_from_the_same_weights() -> None:
    for step, start in (train_mini.STEPS | train_mini.QUERIES).items():
        cfg = get_config(config_file(f"train/univs_mini_{step}.yaml"))
        assert cfg.OUTPUT_DIR == f"output/univs_mini/{step}"
        assert start is None or cfg.MODEL.WEIGHTS == f"output/univs_mini/{start}/model_final.safetensors"


def test_a_trial_is_short_and_leaves_the_shipped_weights_alone(calls: list[tuple[str, ...]]) -> None:
    assert train_mini.main(["--steps", "2", "--queries"]) == 0
    *steps, pack, query_pack = calls
    assert len(steps) == len(train_mini.STEPS) + 1 and all(options(s)["SOLVER.MAX_ITER"] == "2" for s in steps)
    assert pack[-1] == "output/univs_mini_trial/univs_mini.safetensors"
    assert query_pack[-1] == "output/univs_mini_trial/univs_mini_queries.safetensors"
    assert any(word.startswith("--part=pixel_decoder,mask_decoder=") for word in query_pack)
    calls.clear()
    assert train_mini.main([]) == 0 and calls[-1][-1] == str(train_mini.SHIPPED)


def test_a_step_that_fails_ends_the_recipe(calls: list[tuple[str, ...]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train_mini, "STEPS", {"follow": None, "fails": "follow", "answer": "fails"})
    assert train_mini.main([]) == 3 and len(calls) == 2

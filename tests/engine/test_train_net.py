"""The program: its arguments, its mistakes, and runs of several processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.data.tiny import make_data
from tools.train_net import run
from univs.modeling.weights import read_checkpoint

from .tiny_model import SOLVER, TinyForTests

ROOT = Path(__file__).resolve().parents[2]
OPTIONS = [
    *map(str, SOLVER), "MODEL.META_ARCHITECTURE", TinyForTests.__name__, "INPUT.FORMAT", "RGB",
    "DATASETS.TRAIN", "('univs_mini_stills_train',)", "INPUT.STILLS.SIZES", "[[24, 40]]", "SOLVER.IMS_PER_BATCH", "2",
    "DATALOADER.NUM_WORKERS", "0",
]  # fmt: skip


@pytest.fixture
def data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("UNIVS_DATA", str(make_data(tmp_path / "data", stills=4)))
    return tmp_path


def test_a_run_from_the_command_line_and_its_continuation(data_folder: Path) -> None:
    output = data_folder / "run"
    assert run([*OPTIONS, "OUTPUT_DIR", str(output), "SOLVER.MAX_ITER", "4"]) == 0
    assert run(["--resume", *OPTIONS, "OUTPUT_DIR", str(output), "SOLVER.MAX_ITER", "6"]) == 0
    steps = [json.loads(line)["iteration"] for line in (output / "metrics.json").read_text().splitlines()]
    assert steps == [3, 5] and "SEED: 3" in (output / "config.yaml").read_text()
    assert read_checkpoint(output / "model_final.pth")["iteration"] == 5
    assert "eta" in (output / "log.txt").read_text()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--eval-only"], "--eval-only is not available yet"),
        (["--config-file", "nowhere.yaml"], "nowhere.yaml"),
        (["--num-gpus", "64"], "--num-gpus 64: this machine has"),
        (["MODEL.META_ARCHITECTURE", "Nobody"], "'Nobody' is not a registered model"),
        (["SOLVER.BASE_RATE", "1"], "BASE_RATE"),
        (["DATASETS.TRAIN", "()"], "DATASETS.TRAIN is empty"),
        (["MODEL.WEIGHTS", "nowhere.pth"], "nowhere.pth does not exist"),
    ],
)
def test_mistakes_are_told_in_a_sentence(
    data_folder: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], told: str
) -> None:
    flags = [] if arguments[0].isupper() or "." in arguments[0] else arguments
    changes = arguments[len(flags) :]
    assert run([*flags, *OPTIONS, "OUTPUT_DIR", str(data_folder / "run"), *changes]) == 2
    error = capsys.readouterr().err
    assert told in error and "Traceback" not in error


def test_two_processes_train_as_one(data_folder: Path) -> None:
    """Each of two processes takes half of every batch; gradients and logs are means over both."""
    options = [*OPTIONS, "SOLVER.EMA.ENABLED", "False", "SOLVER.MAX_ITER", "4"]
    # Dropout and noise differ between the processes by design, so a model without them is compared.
    options += ["MODEL.META_ARCHITECTURE", "SteadyForTests"]
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command += [str(ROOT / "tests/engine/steady_run.py"), *options, "OUTPUT_DIR", str(data_folder / "two")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]

    from . import steady_run

    assert steady_run.run([*options, "OUTPUT_DIR", str(data_folder / "one")]) == 0
    one, two = (read_checkpoint(data_folder / name / "model_final.safetensors")["model"] for name in ("one", "two"))
    for name, value in one.items():
        torch.testing.assert_close(value, two[name], rtol=1e-4, atol=1e-6)

"""The program: its arguments, its mistakes, and a run of two processes."""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import socket
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from detectron2.modeling import META_ARCH_REGISTRY
from detectron2.utils import comm
from torch import Tensor

from tools.train_net import run
from univs.engine.distributed import run_processes
from univs.errors import UserError
from univs.modeling.weights import read_checkpoint

from .tiny_model import SOLVER, TinyForTests, features_of

OPTIONS = [
    *map(str, SOLVER), "MODEL.META_ARCHITECTURE", TinyForTests.__name__, "INPUT.FORMAT", "RGB",
    "DATASETS.TRAIN", "('univs_mini_stills_train',)", "INPUT.STILLS.SIZES", "[[24, 40]]", "SOLVER.IMS_PER_BATCH", "2",
    "DATALOADER.NUM_WORKERS", "0",
]  # fmt: skip


@META_ARCH_REGISTRY.register()
class SteadyForTests(TinyForTests):
    """Without dropout and noise, which differ between processes by design; its loss is a mean over samples."""

    def forward(self, batch: list[dict[str, Any]]) -> dict[str, Tensor]:
        """Losses of samples with ``image``, a list of tensors [3, H, W]."""
        rows = torch.stack([features_of(sample) for sample in batch])
        error = self.head(self.norm(self.backbone(rows)) + self.embedding.weight[0])[:, 0] - rows.mean(dim=1)
        return {"loss_square": error.square().mean()}


def test_a_run_from_the_command_line_and_its_continuation(folder: Path) -> None:
    assert run([*OPTIONS, "OUTPUT_DIR", str(folder), "SOLVER.MAX_ITER", "4"]) == 0
    assert run(["--resume", *OPTIONS, "OUTPUT_DIR", str(folder), "SOLVER.MAX_ITER", "6"]) == 0
    steps = [json.loads(line)["iteration"] for line in (folder / "metrics.json").read_text().splitlines()]
    assert steps == [3, 5] and "SEED: 3" in (folder / "config.yaml").read_text()
    assert read_checkpoint(folder / "model_final.pth")["iteration"] == 5
    assert "eta" in (folder / "log.txt").read_text()


@pytest.mark.parametrize(
    ("flags", "options", "told"),
    [
        (["--eval-only"], [], "--eval-only is not available yet"),
        (["--config-file", "nowhere.yaml"], [], "nowhere.yaml"),
        (["--num-gpus", "64"], [], "--num-gpus 64: this machine has"),
        ([], ["MODEL.META_ARCHITECTURE", "Nobody"], "'Nobody' is not a registered model"),
        ([], ["SOLVER.BASE_RATE", "1"], "BASE_RATE"),
        ([], ["DATASETS.TRAIN", "()"], "DATASETS.TRAIN is empty"),
        ([], ["MODEL.WEIGHTS", "nowhere.pth"], "nowhere.pth does not exist"),
    ],
)
def test_mistakes_are_told_in_a_sentence(
    folder: Path, capsys: pytest.CaptureFixture[str], flags: list[str], options: list[str], told: str
) -> None:
    assert run([*flags, *OPTIONS, "OUTPUT_DIR", str(folder), *options]) == 2
    error = capsys.readouterr().err
    assert told in error and "Traceback" not in error


@pytest.mark.parametrize(("argument", "code"), [("--help", 0), ("--nonsense", 2)])
def test_arguments_are_explained(capsys: pytest.CaptureFixture[str], argument: str, code: int) -> None:
    with pytest.raises(SystemExit) as ended:
        run([argument])
    assert ended.value.code == code
    output = "".join(capsys.readouterr())
    assert "--resume" in output and ("torchrun" in output) == (code == 0)


def write_sum_of_ranks(arguments: argparse.Namespace) -> None:
    """What each started process runs: one exchange of numbers through Detectron2's own functions."""
    ranks = comm.all_gather(comm.get_rank())
    comm.synchronize()
    Path(arguments.folder, str(comm.get_rank())).write_text(f"{sorted(ranks)} {comm.get_local_size()}")


def started(folder: Path, **changes: Any) -> argparse.Namespace:
    """Arguments of a run of two processes on this machine."""
    arguments = {"num_gpus": 2, "num_machines": 1, "machine_rank": 0, "dist_url": "auto", "folder": str(folder)}
    return argparse.Namespace(**(arguments | changes))


def test_started_processes_exchange_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They find no GPU and use Gloo; only the check of their number is told that there are two."""
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    run_processes(write_sum_of_ranks, started(tmp_path))
    assert [(tmp_path / name).read_text() for name in ("0", "1")] == ["[0, 1] 2"] * 2


@pytest.mark.parametrize(
    ("url", "machines"),
    [("tcp://host", 1), ("file:///meeting", 1), ("tcp://host:none", 1), ("somewhere", 1), ("auto", 2)],
)
def test_a_meeting_place_is_a_host_and_a_port(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str, machines: int
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(UserError, match=r"--dist-url .*: must be tcp://HOST:PORT"):
        run_processes(write_sum_of_ranks, started(tmp_path, dist_url=url, num_machines=machines))


@pytest.mark.skipif(sys.platform != "linux", reason="processes are forked here, which only Linux does safely")
def test_two_processes_train_as_one(folder: Path) -> None:
    """Each of two processes takes half of every batch; gradients are means over both, and no thread outlives it."""
    options = [*OPTIONS, "MODEL.META_ARCHITECTURE", "SteadyForTests", "SOLVER.EMA.ENABLED", "False"]
    context, port = multiprocessing.get_context("fork"), _free_port()
    arguments = [*options, "OUTPUT_DIR", str(folder / "two")]
    children = [context.Process(target=_child, args=(rank, port, arguments), daemon=True) for rank in (0, 1)]
    for child in children:
        child.start()
    for child in children:
        child.join(timeout=300)
    assert [child.exitcode for child in children] == [0, 0]
    assert run([*options, "OUTPUT_DIR", str(folder / "one")]) == 0
    one, two = (read_checkpoint(folder / name / "model_final.safetensors")["model"] for name in ("one", "two"))
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, rtol=1e-4, atol=1e-6)
    logs = [(folder / name / "metrics.json").read_text().splitlines()[-1] for name in ("one", "two")]
    losses = [json.loads(line)["loss_square"] for line in logs]
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)


def _child(rank: int, port: int, arguments: list[str]) -> None:
    """One process, with the environment that torchrun gives."""
    places = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "LOCAL_WORLD_SIZE": 2, "MASTER_PORT": port}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", **{name: str(value) for name, value in places.items()}}
    code = run(arguments)
    threads = [path.read_text() for path in Path("/proc/self/task").glob("*/comm")]
    os._exit(code or 9 * any("gloo" in name for name in threads))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]

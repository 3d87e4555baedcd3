"""Choice of device and threads, on machines that are faked."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest
import torch

from univs import runtime
from univs.errors import UserError


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """Devices of each kind that the machine pretends to have; change it in the test."""
    devices = {"cuda": 0, "mps": 0, "cpu": 1}
    monkeypatch.setattr(runtime, "_count_devices", lambda kind: devices.get(kind, 0))
    return devices


@pytest.fixture
def threads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Numbers of threads that were set."""
    counts: list[int] = []
    monkeypatch.setattr(torch, "set_num_threads", counts.append)
    monkeypatch.setattr(runtime, "_set_opencv_threads", counts.append)
    return counts


@pytest.mark.parametrize(("cuda", "mps", "chosen"), [(0, 0, "cpu"), (0, 1, "mps"), (2, 0, "cuda"), (1, 1, "cuda")])
def test_device_is_chosen_by_itself(machine: dict[str, int], cuda: int, mps: int, chosen: str) -> None:
    machine.update(cuda=cuda, mps=mps)
    assert runtime.choose_device() == torch.device(chosen)


def test_device_is_taken_as_named(machine: dict[str, int]) -> None:
    machine.update(cuda=2)
    assert runtime.choose_device("cpu") == torch.device("cpu")
    assert runtime.choose_device("cuda:1") == torch.device("cuda", 1)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("gpu", "'gpu' is no device; use auto, cpu"),
        ("cuda:3", "this machine has 2, numbered from 0"),
        ("mps", "PyTorch sees no such device on this machine"),
    ],
)
def test_wrong_device_is_told(machine: dict[str, int], name: str, words: str) -> None:
    machine.update(cuda=2)
    with pytest.raises(UserError, match=words):
        runtime.choose_device(name)


def test_devices_of_this_machine_are_counted() -> None:
    assert runtime._count_devices("cpu") == 1
    assert runtime._count_devices("cuda") == torch.cuda.device_count()
    assert runtime._count_devices("mps") == int(torch.backends.mps.is_available())


def test_options_are_understood(machine: dict[str, int], threads: list[int]) -> None:
    parser = argparse.ArgumentParser()
    runtime.add_device_argument(parser)
    arguments = parser.parse_args(["--device", "cpu", "--threads", "3"])
    assert runtime.prepare(arguments.device, arguments.threads) == torch.device("cpu")
    assert threads == [3, 3]
    assert parser.parse_args([]).device == "auto"


def test_number_of_threads_of_the_user_holds(monkeypatch: pytest.MonkeyPatch, threads: list[int]) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    assert runtime.set_threads() == 5


@pytest.mark.parametrize("variable", ["", "many", "0"])
def test_usable_cores_are_used_otherwise(monkeypatch: pytest.MonkeyPatch, threads: list[int], variable: str) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", variable)
    monkeypatch.setattr(runtime, "usable_cores", lambda: 7)
    assert runtime.set_threads() == 7


def test_less_than_one_thread_is_refused(threads: list[int]) -> None:
    with pytest.raises(UserError, match="--threads 0: at least 1"):
        runtime.set_threads(0)


@pytest.mark.parametrize(
    ("quota", "cores"), [("150000 100000\n", 2), ("50000 100000\n", 1), ("max 100000\n", 8), ("?", 8), (None, 8)]
)
def test_quota_of_the_container_is_respected(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, quota: str | None, cores: int
) -> None:
    file = tmp_path / "cpu.max"
    if quota is not None:
        file.write_text(quota)
    monkeypatch.setattr(runtime, "_CPU_QUOTA_FILE", file)
    monkeypatch.setattr(runtime.os, "sched_getaffinity", lambda process: set(range(8)), raising=False)
    assert runtime.usable_cores() == cores


@pytest.mark.parametrize(
    ("given", "expected"),
    [({}, "1000"), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "ACTIVE"}, None)],
)
def test_waiting_threads_sleep_unless_the_user_said_otherwise(
    monkeypatch: pytest.MonkeyPatch, given: dict[str, str], expected: str | None
) -> None:
    monkeypatch.setattr(runtime.os, "environ", dict(given))
    runtime.sleep_while_waiting()
    assert runtime.os.environ.get("GOMP_SPINCOUNT") == expected


def test_work_on_one_thread_gives_the_others_back() -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)

        @runtime.on_one_thread()
        def inner() -> int:
            with runtime.on_one_thread():
                return torch.get_num_threads()

        assert (inner(), torch.get_num_threads()) == (1, 2)
        with pytest.raises(KeyError), runtime.on_one_thread():
            raise KeyError
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)

"""The benchmark of discovery: what counts as right, and whole runs over tiny stills."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import discovery
from univs.inference.protocol import Discovery

from .stills_folder import write_stills


def mask(left: int) -> np.ndarray:
    out = np.zeros((20, 40), bool)
    out[:10, left : left + 10] = True
    return out


def test_each_thing_is_found_once_and_by_its_own_name() -> None:
    truth = [("cat", mask(0)), ("cat", mask(20)), ("dog", mask(10))]
    found = [("cat", 0.9), ("cat", 0.5), ("dog", 0.8), ("cat", 0.7)]
    masks = [mask(1), mask(2), mask(20), mask(23)]
    assert discovery.matched(found, masks, truth) == ["cat", "cat"]
    assert discovery.matched([("dog", 0.1)], [mask(16)], truth) == []


def test_scores() -> None:
    assert discovery.overall(3, 6, 4) == {"precision": 0.5, "recall": 0.75, "F1": 0.6}
    assert discovery.overall(0, 0, 4)["F1"] == 0


def test_repeats_of_a_better_one_are_dropped() -> None:
    found = [Discovery("cat", 1 - i / 10, torch.from_numpy(mask(left) * 2.0 - 1)) for i, left in enumerate((0, 2, 9))]
    assert [item.score for item in discovery.distinct(found)] == [1, 0.8]


@pytest.fixture
def stills(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNIVS_DATA", str(write_stills(tmp_path, 2)))


def run(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr("sys.argv", ["discovery.py", "--device", "cpu", *words])
    return discovery.main()


def test_a_run_counts_what_is_wanted(stills: None, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    assert run(monkeypatch, "--json", "--absent", "0") == 0
    lines = capsys.readouterr().out.splitlines()
    assert "   2 wanted" in lines[0] and set(json.loads(lines[-1])) == {"precision", "recall", "F1"}


def test_mistakes_are_one_sentence(stills: None, monkeypatch: pytest.MonkeyPatch, capsys, tmp_path: Path) -> None:
    assert run(monkeypatch, "--method", "queries") == 2
    assert "QUERIES True" in capsys.readouterr().err
    monkeypatch.setenv("UNIVS_DATA", str(tmp_path / "nothing"))
    assert run(monkeypatch) == 2
    assert "fully annotated stills" in capsys.readouterr().err

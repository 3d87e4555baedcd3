"""The benchmark of answers on stills: figures of known answers, and whole runs over tiny stills."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks import answering
from univs.structures import PointPrompt, Prompt

from .stills_folder import write_stills


def mask(left: int, width: int) -> np.ndarray:
    out = np.zeros((20, 40), bool)
    out[:10, left : left + width] = True
    return out


class KnowingDesk:
    """Answers one click with a thing and its neighbour, and anything more with the thing."""

    def answers(self, *prompts: Prompt) -> list[np.ndarray]:
        clicks = [p for p in prompts if isinstance(p, PointPrompt)]
        if len(prompts) == 1 and clicks and len(clicks[0].points) == 1:
            return [mask(0, 20), mask(0, 10), mask(0, 5)]
        return [mask(0, 10)]


def test_figures_of_known_answers() -> None:
    everywhere = np.ones((20, 40), bool)
    row = answering.overlaps(KnowingDesk(), mask(0, 10), mask(10, 10), everywhere)
    assert row["1 click"] == row["of other things"] == 0.5
    assert {row[name] for name in ("best of 3", "2 clicks", "3 clicks", "5 clicks", "box", "box and 1 click")} == {1}
    unknown = ~mask(10, 10)
    assert answering.overlaps(KnowingDesk(), mask(0, 10), mask(30, 10), unknown)["1 click"] == 1


@pytest.fixture
def stills(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNIVS_DATA", str(write_stills(tmp_path, 2)))


def run(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr("sys.argv", ["answering.py", "--device", "cpu", *words])
    return answering.main()


def test_a_run_judges_every_thing(stills: None, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    assert run(monkeypatch, "--pictures", "1", "--json") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("2 things in 1 pictures") and 0 <= json.loads(lines[-1])["3 clicks"] <= 1


def test_mistakes_are_one_sentence(stills: None, monkeypatch: pytest.MonkeyPatch, capsys, tmp_path: Path) -> None:
    assert run(monkeypatch, "--smallest", "0.9") == 2
    assert "smaller --smallest" in capsys.readouterr().err
    monkeypatch.setenv("UNIVS_DATA", str(tmp_path / "nothing"))
    assert run(monkeypatch) == 2
    assert "no stills" in capsys.readouterr().err

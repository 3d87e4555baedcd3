from __future__ import annotations

import json
import sys

import numpy as np
import pytest

from benchmarks import video
from benchmarks.measuring import TimedSegmenter, peak_rss_mb
from benchmarks.shapes import MovingShapes
from benchmarks.stand_in import KnowingSegmenter
from univs.inference.session import VideoSession


class QuickUnit:
    """Stands for the unit, which takes seconds to measure."""

    cpu_seconds = wall_seconds = 0.0
    value, spread = 0.5, 1.0

    def sample(self, count: int = 2) -> None:
        """Nothing to measure."""


@pytest.fixture(autouse=True)
def quick_unit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(video, "Unit", QuickUnit)


def run(monkeypatch: pytest.MonkeyPatch, line: str) -> int:
    monkeypatch.setattr(sys, "argv", ["video.py", *line.split()])
    return video.main()


@pytest.mark.parametrize("task", ["vos", "vps"])
def test_the_last_line_is_the_report(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, task: str) -> None:
    line = f"--model none --task {task} --objects 3 --frames 12 --size 96x160 --threads 1 --device cpu --json"
    assert run(monkeypatch, line) == 0
    report = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert report["units_per_frame"] == pytest.approx(report["cpu_seconds_per_frame"] / 0.5, abs=2e-4)
    assert report["frames_per_second"] > 0 and report["peak_rss_mb"] > 50
    assert sum(report["stage_shares"].values()) == pytest.approx(1, abs=1e-3)
    assert {"encode", "follow", "remember", "session_and_output"} <= set(report["stage_shares"])
    assert ("discover" in report["stage_shares"]) == (task == "vps")


@pytest.mark.parametrize("line", ["--size 96", "--objects 0", "--frames 3", "--task vis", "--tracker frame"])
def test_mistakes_are_said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, line: str) -> None:
    assert run(monkeypatch, f"--model none --threads 1 --device cpu {line}") == 2
    assert capsys.readouterr().err.startswith("video: ")


def test_without_the_unit_nothing_is_said_in_units(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    line = "--model none --frames 8 --size 96x160 --threads 1 --device cpu --memory-only --json"
    assert run(monkeypatch, line) == 0
    report = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert report["peak_rss_mb"] > 50 and not [name for name in report if "unit" in name]


def test_shapes_are_made_when_they_are_asked_for_and_the_same_each_time() -> None:
    shapes, again = (MovingShapes(5, 100_000, (60, 90)) for _ in range(2))
    assert (shapes.frame(70_000) == again.frame(70_000)).all()
    assert (shapes.frame(3) != shapes.frame(9)).any()
    assert set(np.unique(shapes.id_map(0))) <= {0, 1, 2, 3, 4, 5}
    assert shapes.cpu_seconds > 0


def test_the_stand_in_follows_the_shapes() -> None:
    shapes = MovingShapes(1, 12, (96, 160))
    segmenter = TimedSegmenter(KnowingSegmenter(shapes))
    session = VideoSession(segmenter, shapes)
    session.add_id_map(0, shapes.id_map(0))
    for result in session.propagate():
        true = shapes.id_map(result.index) == 1
        assert (result.masks[1] & true).sum() / (result.masks[1] | true).sum() > 0.9
    assert set(segmenter.cpu_seconds) >= {"encode", "answer", "follow"}
    assert peak_rss_mb() > 50

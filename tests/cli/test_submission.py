"""`univs submission`: pack, check, list, and users' mistakes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from univs.cli import main
from univs.structures import FrameResult, ObjectResult
from univs.video import ResultWriter, open_video


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Results of two videos in ``runs/``, and a list of them in ``meta.json``."""
    monkeypatch.chdir(tmp_path)
    for video in ("a", "b"):
        (tmp_path / "frames" / video).mkdir(parents=True)
        for name in ("00000", "00005"):
            Image.new("RGB", (16, 12)).save(tmp_path / "frames" / video / f"{name}.jpg")
        with open_video(tmp_path / "frames" / video) as source:
            with ResultWriter(tmp_path / "runs" / video, source) as writer:
                for index in range(2):
                    mask = np.zeros((12, 16), bool)
                    mask[2:6, index : index + 4] = True
                    writer.write(source.frame(index), FrameResult(index, [ObjectResult(1, mask, 0.5, "cat")]))
    objects = {"1": {"category": "cat", "frames": ["00000", "00005"]}}
    (tmp_path / "meta.json").write_text(json.dumps({"videos": {"a": {"objects": objects}, "b": {"objects": objects}}}))
    return tmp_path


PACK = ["submission", "pack", "runs", "--benchmark", "youtube-vos", "--output", "s.zip", "--truth-list", "meta.json"]
CHECK = ["submission", "check", "s.zip", "--benchmark", "youtube-vos", "--truth-list", "meta.json"]


def test_results_are_packed_and_fit(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(PACK) == 0
    printed = capsys.readouterr().out
    assert "Packed 2 videos into s.zip." in printed and "s.zip is fit for youtube-vos." in printed
    assert main(CHECK) == 0


def test_what_is_wrong_is_said_with_how_to_mend_it(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*PACK[:2], "runs/a", *PACK[3:]]) == 1
    printed = capsys.readouterr().out
    assert "wrong: missing videos (1)\n  b\n  to mend it: segment them, too" in printed and "is fit" not in printed


def test_a_check_without_a_list_says_so(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(PACK)
    assert main(CHECK[:-2]) == 0
    assert "only its form was checked" in capsys.readouterr().out


def test_notes_do_not_make_a_submission_unfit(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "grey" / "Annotations" / "a").mkdir(parents=True)
    Image.fromarray(np.zeros((12, 16), np.uint8)).save(folder / "grey" / "Annotations" / "a" / "00000.png")
    assert main(["submission", "check", "grey", "--benchmark", "youtube-vos"]) == 0
    assert "note: no palette (1)" in capsys.readouterr().out


def test_categories_can_be_given_in_a_file(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "names.txt").write_text("dog\ncat\n")
    words = ["submission", "pack", "runs", "--benchmark", "vspw", "--output", "v.zip"]
    assert main([*words, "--categories", "names.txt"]) == 0
    assert main(words) == 2
    assert "'cat'; the benchmark knows 0 categories" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["check", "nothing.zip", "--benchmark", "mose"], "nothing.zip is not there"),
        (["check", "runs", "--benchmark", "moose"], "did you mean: mose"),
        (["check", "runs", "--benchmark", "mose", "--truth-list", "x.json"], "x.json is not there"),
        (["pack", "frames", "--benchmark", "mose", "--output", "s.zip"], "holds no results.json"),
    ],
)
def test_mistakes_are_one_sentence(
    folder: Path, words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["submission", *words]) == 2
    (told,) = capsys.readouterr().err.splitlines()
    assert told.startswith("univs: ") and message in told


def test_layouts_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["submission", "list"]) == 0
    assert "Annotations/VIDEO/EXPRESSION/FRAME.png" in capsys.readouterr().out

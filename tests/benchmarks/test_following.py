"""The benchmark of following: its scores, its clicks, its baselines and what it says to a mistake."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks import following
from univs.data.formats.palette_folders import VideoSequence, read_sequences

from .data_folder import FRAMES, SIDE, SIZE, square_ids, write_data_folder


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = write_data_folder(tmp_path / "data", {"val_still": 0, "val_moving": 4, "other": 2})
    monkeypatch.setenv("UNIVS_DATA", str(root))
    return root


def run(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr("sys.argv", ["following.py", *words])
    return following.main()


def sequence_of(data: Path, name: str) -> VideoSequence:
    return next(item for item in read_sequences(data, "val") if item.name == name)


def true_masks(step: int) -> list[dict[int, np.ndarray]]:
    return [{i: square_ids(frame, step) == i for i in (1, 2)} for frame in range(FRAMES)]


def test_perfect_masks_score_one(data: Path) -> None:
    row = following.score(sequence_of(data, "val_moving"), iter(true_masks(4)))
    assert (row["J"], row["F"], row["J&F"]) == (1, 1, 1)


def test_an_object_that_is_missing_scores_zero(data: Path) -> None:
    masks = [{1: frame[1]} for frame in true_masks(4)]
    row = following.score(sequence_of(data, "val_moving"), iter(masks))
    assert (row["J"], row["F"]) == (0.5, 0.5)


def test_first_and_last_frame_do_not_count(data: Path) -> None:
    masks = true_masks(4)
    masks[0] = masks[-1] = {}
    assert following.score(sequence_of(data, "val_moving"), iter(masks))["J&F"] == 1


def test_region_score_of_shifted_squares(data: Path) -> None:
    first = true_masks(4)[0]
    row = following.score(sequence_of(data, "val_moving"), iter([first] * FRAMES))
    shifts = [(SIDE - 4 * frame) / (SIDE + 4 * frame) for frame in range(1, FRAMES - 1)]
    assert row["J"] == pytest.approx((np.mean(shifts) + 1) / 2)


@pytest.mark.parametrize("name", ["copy", "flow"])
def test_baselines_judge_the_validation_sequences(
    data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    assert run(monkeypatch, "--method", name, "--json", "--device", "cpu") == 0
    rows = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert set(rows) == {"val_still", "val_moving", "mean"}
    assert rows["val_still"]["J&F"] == pytest.approx(1, abs=0.01)
    assert rows["mean"]["J"] == pytest.approx((rows["val_still"]["J"] + rows["val_moving"]["J"]) / 2)
    assert rows["val_moving"]["J"] < 0.9 if name == "copy" else rows["val_moving"]["J"] > 0.7


def test_a_split_and_every_second_frame(
    data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    scores = []
    for stride in ("1", "2"):
        words = ("--split", "train", "--stride", stride, "--method", "copy", "--json", "--device", "cpu")
        assert run(monkeypatch, *words) == 0
        scores.append(json.loads(capsys.readouterr().out.splitlines()[-1])["other"]["J"])
    for score, frames in zip(scores, (range(FRAMES), range(0, FRAMES, 2)), strict=True):
        shifts = [(SIDE - 2 * frame) / (SIDE + 2 * frame) for frame in frames[1:-1]]
        assert score == pytest.approx((np.mean(shifts) + 1) / 2)
    assert run(monkeypatch, "--stride", "0") == 2
    assert "--stride 0: must be at least 1" in capsys.readouterr().err


def test_a_cut_to_another_scene(
    data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--sequences", "val_still", "--method", "copy", "--json", "--device", "cpu")
    assert run(monkeypatch, *words, "--cut", "3") == 0
    copied = json.loads(capsys.readouterr().out.splitlines()[-1])["val_still"]
    assert copied["J&F"] == pytest.approx(3 / 6)  # of the six that count, three show no object
    for cut, message in (("-1", "must be at least 0"), ("6", "no sequence has another one beside it")):
        assert run(monkeypatch, *words, "--cut", cut) == 2
        assert message in capsys.readouterr().err


def test_named_sequences_are_judged_whatever_their_split(
    data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "--method", "copy", "--sequences", "other", "--json", "--device", "cpu") == 0
    assert set(json.loads(capsys.readouterr().out.splitlines()[-1])) == {"other", "mean"}


@pytest.mark.parametrize("names", [["nowhere"], ["other", "nowhere"]])
def test_an_unknown_sequence_is_a_mistake(
    data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], names: list[str]
) -> None:
    assert run(monkeypatch, "--method", "copy", "--sequences", *names, "--device", "cpu") == 2
    assert "nowhere" in capsys.readouterr().err


def test_a_folder_without_data_is_a_mistake(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("UNIVS_DATA", str(tmp_path))
    assert run(monkeypatch, "--method", "copy", "--device", "cpu") == 2
    assert "manifest.json is missing" in capsys.readouterr().err


def test_help_names_every_choice(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        run(monkeypatch, "--help")
    assert stopped.value.code == 0
    printed = capsys.readouterr().out
    assert not [word for word in ("mask", "box", "click", "clicks3", "copy", "flow") if word not in printed]


# --- where the next click goes ------------------------------------------------------------------------------------


def square(top: int, left: int, side: int) -> np.ndarray:
    mask = np.zeros(SIZE, bool)
    mask[top : top + side, left : left + side] = True
    return mask


def test_the_first_click_is_the_middle_of_the_object() -> None:
    place, label = following.next_click(np.zeros(SIZE, bool), square(10, 20, 21))
    assert (place, label) == ((30.5, 20.5), 1)


def test_the_next_click_is_where_the_error_is_largest() -> None:
    truth = square(5, 5, 11) | square(30, 40, 25)
    missed = following.next_click(square(5, 5, 11), truth)
    assert missed == ((52.5, 42.5), 1)
    spilled = following.next_click(truth | square(2, 50, 23), truth)
    assert spilled[1] == 0
    assert not truth[int(spilled[0][1]), int(spilled[0][0])]


def test_at_the_border_of_the_frame_the_click_lies_inside() -> None:
    (x, y), label = following.next_click(np.zeros(SIZE, bool), square(0, 0, 9))
    assert (x, y, label) == (4.5, 4.5, 1)

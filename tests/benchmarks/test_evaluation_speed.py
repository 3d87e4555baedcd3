"""The inputs and the bookkeeping of benchmarks/evaluation.py, on small pictures; its times are nobody's test."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks import cpu_unit, evaluation, evaluation_inputs

# Of the labels that the generator of the official timings draws in two frames at full size, ground truth first.
MASK_DIGESTS = {0: ("623ac801ccc24a69", "9fa8d4acf2df1988"), 10: ("376377187f3b5a4b", "20be73460b6d0f0c")}


@pytest.mark.parametrize("time", MASK_DIGESTS)
def test_inputs_are_those_of_the_official_timings(time: int) -> None:
    shapes = [evaluation_inputs.MovingShape(number, evaluation_inputs.SIZE) for number in range(12)]
    maps = evaluation_inputs.label_maps(shapes, time)
    digests = tuple(hashlib.sha256(labels.astype(np.uint8).tobytes()).hexdigest()[:16] for labels in maps)
    assert digests == MASK_DIGESTS[time]


def test_unit_of_time_is_the_official_one() -> None:
    assert cpu_unit._work() == cpu_unit.CHECKSUM


@pytest.mark.parametrize("name", evaluation.ENTRIES)
def test_every_entry_has_an_official_time(name: str) -> None:
    official = json.loads(evaluation.OFFICIAL.read_text())["entries"][name]
    assert official["official_in_units"] > 0 and official["expected"] and official["evaluator"]


def small_entry(name: str, folder: Path) -> evaluation.Entry:
    writers = {
        "davis": evaluation_inputs.write_given_objects,
        "unsup": evaluation_inputs.write_found_objects,
        "viposeg": evaluation_inputs.write_things_and_stuff,
    }
    writers[name](folder, size=(48, 85), frames=4)
    return evaluation.ENTRIES[name]


@pytest.mark.parametrize("name", ["davis", "unsup", "viposeg"])
def test_small_inputs_are_scored(name: str, tmp_path: Path) -> None:
    seconds, figures = evaluation.scored(small_entry(name, tmp_path), tmp_path)
    official = json.loads(evaluation.OFFICIAL.read_text())["entries"][name]["expected"]
    assert seconds > 0
    assert set(official) <= set(figures)
    means = [value for key, value in figures.items() if "Mean" in key or key.endswith("iou")]
    assert means and all(0.1 < value <= 1 for value in means)


def test_palette_files_keep_labels(tmp_path: Path) -> None:
    labels = np.arange(12).reshape(3, 4)
    evaluation_inputs.write_palette(tmp_path / "labels.png", labels)
    with Image.open(tmp_path / "labels.png") as picture:
        assert picture.mode == "P" and (np.asarray(picture) == labels).all()


def test_differences_and_table() -> None:
    assert list(evaluation.difference({"a": {"b": 1.0}, "c": 2}, {"a": {"b": 0.75}, "c": 2, "more": 1})) == [0.25, 0]
    row = {"entry": "davis", "what": "J&F", "official_cpu_seconds_here": 6.0, "cpu_seconds": 0.25}
    assert "| davis: J&F | 6.00 | 0.250 | 24.0 | 1e-07 |" in evaluation.table(
        [{**row, "ratio": 24.0, "difference": 1e-7}]
    )


def test_unknown_entries_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        evaluation.main(["nothing"])
    assert stopped.value.code == 2
    assert "there is no entry nothing" in capsys.readouterr().err

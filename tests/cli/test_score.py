"""`univs score`: what it prints and writes, its exit codes, and users' mistakes."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path

import pytest

from tests.evaluation.tiny_benchmark import Numbers, NumberScoring, write_numbers
from univs.cli import main
from univs.evaluation import benchmarks


@pytest.fixture
def words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A command that scores; the benchmark of text files is the only one."""
    monkeypatch.setattr(benchmarks, "BENCHMARKS", {"numbers": "tiny:Numbers"})
    monkeypatch.setitem(sys.modules, "univs.evaluation.benchmarks.tiny", sys.modules[Numbers.__module__])
    monkeypatch.chdir(tmp_path)
    write_numbers(tmp_path)
    return ["score", "numbers", "--predictions", "predictions", "--truth", "truth", "--output", "out"]


def read(name: str) -> dict:
    return json.loads(Path(name).read_text(), parse_constant=lambda text: pytest.fail(f"{text} is no JSON"))


def test_everything_is_printed_and_written(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 0
    printed = capsys.readouterr().out
    record = read("out/results.json")
    assert "numbers: 6 of 6 sequences" in printed
    assert f"{record['table']['mean']:.4f}" in printed and "mean as it should be" in printed
    assert record["complete"] and record["options"] == {"weight": 1.0, "strict": False, "windows": [1, 2], "names": []}
    assert record["figures"]["none"] is None and record["corrected"] == {"mean as it should be": 0.5}
    assert record["sequences"] == {"expected": 6, "scored": 6, "broken": {}}
    assert {"univs", "python", "numpy", "scipy"} <= set(record["versions"])
    rows = list(csv.DictReader(Path("out/sequences.csv").open()))
    assert [row["sequence"] for row in rows] == [f"s{index}" for index in range(6)]
    assert all(row["status"] == "scored" and float(row["mean"]) for row in rows)
    assert [row["count"] for row in csv.DictReader(Path("out/objects.csv").open())] == list("234567")
    assert sorted(path.name for path in Path("out").iterdir()) == ["objects.csv", "results.json", "sequences.csv"]


def test_the_output_has_a_place_of_its_own(words: list[str]) -> None:
    assert main(words[:-2]) == 0
    assert Path("output/score-numbers/results.json").exists()


def test_missing_sequences_are_named(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    Path("predictions/s3.txt").unlink()
    assert main(words) == 1
    printed = capsys.readouterr()
    assert "s3: s3.txt is missing" in printed.err and "5 of 6 sequences" in printed.out
    rows = {row["sequence"]: row for row in csv.DictReader(Path("out/sequences.csv").open())}
    assert rows["s3"]["status"] == "broken" and "s3.txt is missing" in rows["s3"]["problem"]
    assert not read("out/results.json")["complete"]
    assert main([*words, "--allow-missing"]) == 0


def test_many_broken_sequences_do_not_flood_the_screen(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    for index in range(6, 40):
        Path(f"truth/s{index}.txt").write_text("1")
    assert main(words) == 1
    assert "... and 14 more, see results.json" in capsys.readouterr().err
    assert len(read("out/results.json")["sequences"]["broken"]) == 34


def test_options_and_processes(words: list[str]) -> None:
    assert main([*words, "--option", "weight=0"]) == 0
    assert read("out/results.json")["table"]["mean"] == 0
    assert main([*words, "--jobs", "2"]) == 0
    assert read("out/results.json")["table"]["mean"] != 0


def test_an_interruption_is_said_and_resumed(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    measure = NumberScoring.measure

    def interrupted(self: NumberScoring, sequence: str) -> dict:
        if sequence == "s4":
            raise KeyboardInterrupt
        return measure(self, sequence)

    monkeypatch.setattr(NumberScoring, "measure", interrupted)
    assert main(words) == 130
    assert "the same command goes on there" in capsys.readouterr().err
    monkeypatch.setattr(NumberScoring, "measure", measure)
    assert main(words) == 0
    assert "4 sequences had been measured before" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["score"], "Name a benchmark: numbers"),
        (["score", "nambers"], "did you mean: numbers"),
        (["score", "numbers", "--truth", "truth"], "--predictions PATH is missing: <sequence>.txt"),
        (["--jobs", "0"], "give 1 or more"),
        (["--predictions", "nowhere"], "nowhere is not there"),
        (["--truth", "truth/s1.txt"], "is no folder"),
        (["--option", "weight"], "NAME=VALUE"),
    ],
)
def test_mistakes_are_one_sentence(
    words: list[str], change: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(change if change[0] == "score" else words + change) == 2
    told = [line for line in capsys.readouterr().err.splitlines() if line.startswith("univs: ")]
    assert len(told) == 1 and message in told[0]


def test_the_list_says_what_is_wanted(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["score", "--list"]) == 0
    listed = capsys.readouterr().out
    for part in ("numbers: Numbers in text files.", "weight=1.0: what errors are multiplied with", "windows=1,2"):
        assert part in listed
    assert main(["score", "numbers", "--list"]) == 0
    assert capsys.readouterr().out == listed

"""What holds for every benchmark of ``univs score``, on tiny layouts of all of them."""

from __future__ import annotations

import pickle
import re
import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.evaluation.tiny_layouts import TRUTH, write_layouts
from univs.evaluation.benchmark import Scoring
from univs.evaluation.benchmarks import benchmark_names, find_benchmark
from univs.evaluation.measuring import Measured, measure
from univs.evaluation.part_store import decode
from univs.evaluation.report import plain
from univs.evaluation.scoring import Request, score


@pytest.fixture(scope="module")
def layouts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("layouts")
    write_layouts(folder)
    return folder


def request_of(folder: Path, name: str, **changes) -> Request:
    predictions, truth = folder / "results" / name, folder / "data" / TRUTH[name]
    return Request(find_benchmark(name), **{"predictions": predictions, "truth": truth, "output": folder} | changes)


@pytest.mark.parametrize("name", benchmark_names())
def test_every_benchmark_says_what_it_wants(name: str) -> None:
    benchmark = find_benchmark(name)
    assert benchmark.name == name
    for text in (benchmark.summary, benchmark.predictions_layout, benchmark.truth_layout, benchmark.official):
        assert text.strip()
    assert set(benchmark.options) == set(benchmark.option_help)


def undocumented(corrected: Mapping[str, object]) -> list[str]:
    """Corrected figures that the page of evaluation does not name; one name with dots stands for several."""
    page = (Path(__file__).parents[2] / "docs" / "EVALUATION.md").read_text()
    named = set(re.findall(r"`([^`\n]+)`", page))
    return [name for name in corrected if not {name, re.sub("_(all|thing|stuff)_", "_..._", name)} & named]


def measured_in(order: list[str], scoring: Scoring) -> dict[str, Measured]:
    return {sequence: measure(pickle.loads(pickle.dumps(scoring)), sequence) for sequence in order}


@pytest.mark.parametrize("name", benchmark_names())
def test_figures_do_not_depend_on_who_measures_and_in_which_order(name: str, layouts: Path, tmp_path: Path) -> None:
    """Every sequence by a scoring of its own that came through a pipe, the last one first."""
    request = request_of(layouts, name, output=tmp_path)
    outcome = score(request)
    assert outcome.complete and outcome.summary.table
    scoring = request.benchmark.open(request.predictions, request.truth, outcome.options)
    apart = measured_in(outcome.expected[::-1], scoring)
    summary = scoring.summarise({sequence: decode(each.content) for sequence, each in apart.items()})
    for part in ("figures", "table", "corrected", "objects"):
        assert plain(getattr(summary, part)) == plain(getattr(outcome.summary, part)), part
    assert not undocumented(outcome.summary.corrected)
    assert {sequence: plain(each.own_table) for sequence, each in apart.items()} == plain(outcome.own_tables)


@pytest.mark.parametrize("name", ["davis2017", "vipseg"])
def test_two_processes_give_the_same_bits(name: str, layouts: Path, tmp_path: Path) -> None:
    one = score(request_of(layouts, name, output=tmp_path / "one"))
    two = score(request_of(layouts, name, output=tmp_path / "two", jobs=2))
    for part in ("figures", "table", "corrected", "objects"):
        assert plain(getattr(one.summary, part)) == plain(getattr(two.summary, part)), part


@pytest.mark.parametrize("name", ["davis2017", "vspw", "kitti-step"])
def test_a_sequence_without_predictions_is_broken(name: str, layouts: Path, tmp_path: Path) -> None:
    shutil.copytree(layouts / "results" / name, tmp_path / "results")
    shutil.rmtree(tmp_path / "results" / "beta")
    outcome = score(request_of(layouts, name, predictions=tmp_path / "results", output=tmp_path / "out"))
    assert list(outcome.broken) == ["beta"] and "beta" in outcome.broken["beta"]
    assert not outcome.unexpected


@pytest.mark.parametrize("name", benchmark_names())
def test_a_sequence_needs_nothing_that_others_call_their_own(name: str, layouts: Path, tmp_path: Path) -> None:
    """So what was measured of it stays right when only their files change."""
    for part in ("results", "data"):
        shutil.copytree(layouts / part, tmp_path / part)
    request = request_of(tmp_path, name)

    def opened() -> Scoring:
        return request.benchmark.open(request.predictions, request.truth, request.benchmark.options)

    scoring = opened()
    first, *others = scoring.sequences()
    before, own = scoring.measure(first), scoring.own_files(first)
    assert all(path.exists() for path in own)
    for path in {path for other in others for path in scoring.own_files(other)} - set(own):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert plain(opened().measure(first)) == plain(before)


@pytest.mark.parametrize(
    ("name", "kept"), [("mose", 1), ("vipseg", 1), ("mevis", 2), ("coco-panoptic", 11), ("ovis", 0)]
)
def test_mended_files_are_all_that_is_scored_again(name: str, kept: int, layouts: Path, tmp_path: Path) -> None:
    shutil.copytree(layouts / "results" / name, tmp_path / "results")
    request = request_of(layouts, name, predictions=tmp_path / "results", output=tmp_path / "out")
    file = next(path for path in sorted(request.predictions.rglob("*")) if path.suffix in (".png", ".json"))
    file = file if name == "ovis" else sorted(request.predictions.rglob("*.png"))[0]
    content = file.read_bytes()
    whole = score(request_of(layouts, name, output=tmp_path / "whole"))
    file.write_bytes(content.replace(b'"counts": "', b'"counts": "~', 1) if name == "ovis" else content[:-20])
    assert score(request).broken
    file.write_bytes(content)
    mended = score(request)
    assert mended.complete and mended.resumed == kept
    assert plain(mended.summary.figures) == plain(whole.summary.figures)

"""Masks of given objects, equal to the official evaluators on every stored case."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.evaluation.vectors import Case, cases, unpack_bits
from univs.evaluation.benchmark import Benchmark, BrokenSequence, Summary
from univs.evaluation.benchmarks import davis
from univs.evaluation.metrics.object_series import decay, mean, recall
from univs.evaluation.metrics.region_boundary import boundary_accuracy, boundary_radius, region_similarity


def scored(benchmark: Benchmark, predictions: Path, truth: Path, **options: Any) -> Summary:
    """The summary of a whole layout, with default options where none are given."""
    scoring = benchmark.open(predictions, truth, {**benchmark.options, **options})
    return scoring.summarise({sequence: scoring.measure(sequence) for sequence in scoring.sequences()})


def is_layout(case: Case) -> bool:
    return case.truth.is_dir()


def layout_of(name: str) -> Any:
    """Whether a case is a layout that the benchmark's official task reads."""
    return lambda case: is_layout(case) and davis_benchmark(case).name == name


def davis_benchmark(case: Case) -> Benchmark:
    if (case.predictions / "anno_0").is_dir():
        return davis.ReferringDavis2017()
    return davis.Davis2017Unsupervised() if case.options["task"] == "unsupervised" else davis.Davis2017SemiSupervised()


@pytest.mark.parametrize("case", cases("davis", lambda case: is_layout(case) and not case.stops))
def test_davis_layouts(case: Case) -> None:
    summary = scored(davis_benchmark(case), case.predictions, case.truth, subset=case.options["gt_set"])
    case.check(summary.figures)


@pytest.mark.parametrize("case", cases("davis", lambda case: is_layout(case) and case.stops))
def test_davis_stops_with_a_reason(case: Case) -> None:
    with pytest.raises(BrokenSequence, match=r"\.png") as caught:
        scored(davis_benchmark(case), case.predictions, case.truth, subset=case.options["gt_set"])
    assert "frame" in str(caught.value) and "expected" in str(caught.value)


def mask_pairs(case: Case, names: str) -> list[tuple[np.ndarray, ...]]:
    """Masks of a function-level case by the letters of their arrays."""
    arrays = case.arrays("pairs.npz")
    sizes = [tuple(size) for size in arrays["sizes"].tolist()]
    return [tuple(unpack_bits(arrays[f"{name}{k}"], size) for name in names) for k, size in enumerate(sizes)]


@pytest.mark.parametrize("case", cases("davis", lambda case: (case.path / "pairs.npz").exists()))
def test_davis_functions(case: Case) -> None:
    rows = []
    for k, (truth, prediction, void) in enumerate(mask_pairs(case, "gpv")):
        row = {"k": k, "size": list(truth.shape), "J": region_similarity(prediction, truth)}
        row["J_void"] = region_similarity(prediction & ~void, truth & ~void)
        for tolerance in case.options["bound_th"]:
            row[f"F_th{tolerance}"] = boundary_accuracy(prediction, truth, tolerance)
            row[f"F_void_th{tolerance}"] = boundary_accuracy(prediction & ~void, truth & ~void, tolerance)
            row[f"radius_th{tolerance}"] = boundary_radius(truth.shape, tolerance)
        rows.append(row)
    case.check({"pairs": rows})


@pytest.mark.parametrize("case", cases("davis", lambda case: (case.path / "series.json").exists()))
def test_davis_statistics(case: Case) -> None:
    series = [np.array(values) for values in case.read("series.json")["series"]]
    rows = [{"n": len(one), "mean": mean(one), "recall": recall(one), "decay": decay(one)} for one in series]
    case.check({"series": rows})

"""Masks of given objects, equal to the official evaluators on every stored case."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.evaluation.vectors import Case, cases, unpack_bits
from univs.errors import UserError
from univs.evaluation.benchmark import Benchmark, BrokenSequence, Summary
from univs.evaluation.benchmarks import davis
from univs.evaluation.benchmarks.davis_interactive import DavisInteractive
from univs.evaluation.benchmarks.folder_pairs import Mose
from univs.evaluation.benchmarks.lvos import Lvos
from univs.evaluation.benchmarks.mevis import Mevis
from univs.evaluation.benchmarks.sentence_frames import A2dSentences, JhmdbSentences
from univs.evaluation.benchmarks.viposeg import VipoSeg
from univs.evaluation.benchmarks.youtube_vos import YouTubeVos
from univs.evaluation.metrics.boundary_iou import boundary_iou, rims
from univs.evaluation.metrics.interactive_curve import frame_scores
from univs.evaluation.metrics.object_series import decay, mean, recall
from univs.evaluation.metrics.region_boundary import boundary_accuracy, boundary_radius, region_similarity
from univs.evaluation.metrics.sentence_frames import SentenceFrames


def scored(benchmark: Benchmark, predictions: Path, truth: Path, **options: Any) -> Summary:
    """The summary of a whole layout, with default options where none are given."""
    scoring = benchmark.open(predictions, truth, {**benchmark.options, **options})
    return scoring.summarise({sequence: scoring.measure(sequence) for sequence in scoring.sequences()})


def is_layout(case: Case) -> bool:
    return case.truth.is_dir()


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


LAYOUTS = {
    "vos_folder_pairs": Mose(),
    "vos_lvos": Lvos(),
    "ytvos_g_score": YouTubeVos(),
    "ref_mevis": Mevis(),
    "pvos_viposeg": VipoSeg(),
}


def own_options(case: Case) -> dict[str, Any]:
    """The benchmark's options that a case states."""
    if case.family == "vos_lvos":
        return {"subset": case.options["set"], "unseen_videos": case.options["unseen_videos"]}
    return {}


@pytest.mark.parametrize("case", [one for family in LAYOUTS for one in cases(family, is_layout)])
def test_other_layouts(case: Case) -> None:
    benchmark, options = LAYOUTS[case.family], own_options(case)
    if case.stops:
        with pytest.raises((BrokenSequence, UserError), match="expected"):
            scored(benchmark, case.predictions, case.truth, **options)
    else:
        case.check(scored(benchmark, case.predictions, case.truth, **options).figures)


@pytest.mark.parametrize("case", cases("pvos_viposeg", lambda case: (case.path / "pairs.npz").exists()))
def test_boundary_iou_functions(case: Case) -> None:
    ratio = case.options["dilation_ratio"]
    rows = [
        {
            "k": k,
            "size": list(truth.shape),
            "boundary_iou": boundary_iou(prediction, truth, ratio),
            "boundary_pixels_gt": np.count_nonzero(rims(truth.astype(np.uint8), ratio)),
            "boundary_pixels_pred": np.count_nonzero(rims(prediction.astype(np.uint8), ratio)),
        }
        for k, (truth, prediction) in enumerate(mask_pairs(case, "gp"))
    ]
    case.check({"pairs": rows})


def lacks_predictions(case: Case) -> bool:
    return "precision_iou_error" in case.expected


@pytest.mark.parametrize("benchmark", [A2dSentences(), JhmdbSentences()], ids=lambda benchmark: benchmark.name)
@pytest.mark.parametrize("case", cases("ref_a2d_jhmdb", lambda case: not lacks_predictions(case)))
def test_sentence_frames(case: Case, benchmark: Benchmark) -> None:
    case.check(scored(benchmark, case.predictions, case.truth).figures)


@pytest.mark.parametrize("case", cases("ref_a2d_jhmdb", lacks_predictions))
def test_image_without_candidates(case: Case) -> None:
    """P@K stops, with a reason; AP counts the image as missed."""
    scoring = A2dSentences().open(case.predictions, case.truth, {})
    metric = SentenceFrames()
    for image in scoring.sequences():
        parts = scoring.entries_of(image)
        metric.update(parts["image"], parts["size"], parts["truth"], parts["candidates"])
        if not parts["candidates"]:
            with pytest.raises(BrokenSequence, match=f"{image}.*expected"):
                scoring.measure(image)
    figures = metric.compute()
    case.check(figures, {name: value for name, value in case.expected.items() if name != "precision_iou_error"})
    assert np.isnan(figures["P@0.5"]) and np.isnan(figures["mean_iou"])


@pytest.mark.parametrize("case", cases("davis_interactive", lambda case: (case.path / "report.csv").exists()))
def test_interactive_reports(case: Case) -> None:
    options = {
        "interactions": case.options["max_i"] or 0,
        "seconds_per_object": case.options["max_t"] or 0.0,
        "threshold": case.options["time_threshold"],
    }
    case.check(scored(DavisInteractive(), case.path, case.path, **options).figures)


@pytest.mark.parametrize("case", cases("davis_interactive", lambda case: (case.path / "masks.npz").exists()))
def test_interactive_functions(case: Case) -> None:
    arrays = case.arrays("masks.npz")
    found = {}
    for count in case.options["nb_objects"]:
        regions, boundaries = frame_scores(arrays["y_pred"], arrays["y_true"], count)
        found[f"nb_objects_{count}"] = {
            "jaccard": regions,
            "contour": boundaries,
            "jaccard_mean_over_objects": regions.mean(axis=1),
            "contour_mean_over_objects": boundaries.mean(axis=1),
        }
    case.check(found)

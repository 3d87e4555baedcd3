"""Tracks of masks, scored by average precision and by HOTA, equal to the official evaluators."""

from __future__ import annotations

from typing import Any

import pytest

from tests.evaluation.attempts import attempt, reasons
from tests.evaluation.vectors import Case, cases
from univs.evaluation.benchmark import Summary
from univs.evaluation.benchmarks.burst_tracks import Burst
from univs.evaluation.benchmarks.instance_tracks import YouTubeVis
from univs.evaluation.metrics.hota import Hota, TrackedFrame, with_lowest


@pytest.mark.parametrize("case", cases("ytvis", lambda case: not case.stops))
def test_average_precision_of_tracks(case: Case) -> None:
    summary, broken = attempt(YouTubeVis(), case.predictions, case.truth, details=True)
    assert not broken
    # Cases with many detections keep the matches of some categories only.
    found = {(row["video"], row["category"]): row for row in summary.figures["matches_area_all"]}
    kept = [(row["video"], row["category"]) for row in case.expected.get("matches_area_all", [])]
    case.check({**summary.figures, "matches_area_all": [found[key] for key in kept]})


@pytest.mark.parametrize("case", cases("ytvis", lambda case: case.stops))
def test_average_precision_of_tracks_stops_with_a_reason(case: Case) -> None:
    found = reasons(YouTubeVis(), case.predictions, case.truth)
    assert found and all(".json" in reason and reason.endswith(".") for reason in found), found


def burst(case: Case) -> Summary:
    summary, broken = attempt(
        Burst(),
        case.predictions,
        case.truth,
        task=case.options["task"],
        common=case.options["common_category_ids"],
        uncommon=case.options["uncommon_category_ids"],
    )
    assert not broken
    return summary


@pytest.mark.parametrize("case", cases("burst_tao", lambda case: case.truth.is_dir() and case.stops))
def test_tracking_stops_with_a_reason(case: Case) -> None:
    found = reasons(Burst(), case.predictions, case.truth, task=case.options["task"])
    assert found and all(".json" in reason for reason in found), found


def is_layout(case: Case) -> bool:
    return case.truth.is_dir() and not case.stops


@pytest.mark.parametrize("case", cases("burst_tao", is_layout))
def test_tracking(case: Case) -> None:
    case.check(burst(case).figures)


@pytest.mark.parametrize("case", cases("burst_tao", lambda case: (case.path / "variant_mask_iou.json").exists()))
def test_tracking_with_mask_overlap(case: Case) -> None:
    expected = case.read("variant_mask_iou.json")
    expected.pop("note", None)
    case.check(burst(case).corrected["mask_iou"], expected)


@pytest.mark.parametrize("case", cases("burst_tao", lambda case: (case.path / "sequences.npz").exists()))
def test_hota_functions(case: Case) -> None:
    arrays: dict[str, Any] = case.arrays("sequences.npz")
    metric = Hota()
    for sequence in range(sum(name.startswith("num_") for name in arrays)):
        names = ("gt_ids", "tracker_ids", "similarity")
        frames = [
            TrackedFrame(*(arrays[f"{name}_{sequence}_{frame}"] for name in names))
            for frame in range(int(arrays[f"num_{sequence}"][0]))
        ]
        metric.update(f"seq_{sequence}", frames)
    found = {name: with_lowest(fields) for name, fields in metric.state.items()}
    case.check({**found, "combined": metric.compute()})

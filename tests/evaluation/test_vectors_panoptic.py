"""Panoptic pictures and videos, tracked segments and semantic videos, equal to the official evaluators."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest

from tests.evaluation.attempts import attempt, reasons
from tests.evaluation.vectors import Case, cases
from univs.evaluation.benchmark import Summary
from univs.evaluation.benchmarks.panoptic_images import PanopticImages
from univs.evaluation.benchmarks.panoptic_videos import CityscapesVps, VipSeg
from univs.evaluation.benchmarks.semantic_videos import Vspw
from univs.evaluation.metrics.pixel_counts import joined_pairs, pair_counts
from univs.evaluation.metrics.segmentation_tracking_quality import LabelFormat, SegmentationTrackingQuality

SAME = "same as vpq_univs"


def stopped(expected: Any) -> bool:
    return isinstance(expected, dict) and "error" in expected


def check_reasons(found: Iterable[str]) -> None:
    """Every reason names a file, and what was wrong with what is there."""
    found = list(found)
    assert found
    assert all((".png" in reason or ".json" in reason) and reason.endswith(".") for reason in found), found


# --- panoptic pictures ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", cases("panoptic_pq", lambda case: not case.stops))
def test_panoptic_pictures(case: Case) -> None:
    summary, broken = attempt(PanopticImages(), case.predictions, case.truth)
    assert not broken
    case.check(summary.figures)


@pytest.mark.parametrize("case", cases("panoptic_pq", lambda case: case.stops))
def test_panoptic_pictures_stop_with_a_reason(case: Case) -> None:
    check_reasons(reasons(PanopticImages(), case.predictions, case.truth))


# --- video panoptic quality -------------------------------------------------------------------------------------------


def vipseg(case: Case, **options: Any) -> tuple[Summary | None, dict[str, str]]:
    windows = {"windows": case.options["vpq_windows"], "classes": case.options["stq"]["num_classes"]}
    return attempt(VipSeg(), case.predictions, case.truth, **windows, **options)


@pytest.mark.parametrize("protocol", ["univs", "original"])
@pytest.mark.parametrize("case", cases("vps_vipseg"))
def test_video_panoptic_quality(case: Case, protocol: str) -> None:
    key = "vpq_univs" if protocol == "univs" else "vpq_vipseg_original"
    expected = case.expected["vpq_univs"] if case.expected[key] == SAME else case.expected[key]
    summary, broken = vipseg(case, metrics=["vpq"], protocol=protocol)
    if not stopped(expected):
        case.check(summary.figures[key], expected)
    elif "ZeroDivision" in expected["error"]:
        # A mean over nothing is no number here; the means over what there is stand beside it.
        assert not broken
        finals = [summary.figures[key][f"final_vpq_{group}"] for group in ("all", "thing", "stuff")]
        assert any(math.isnan(value) for value in finals)
        assert not math.isnan(summary.corrected["final_vpq_all_over_occurring_windows"])
    else:
        check_reasons(broken.values())


@pytest.mark.parametrize("case", cases("vps_vipseg"))
def test_segmentation_tracking_quality_of_panoptic_videos(case: Case) -> None:
    summary, broken = vipseg(case, metrics=["stq"])
    if stopped(case.expected["stq"]):
        check_reasons(broken.values())
    else:
        case.check(summary.figures["stq"], case.expected["stq"])


@pytest.mark.parametrize("case", cases("vps_vipseg", lambda case: "stq_vipseg_original" in case.expected))
def test_original_segmentation_tracking_quality(case: Case) -> None:
    expected = case.expected["stq_vipseg_original"]
    summary, broken = vipseg(case, metrics=["stq"], protocol="original")
    if stopped(expected):
        check_reasons(broken.values())
    else:
        case.check(summary.figures["stq"], expected)


@pytest.mark.parametrize("case", cases("vps_cityscapes", lambda case: not case.stops))
def test_video_panoptic_quality_of_labelled_frames(case: Case) -> None:
    options = {"windows": case.options["vpq_windows"], "frames_per_video": case.options["frames_per_video"]}
    summary, broken = attempt(CityscapesVps(), case.predictions, case.truth, **options)
    assert not broken
    case.check(summary.figures)


@pytest.mark.parametrize("case", cases("vps_cityscapes", lambda case: case.stops))
def test_video_panoptic_quality_of_labelled_frames_stops_with_a_reason(case: Case) -> None:
    options = {"windows": case.options["vpq_windows"], "frames_per_video": case.options["frames_per_video"]}
    check_reasons(reasons(CityscapesVps(), case.predictions, case.truth, **options))


# --- segmentation and tracking quality --------------------------------------------------------------------------------


def label_format(case: Case) -> LabelFormat:
    names = ("num_classes", "things_list", "ignore_label", "label_bit_shift", "offset")
    return LabelFormat(*(case.options[name] for name in names))


@pytest.mark.parametrize("case", cases("stq_step", lambda case: not case.stops))
def test_segmentation_tracking_quality(case: Case) -> None:
    metric = SegmentationTrackingQuality(label_format(case))
    arrays, bits = case.arrays("labels.npz"), case.options["label_bit_shift"]
    for sequence in range(sum(name.startswith("gt_semantic_") for name in arrays)):
        truth, prediction = (
            (arrays[f"{side}_semantic_{sequence}"].astype(np.int64) << bits) + arrays[f"{side}_instance_{sequence}"]
            for side in ("gt", "pred")
        )
        pairs = [pair_counts(*frames) for frames in zip(truth, prediction, strict=True)]
        metric.update(sequence, joined_pairs(pairs), len(pairs))
    # This key compares two versions of the official program with each other.
    expected = {key: value for key, value in case.expected.items() if key != "max_difference_to_2021_version"}
    case.check(metric.compute(), expected)


@pytest.mark.parametrize("case", cases("stq_step", lambda case: case.stops))
def test_segmentation_tracking_quality_stops_with_a_reason(case: Case) -> None:
    with pytest.raises(ValueError, match="needed"):
        label_format(case)


# --- semantic videos --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("metric", ["miou", "vc"])
@pytest.mark.parametrize("case", cases("vspw"))
def test_semantic_videos(case: Case, metric: str) -> None:
    expected = {key: value for key, value in case.expected.items() if ("vc" in key.lower()) == (metric == "vc")}
    summary, broken = attempt(
        Vspw(),
        case.predictions,
        case.truth,
        metrics=[metric],
        classes=case.options["num_classes"],
        lengths=case.options["clip_nums"],
        split=case.options["split_file"],
    )
    if any(key.endswith("error") for key in expected):
        check_reasons(broken.values())
    else:
        assert not broken
        case.check(summary.figures, expected)


@pytest.mark.parametrize("case", cases("vspw"))
def test_semantic_videos_read_once_for_all_numbers(case: Case) -> None:
    if any(key.endswith("error") for key in case.expected):
        pytest.skip("the official program stops at this case")
    options = {"classes": case.options["num_classes"], "lengths": case.options["clip_nums"]}
    summary, _ = attempt(Vspw(), case.predictions, case.truth, split=case.options["split_file"], **options)
    case.check(summary.figures)

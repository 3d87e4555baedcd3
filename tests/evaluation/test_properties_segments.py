"""What must hold of metrics of segments and labels whatever is measured: no order, no names, no grouping matter."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from univs.evaluation.metrics.panoptic_matching import FramePair, FrameSegments, MatchedWindows
from univs.evaluation.metrics.panoptic_quality import PanopticQuality
from univs.evaluation.metrics.pixel_counts import joined_pairs, pair_counts
from univs.evaluation.metrics.segmentation_tracking_quality import LabelFormat, SegmentationTrackingQuality
from univs.evaluation.metrics.semantic_video import SemanticQuality, VideoConsistency

quick = settings(max_examples=30, deadline=None, derandomize=True)
IS_THING = {3: True, 5: False, 9: True}
LABELS = LabelFormat(num_classes=4, things=(2, 3), ignore_label=255, bits=4, offset=1 << 24)


def maps(highest: int, frames: int = 3) -> st.SearchStrategy[np.ndarray]:
    """Small label videos [T, 5, 6]."""
    return arrays.arrays(np.uint8, (frames, 5, 6), elements=st.integers(0, highest))


# --- panoptic -------------------------------------------------------------------------------------------------------


def segments(ids: np.ndarray) -> FrameSegments:
    """Every id of a picture as a segment whose category follows from the id."""
    found, counts = np.unique(ids[ids > 0], return_counts=True)
    return FrameSegments(found.astype(np.int64), found % len(IS_THING), np.zeros(len(found), bool), counts)


def panoptic_video(truth: np.ndarray, prediction: np.ndarray) -> list[FramePair]:
    return [
        FramePair(segments(true), segments(found), pair_counts(true, found))
        for true, found in zip(truth.astype(np.int64), prediction.astype(np.int64), strict=True)
    ]


def panoptic_quality(videos: list[tuple[np.ndarray, np.ndarray]]) -> PanopticQuality:
    metric = PanopticQuality(IS_THING, windows=(1, 2, 3))
    for video in videos:
        metric.update(panoptic_video(*video))
    return metric


def same(one: Any, other: Any) -> bool:
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    return one == pytest.approx(other, abs=1e-9, nan_ok=True)


@quick
@given(st.lists(st.tuples(maps(7), maps(7)), min_size=2, max_size=4))
def test_panoptic_videos_in_any_order_and_in_parts(videos: list) -> None:
    whole = panoptic_quality(videos).compute()
    assert same(panoptic_quality(videos[::-1]).compute(), whole)
    merged = panoptic_quality(videos[:1])
    merged.merge(panoptic_quality(videos[1:]).state)
    assert same(merged.compute(), whole)


@quick
@given(maps(7), maps(7), st.permutations(range(2)))
def test_panoptic_ids_are_only_names(truth: np.ndarray, prediction: np.ndarray, order: list[int]) -> None:
    """An id may be any other number with the same category, which is its remainder by 3."""
    names = np.concatenate(([0], np.arange(1, 8) + 3 * (1 + np.array(order)[np.arange(7) % 2]) * 10))
    renamed = panoptic_quality([(truth, names[prediction])]).compute()
    assert same(renamed, panoptic_quality([(truth, prediction)]).compute())


@quick
@given(maps(7).filter(np.any))
def test_perfect_and_empty_panoptic_videos(truth: np.ndarray) -> None:
    occurring = [window for window, table in panoptic_quality([(truth, truth)]).compute().items() if table["All"]["n"]]
    perfect = panoptic_quality([(truth, truth)]).compute()
    empty = panoptic_quality([(truth, np.zeros_like(truth))]).compute()
    assert occurring
    assert all(perfect[window]["All"]["pq"] == 1 and empty[window]["All"]["pq"] == 0 for window in occurring)


@quick
@given(maps(7), maps(7))
def test_windows_add_up_frames(truth: np.ndarray, prediction: np.ndarray) -> None:
    """A window over the whole video is the video seen as one tall picture."""
    tall = [(truth.reshape(1, -1, 6), prediction.reshape(1, -1, 6))]
    metric = PanopticQuality(IS_THING, windows=(1,))
    metric.update(panoptic_video(*tall[0]))
    assert same(panoptic_quality([(truth, prediction)]).compute()[3], metric.compute()[1])


def test_only_the_last_of_several_crowds_forgives_officially() -> None:
    truth = np.array([[1, 1, 1, 4, 4, 4, 0, 2]])
    prediction = np.array([[1, 1, 1, 1, 1, 1, 0, 2]])
    listed = segments(truth)
    crowds = FrameSegments(listed.ids, listed.categories, listed.categories == 1, listed.areas)
    tables = MatchedWindows([FramePair(crowds, segments(prediction), pair_counts(truth, prediction))], len(IS_THING))
    assert tables.several_crowds
    # Half of the prediction is on each crowd, which is not more than half.
    assert tables.score(1)[:, 2].tolist() == [0, 1, 0]
    assert tables.score(1, every_crowd=True)[:, 2].tolist() == [0, 0, 0]


@quick
@given(maps(3), maps(3))
def test_pairs_are_counted_as_pixel_by_pixel(first: np.ndarray, second: np.ndarray) -> None:
    colours = np.stack([second[0], second[1], second[2]], -1)
    ids = second[0] + 256 * second[1].astype(int) + 65536 * second[2].astype(int)
    expected: dict[tuple[int, int], int] = {}
    for pair in zip(first[0].ravel().tolist(), ids.ravel().tolist(), strict=True):
        expected[pair] = expected.get(pair, 0) + 1
    found = pair_counts(first[0], colours)
    keys = zip(found.first.tolist(), found.second.tolist(), strict=True)
    assert dict(zip(keys, found.counts.tolist(), strict=True)) == expected


# --- segmentation and tracking quality --------------------------------------------------------------------------------


def labels(classes: np.ndarray, instances: np.ndarray) -> np.ndarray:
    return (classes.astype(np.int64) << LABELS.bits) + instances


def tracking_quality(videos: list[tuple[np.ndarray, np.ndarray]], first: int = 0) -> SegmentationTrackingQuality:
    metric = SegmentationTrackingQuality(LABELS)
    for number, (truth, prediction) in enumerate(videos, first):
        pairs = [pair_counts(*frames) for frames in zip(truth, prediction, strict=True)]
        metric.update(number, joined_pairs(pairs), len(pairs))
    return metric


labelled = st.builds(labels, maps(3), maps(2))


@quick
@given(st.lists(st.tuples(labelled, labelled), min_size=2, max_size=4))
def test_tracked_videos_in_any_order_and_in_parts(videos: list) -> None:
    whole = tracking_quality(videos).compute()
    totals = {name: whole[name] for name in ("STQ", "AQ", "IoU")}
    backwards = tracking_quality(videos[::-1]).compute()
    assert same({name: backwards[name] for name in totals}, totals)
    merged = tracking_quality(videos[:1])
    merged.merge(tracking_quality(videos[1:], first=1).state)
    assert same(merged.compute(), whole)


@quick
@given(labelled, labelled)
def test_a_video_frame_by_frame_is_the_video(truth: np.ndarray, prediction: np.ndarray) -> None:
    metric = SegmentationTrackingQuality(LABELS)
    for frames in zip(truth, prediction, strict=True):
        metric.update(0, pair_counts(*frames))
    assert same(metric.compute(), tracking_quality([(truth, prediction)]).compute())


@quick
@given(labelled, maps(3), maps(2), st.permutations(range(5)))
def test_predicted_instances_are_only_names(
    truth: np.ndarray, classes: np.ndarray, instances: np.ndarray, order: list[int]
) -> None:
    names = np.array(order)
    renamed = tracking_quality([(truth, labels(classes, names[instances]))]).compute()
    assert same(renamed, tracking_quality([(truth, labels(classes, instances))]).compute())


@quick
@given(maps(3), maps(1))
def test_perfect_tracking(classes: np.ndarray, instances: np.ndarray) -> None:
    video = labels(classes, instances + 1)  # 0 is the crowd
    found = tracking_quality([(video, video)]).compute()
    assert found["IoU"] == 1
    assert found["AQ"] == pytest.approx(1 if (classes >= 2).any() else 0)


# --- semantic videos --------------------------------------------------------------------------------------------------


def semantic_quality(videos: list[tuple[np.ndarray, np.ndarray]]) -> SemanticQuality:
    metric = SemanticQuality(classes=5)
    for truth, prediction in videos:
        for frames in zip(prediction, truth, strict=True):
            metric.update(*frames)
    return metric


@quick
@given(st.lists(st.tuples(maps(5), maps(4)), min_size=2, max_size=4))
def test_semantic_videos_in_any_order_and_in_parts(videos: list) -> None:
    def figures(metric: SemanticQuality) -> dict[str, Any]:
        return {name: value for name, value in metric.compute().items() if isinstance(value, float)}

    whole = figures(semantic_quality(videos))
    assert same(figures(semantic_quality(videos[::-1])), whole)
    merged = semantic_quality(videos[:1])
    merged.merge(semantic_quality(videos[1:]).state)
    assert same(figures(merged), whole)


@quick
@given(maps(5).filter(np.any))
def test_perfect_and_wrong_semantic_videos(truth: np.ndarray) -> None:
    perfect = np.where(truth == 0, 0, truth - 1).astype(np.uint8)
    wrong = np.where(truth == 0, 0, truth % 5).astype(np.uint8)
    assert semantic_quality([(truth, perfect)]).compute()["mIoU"] == 1
    assert semantic_quality([(truth, wrong)]).compute()["mIoU"] == 0


@quick
@given(maps(2, frames=6), maps(2, frames=6))
def test_consistency_is_what_the_definition_says(truth: np.ndarray, prediction: np.ndarray) -> None:
    metric = VideoConsistency(lengths=(2, 3, 6))
    metric.update("video", zip(prediction, truth, strict=True))
    for length in metric.lengths:
        expected = []
        for start in range(len(truth) - length + 1):
            window = slice(start, start + length)
            base = (truth[window] == truth[start]).all(0)
            kept = base & (prediction[window] == prediction[start]).all(0)
            expected.append(kept.sum() / base.sum() if base.any() else math.nan)
        found = metric.windows(length, last_too=True)["video"]
        assert found == pytest.approx(expected, nan_ok=True)


@quick
@given(maps(2, frames=5), maps(2, frames=5))
def test_consistency_of_two_videos_is_merged(truth: np.ndarray, prediction: np.ndarray) -> None:
    whole, parts = VideoConsistency(lengths=(2,)), VideoConsistency(lengths=(2,))
    for name, frames in (("a", (prediction, truth)), ("b", (truth, prediction))):
        one = VideoConsistency(lengths=(2,))
        one.update(name, zip(*frames, strict=True))
        whole.update(name, zip(*frames, strict=True))
        parts.merge(one.state)
    assert same(parts.compute(), whole.compute())

"""What must hold of metrics of tracks whatever is measured: no order, no names, no grouping matter."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from pycocotools import mask as coco_mask

from univs.evaluation.metrics import shared_runs, track_map
from univs.evaluation.metrics.coded_tracks import CodedTracks, MalformedMask, shared_pixels, track_overlaps
from univs.evaluation.metrics.hota import Hota, TrackedFrame
from univs.evaluation.metrics.run_lengths import MalformedCode, decoded_runs
from univs.evaluation.metrics.track_average_precision import PredictedTracks, TrackAveragePrecision, TrueTracks
from univs.evaluation.metrics.track_map import TrackMap, TrackSizes, matched_tracks

quick = settings(max_examples=30, deadline=None, derandomize=True)
FRAMES, SIZE = 3, (5, 6)


def coded(mask: np.ndarray) -> dict[str, Any]:
    code = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {"size": [int(side) for side in code["size"]], "counts": code["counts"].decode()}


def videos(most: int = 3) -> st.SearchStrategy[np.ndarray]:
    """Tracks of masks [N, T, H, W] bool."""
    return st.integers(1, most).flatmap(lambda n: arrays.arrays(bool, (n, FRAMES, *SIZE)))


def coded_video(masks: np.ndarray) -> CodedTracks:
    return CodedTracks.of([[coded(mask) if mask.any() else None for mask in track] for track in masks])


# --- run-length codes -------------------------------------------------------------------------------------------------


@quick
@given(st.lists(arrays.arrays(bool, st.tuples(st.integers(1, 40), st.integers(1, 40))), min_size=1, max_size=4))
def test_runs_are_those_of_the_mask(masks: list[np.ndarray]) -> None:
    runs = decoded_runs([coded(mask)["counts"] for mask in masks], np.array([mask.size for mask in masks]))
    assert runs.areas.tolist() == [int(mask.sum()) for mask in masks]
    for place, mask in enumerate(masks):
        drawn = np.zeros(mask.size, bool)
        for start, end in zip(*runs.of(np.array([place])), strict=True):
            drawn[start:end] = True
        assert (drawn.reshape(mask.shape, order="F") == mask).all()


def test_long_runs_take_several_letters() -> None:
    mask = np.zeros((2000, 3000), bool)
    mask[:, 1000:2900] = True
    runs = decoded_runs([coded(mask)["counts"]], np.array([mask.size]))
    assert runs.areas.tolist() == [1900 * 2000] and runs.starts[0] == 2_000_000 and runs.ends[0] == 5_800_000


def _fills(codes: list[str], pixels: int) -> bool:
    try:
        decoded_runs(codes, np.array([pixels]))
    except MalformedCode:
        return False
    return True


@quick
@given(arrays.arrays(bool, (9, 8)).filter(np.any), st.data())
def test_codes_that_are_not_whole_are_found(mask: np.ndarray, data: st.DataObject) -> None:
    good, code = coded(np.ones((2, 2))), coded(mask)
    cut = code["counts"][: data.draw(st.integers(0, len(code["counts"]) - 1))]
    assume(not _fills([cut], mask.size))  # what ends with a run of 0 may lose it
    with pytest.raises(MalformedMask) as caught:
        CodedTracks.of([[good, None], [None, {**code, "counts": cut}]])
    assert (caught.value.row, caught.value.frame) == (1, 1)


@quick
@given(videos(), videos())
def test_overlap_of_tracks_is_that_of_their_pixels(first: np.ndarray, second: np.ndarray) -> None:
    shared = (first[:, None] & second[None]).sum((2, 3, 4))
    union = (first[:, None] | second[None]).sum((2, 3, 4))
    expected = np.divide(shared, union, out=np.zeros(shared.shape), where=union > 0)
    assert track_overlaps(coded_video(first), coded_video(second)) == pytest.approx(expected)


@quick
@given(videos(2), videos(2), st.sampled_from([1, 40, 1 << 20]), st.booleans())
def test_shared_pixels_are_counted_piece_by_piece(
    first: np.ndarray, second: np.ndarray, at_once: int, turned: bool
) -> None:
    """Masks with full columns, several runs in a column, and of another shape, in pieces of any size."""
    first[..., 1], second[..., 1:3] = True, True
    sides = coded_video(first), coded_video(second.swapaxes(2, 3) if turned else second)
    groups = np.arange(len(first)) % 2, np.arange(len(second)) % 2
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shared_runs, "RUNS_AT_ONCE", at_once)
        ours, theirs, pixels = shared_pixels(*sides, groups)
    found = np.zeros((len(first), len(second), FRAMES), int)
    found[sides[0].rows[ours], sides[1].rows[theirs], sides[0].frames[ours]] = pixels
    alike = (groups[0][:, None] == groups[1]) & (not turned)
    assert (found == (first[:, None] & second[None]).sum((3, 4)) * alike[..., None]).all()


# --- average precision of tracks --------------------------------------------------------------------------------------


def true_tracks(masks: np.ndarray, categories: np.ndarray, first_id: int = 1) -> TrueTracks:
    ids, areas = np.arange(len(masks)) + first_id, masks.sum((1, 2, 3)) / FRAMES
    return TrueTracks(ids, categories, np.zeros(len(masks), bool), areas, coded_video(masks))


def predicted_tracks(masks: np.ndarray, categories: np.ndarray, scores: np.ndarray) -> PredictedTracks:
    return PredictedTracks(np.arange(len(masks)) + 1, categories, scores, coded_video(masks))


@st.composite
def track_videos(draw: st.DrawFn) -> tuple[TrueTracks, PredictedTracks]:
    truth, prediction = draw(videos()), draw(videos(4))
    kinds = st.integers(1, 2)
    scores = draw(st.lists(st.floats(0, 1), min_size=len(prediction), max_size=len(prediction), unique=True))
    return (
        true_tracks(truth, draw(arrays.arrays(np.int64, len(truth), elements=kinds))),
        predicted_tracks(
            prediction, draw(arrays.arrays(np.int64, len(prediction), elements=kinds)), np.array(scores, np.float64)
        ),
    )


def track_precision(numbered: list[tuple[int, tuple[TrueTracks, PredictedTracks]]]) -> TrackAveragePrecision:
    metric = TrackAveragePrecision(categories=(1, 2))
    for number, video in numbered:
        metric.update(number, *video)
    return metric


@quick
@given(st.lists(track_videos(), min_size=2, max_size=3))
def test_videos_of_tracks_in_any_order_and_in_parts(found: list) -> None:
    numbered = list(enumerate(found))
    whole = track_precision(numbered).compute()
    assert track_precision(numbered[::-1]).compute() == whole
    merged = track_precision(numbered[1:])
    merged.merge(track_precision(numbered[:1]).state)
    assert merged.compute() == whole


@quick
@given(videos(), st.integers(2, 90))
def test_perfect_and_empty_tracks_whatever_their_ids(masks: np.ndarray, first_id: int) -> None:
    assume(masks.any((1, 2, 3)).all())
    kinds = np.ones(len(masks), np.int64)
    distinct = np.unique(masks.reshape(len(masks), -1), axis=0)
    assume(len(distinct) == len(masks))
    scores = np.linspace(1, 0.5, len(masks))
    perfect = track_precision([(1, (true_tracks(masks, kinds, first_id), predicted_tracks(masks, kinds, scores)))])
    assert perfect.compute()["stats"]["AP"] == pytest.approx(1)
    nothing = predicted_tracks(masks[:0], kinds[:0], scores[:0])
    stats = track_precision([(1, (true_tracks(masks, kinds, first_id), nothing))]).compute()["stats"]
    assert stats["AP"] == stats["AR100"] == 0


# --- HOTA and track mAP -----------------------------------------------------------------------------------------------


@st.composite
def tracked_sequences(draw: st.DrawFn) -> list[TrackedFrame]:
    frames = []
    for _ in range(draw(st.integers(1, 4))):
        truth, tracker = (draw(st.lists(st.integers(0, 3), unique=True)) for _ in range(2))
        similarity = draw(arrays.arrays(np.float64, (len(truth), len(tracker)), elements=st.floats(0, 1), unique=True))
        frames.append(TrackedFrame(np.array(truth, np.int64), np.array(tracker, np.int64), similarity))
    return frames


def hota(sequences: list[tuple[int, list[TrackedFrame]]]) -> Hota:
    metric = Hota()
    for sequence in sequences:
        metric.update(*sequence)
    return metric


def close(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return all(np.allclose(one[name], other[name], atol=1e-9) for name in one)


@quick
@given(st.lists(tracked_sequences(), min_size=2, max_size=3))
def test_sequences_in_any_order_and_in_parts(found: list) -> None:
    numbered = list(enumerate(found))
    whole = hota(numbered).compute()
    assert close(hota(numbered[::-1]).compute(), whole)
    merged = hota(numbered[:1])
    merged.merge(hota(numbered[1:]).state)
    assert close(merged.compute(), whole)


@quick
@given(tracked_sequences(), st.permutations(range(4)))
def test_tracker_ids_are_only_names(frames: list[TrackedFrame], order: list[int]) -> None:
    names = np.array(order)
    renamed = [TrackedFrame(frame.truth, names[frame.tracker], frame.similarity) for frame in frames]
    assert close(hota([(0, renamed)]).compute(), hota([(0, frames)]).compute())


@quick
@given(st.lists(st.lists(st.integers(0, 3), unique=True), min_size=1, max_size=4))
def test_perfect_and_empty_sequences(ids: list[list[int]]) -> None:
    assume(any(ids))
    frames = [TrackedFrame(np.array(one, np.int64), np.array(one, np.int64), np.eye(len(one))) for one in ids]
    assert np.allclose(hota([(0, frames)]).compute()["HOTA"], 1)
    nothing = [TrackedFrame(frame.truth, frame.truth[:0], np.zeros((len(frame.truth), 0))) for frame in frames]
    assert np.allclose(hota([(0, nothing)]).compute()["HOTA"], 0)


def sizes(number: int) -> TrackSizes:
    return TrackSizes(np.full(number, 500.0), np.full(number, 5))


@st.composite
def matched_sequences(draw: st.DrawFn) -> dict[str, np.ndarray]:
    detections, truths = draw(st.integers(0, 4)), draw(st.integers(0, 3))
    ious = draw(arrays.arrays(np.float64, (detections, truths), elements=st.floats(0, 1)))
    scores = draw(arrays.arrays(np.float64, detections, elements=st.floats(0, 1)))
    return matched_tracks(ious, scores, sizes(truths), sizes(detections), exhaustive=draw(st.booleans()))


def mean_precision(sequences: list[tuple[int, dict[str, np.ndarray]]]) -> TrackMap:
    metric = TrackMap()
    for sequence in sequences:
        metric.update(*sequence)
    return metric


@quick
@given(st.lists(matched_sequences(), min_size=2, max_size=4))
def test_sequences_of_tracks_in_any_order_and_in_parts(found: list) -> None:
    numbered = list(enumerate(found))
    whole = mean_precision(numbered).compute()
    assert close(mean_precision(numbered[::-1]).compute(), whole)
    merged = mean_precision(numbered[1:])
    merged.merge(mean_precision(numbered[:1]).state)
    assert close(merged.compute(), whole)


@pytest.mark.parametrize("number", [1, 3])
def test_perfect_and_missing_tracks(number: int) -> None:
    perfect = matched_tracks(np.eye(number), np.linspace(1, 0, number), sizes(number), sizes(number), exhaustive=True)
    assert np.allclose(mean_precision([(0, perfect)]).compute()["AP_all"], 1)
    missing = matched_tracks(np.zeros((0, number)), np.zeros(0), sizes(number), sizes(0), exhaustive=True)
    figures = mean_precision([(0, missing)]).compute()
    assert np.allclose(figures["AP_all"], 0) and np.allclose(figures["AP_area_l"], -1)
    assert set(figures) == {f"{kind}_{setting}" for kind in ("AP", "AR") for setting in track_map.SETTINGS}

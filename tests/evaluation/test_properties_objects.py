"""What holds for masks of given objects whatever they look like, and whatever order or parts they come in."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as mask_codes

from tests.evaluation.vectors import differences
from univs.evaluation.metrics.boundary_iou import GroupedBoundaryIoU, boundary_distance, region_rim_scores, rims
from univs.evaluation.metrics.expression_scores import ExpressionScores
from univs.evaluation.metrics.first_seen_series import FirstSeenSeries, frame_tables
from univs.evaluation.metrics.interactive_curve import InteractiveCurve, Limits, Sample
from univs.evaluation.metrics.object_series import ObjectSeries
from univs.evaluation.metrics.proposals import match_proposals
from univs.evaluation.metrics.records import Records
from univs.evaluation.metrics.region_boundary import boundary_radius, object_scores, pair_scores
from univs.evaluation.metrics.seen_unseen import GroupedScores, LongTermSeries
from univs.evaluation.metrics.sentence_frames import SentenceFrames

OBJECTS = (1, 2, 3)
QUICK = settings(max_examples=40, deadline=None, derandomize=True)


@st.composite
def label_maps(draw: st.DrawFn, count: int = 2) -> list[np.ndarray]:
    """Maps [H, W] of one size with boxes of the objects, and now and then single pixels, over each other."""
    height, width = draw(st.integers(1, 40)), draw(st.integers(1, 40))
    dtype = draw(st.sampled_from([np.uint8, np.uint16, np.int32]))
    box = st.tuples(st.integers(0, height), st.integers(0, width), st.integers(1, 25), st.integers(1, 25))
    maps = []
    for _ in range(count):
        labels = np.zeros((height, width), dtype)
        for (top, left, tall, wide), label in draw(st.lists(st.tuples(box, st.integers(0, 4)), max_size=6)):
            labels[top : top + tall, left : left + wide] = label
        maps.append(labels)
    return maps


def slow_boundary(mask: np.ndarray) -> np.ndarray:
    """Boundary pixels by comparison of whole pictures, the outside like the nearest pixel."""
    framed = np.pad(mask, ((0, 1), (0, 1)), mode="edge")
    return (mask != framed[:-1, 1:]) | (mask != framed[1:, :-1]) | (mask != framed[1:, 1:])


def slow_scores(prediction: np.ndarray, truth: np.ndarray, tolerance: float) -> tuple[float, float]:
    """J and F of two masks by whole pictures: every boundary pixel is compared with every other."""
    union = (prediction | truth).sum()
    sides = [np.argwhere(slow_boundary(mask)) for mask in (prediction, truth)]
    if not len(sides[0]) or not len(sides[1]):
        return (prediction & truth).sum() / union if union else 1.0, float(len(sides[0]) == len(sides[1]))
    squared = np.square(sides[0][:, None] - sides[1][None]).sum(axis=2)
    near = squared <= boundary_radius(truth.shape, tolerance) ** 2
    precision, recall = near.any(axis=1).mean(), near.any(axis=0).mean()
    measure = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
    return (prediction & truth).sum() / union, measure


@QUICK
@given(label_maps(), st.sampled_from([0.008, 0.05, 0.1, 1, 3, 7]))
def test_scores_are_those_of_the_slow_way(maps: list[np.ndarray], tolerance: float) -> None:
    prediction, truth = maps
    regions, boundaries = pair_scores(prediction, truth, OBJECTS, OBJECTS, tolerance)
    for row, predicted in enumerate(OBJECTS):
        for column, true in enumerate(OBJECTS):
            slow = slow_scores(prediction == predicted, truth == true, tolerance)
            assert (regions[row, column], boundaries[row, column]) == pytest.approx(slow, abs=1e-12)
    own = object_scores(prediction, truth, OBJECTS, tolerance)
    assert (own[0] == regions.diagonal()).all() and (own[1] == boundaries.diagonal()).all()


@QUICK
@given(label_maps())
def test_perfect_and_empty_predictions(maps: list[np.ndarray]) -> None:
    truth = maps[0]
    assert (np.stack(object_scores(truth, truth, OBJECTS)) == 1).all()
    regions, boundaries = object_scores(np.zeros_like(truth), truth, OBJECTS)
    for label, region, boundary in zip(OBJECTS, regions, boundaries, strict=True):
        assert region == (not (truth == label).any())
        assert boundary == (not slow_boundary(truth == label).any())


@QUICK
@given(label_maps(), st.permutations(OBJECTS))
def test_names_of_objects_do_not_matter(maps: list[np.ndarray], names: Sequence[int]) -> None:
    renamed = [np.array([0, *names, 4], labels.dtype)[labels] for labels in maps]
    before, after = object_scores(*maps, OBJECTS), object_scores(*renamed, names)
    assert (np.stack(before) == np.stack(after)).all()
    rims_before, rims_after = region_rim_scores(*maps, OBJECTS), region_rim_scores(*renamed, names)
    assert (np.stack(rims_before) == np.stack(rims_after)).all()


@QUICK
@given(label_maps(count=6), st.permutations(range(3)))
def test_numbers_of_proposals_do_not_matter(maps: list[np.ndarray], order: Sequence[int]) -> None:
    tables = [pair_scores(maps[k], maps[k + 1], OBJECTS, (1, 2)) for k in (0, 2, 4)]
    regions, boundaries = (np.stack([table[place] for table in tables], axis=2) for place in (0, 1))
    one = match_proposals(regions, boundaries)
    other = match_proposals(regions[list(order)], boundaries[list(order)])
    gained = [(matched.regions.mean() + matched.boundaries.mean()) / 2 for matched in (one, other)]
    assert gained[0] == pytest.approx(gained[1], abs=1e-12)
    # no other assignment of two proposals to the two objects is better
    quality = (regions.mean(axis=2) + boundaries.mean(axis=2)) / 2
    best = max(quality[a, 0] + quality[b, 1] for a in range(3) for b in range(3) if a != b)
    assert gained[0] * 2 == pytest.approx(best, abs=1e-12)


@QUICK
@given(label_maps(count=1), st.sampled_from([0.001, 0.02, 0.1, 0.3]))
def test_rims_are_what_erosion_leaves(maps: list[np.ndarray], ratio: float) -> None:
    labels = maps[0]
    found = rims(labels, ratio)
    square = np.ones((3, 3), np.uint8)
    for label in (*OBJECTS, 4):
        mask = (labels == label).astype(np.uint8)
        framed = cv2.copyMakeBorder(mask, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
        eroded = cv2.erode(framed, square, iterations=boundary_distance(labels.shape, ratio))[1:-1, 1:-1]
        assert ((found == label) == (mask - eroded).astype(bool)).all()


# --- order, parts and names of sequences ---------------------------------------------------------------------------

Update = Callable[[Any], None]


def random_series(draws: random.Random, objects: int) -> list[np.ndarray]:
    frames = draws.randint(1, 9)
    return [np.array([draws.random() for _ in range(frames)]) for _ in range(objects)]


def object_series(draws: random.Random, name: str) -> Update:
    count, frames = draws.randint(1, 3), draws.randint(0, 300)
    tables = [np.array([[draws.random() for _ in range(frames)] for _ in range(count)]) for _ in "JF"]
    return lambda metric: metric.update(name, *tables)


def first_seen_series(draws: random.Random, name: str) -> Update:
    frames = [[np.array([[draws.randint(0, 3) for _ in range(5)]] * 3) for _ in "pt"] for _ in range(4)]
    objects, tables = frame_tables(frames)
    return lambda metric: metric.update(name, objects, tables)


def grouped_scores(draws: random.Random, name: str) -> Update:
    series, group = random_series(draws, 2), draws.choice(["seen", "unseen"])
    return lambda metric: metric.update(name, group, *series)


def long_term_series(draws: random.Random, name: str) -> Update:
    objects = [random_series(draws, 2) for _ in range(draws.randint(1, 3))]
    return lambda metric: metric.update(name, *zip(*objects, strict=True))


def expression_scores(draws: random.Random, name: str) -> Update:
    series = random_series(draws, 2)
    return lambda metric: metric.update(name, *series)


def grouped_boundary_iou(draws: random.Random, name: str) -> Update:
    masks, boundaries = random_series(draws, 2)
    groups = [draws.choice(["a", "b", ""]) for _ in masks]
    counts = [draws.randint(1, 70) for _ in masks]
    return lambda metric: metric.update(name, groups, counts, masks, boundaries)


def sentence_frames(draws: random.Random, name: str) -> Update:
    def code() -> dict[str, Any]:
        mask = np.zeros((20, 30), np.uint8, order="F")
        mask[draws.randint(0, 9) : draws.randint(10, 20), draws.randint(0, 9) : draws.randint(10, 30)] = 1
        found = mask_codes.encode(mask)
        return {"size": [20, 30], "counts": found["counts"].decode()}

    truth = code()
    area = int(mask_codes.area(truth))
    entry = {"id": ord(name[-1]), "area": area, "iscrowd": 0, "segmentation": truth}
    candidates = [{"score": draws.randint(1, 3) / 3, "segmentation": code()} for _ in range(draws.randint(1, 3))]
    return lambda metric: metric.update(name, (20, 30), [entry], candidates)


def interactive_curve(draws: random.Random, name: str) -> Update:
    keys = [[1, turn, number] for turn in range(1, draws.randint(1, 3) + 1) for number in (1, 2) for _ in range(2)]
    values = [[draws.random() for _ in range(4)] for _ in keys]
    return lambda metric: metric.update(name, np.array(keys), np.array(values))


NAMES = ("s1", "s2", "s3", "s4")
SAMPLES = {name: Sample(2, 2) for name in NAMES}
METRICS: dict[str, tuple[Callable[[], Records], Callable[[random.Random, str], Update], Callable[[Any], Any]]] = {
    "object series": (ObjectSeries, object_series, lambda metric: [metric.compute(), metric.unwrapped_decay()]),
    "first seen": (FirstSeenSeries, first_seen_series, lambda metric: metric.compute()),
    "seen and unseen": (GroupedScores, grouped_scores, lambda metric: metric.compute()),
    "long term": (
        lambda: LongTermSeries({"s2"}),
        long_term_series,
        lambda metric: [metric.compute(), metric.corrected()],
    ),
    "expressions": (ExpressionScores, expression_scores, lambda metric: metric.compute()),
    "rims": (lambda: GroupedBoundaryIoU("ab"), grouped_boundary_iou, lambda metric: metric.compute()),
    "sentences": (SentenceFrames, sentence_frames, lambda metric: metric.compute()),
    "interactions": (
        lambda: InteractiveCurve(SAMPLES, Limits()),
        interactive_curve,
        lambda metric: [metric.compute(), metric.areas_forward_in_time()],
    ),
}


def same(one: Any, other: Any) -> bool:
    """Whether two results agree in every last bit, NaN with NaN."""
    return not list(differences(_without_nan(one), other, tolerance=0))


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(name): _without_nan(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and math.isnan(value) else value


@pytest.mark.parametrize("kind", METRICS)
@settings(max_examples=12, deadline=None, derandomize=True)
@given(seed=st.integers(0, 1 << 20), order=st.permutations(range(4)), cut=st.integers(0, 4))
def test_order_and_parts_do_not_matter(kind: str, seed: int, order: list[int], cut: int) -> None:
    make, updates_of, compute = METRICS[kind]
    draws = random.Random(seed)
    updates = [updates_of(draws, name) for name in NAMES]
    whole, shuffled, first, second = make(), make(), make(), make()
    for place, update in enumerate(updates):
        update(whole)
        update(first if place < cut else second)
    for place in order:
        updates[place](shuffled)
    expected = compute(whole)
    assert same(expected, compute(shuffled))
    first.merge(second)
    assert same(expected, compute(first))
    copy = make()
    copy.load(whole.state)
    assert same(expected, compute(copy))
    with pytest.raises(ValueError, match="s1"):
        updates[0](whole)
    whole.reset()
    assert whole.state == {}
    for update in updates:
        update(whole)
    assert same(expected, compute(whole))

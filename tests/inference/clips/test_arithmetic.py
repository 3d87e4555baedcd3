"""Qualities, boxes, overlaps, similarities and owners by numbers that can be worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch

from univs.inference.clips.arithmetic import (
    assign,
    box_iou,
    cosine_similarity,
    mask_boxes,
    mask_iou,
    mask_quality,
    mutual_similarity,
    paired_mask_iou,
    running_mean,
    self_similarity,
    slot_weights,
)
from univs.inference.clips.overlap import Shares, class_map, not_repeated, own_part, pixel_owner


def test_quality_is_the_share_of_sure_pixels():
    logits = torch.full((2, 2, 2, 5), -3.0)
    logits[0, 0, 0] = torch.tensor([2.0, 1.0, 0.0, -0.5, -1.0])
    assert mask_quality(logits).tolist() == [0.25, 0.0]


def test_boxes_end_with_the_last_pixel_and_are_shares_of_the_picture():
    masks = torch.zeros(2, 1, 8, 16, dtype=torch.bool)
    masks[0, 0, 2:5, 4:9] = True
    assert mask_boxes(masks).tolist() == [[[4 / 16, 2 / 8, 8 / 16, 4 / 8]], [[0.0] * 4]]


def test_overlap_of_boxes_by_frame():
    boxes = torch.tensor([[[0.0, 0.0, 0.5, 1.0], [0.0, 0.0, 0.02, 0.02]]])
    others = torch.tensor([[[0.25, 0.0, 0.75, 1.0], [0.0, 0.0, 0.02, 0.02]]])
    # the second union is below a thousandth of the picture
    assert box_iou(boxes, others).flatten().tolist() == pytest.approx([1 / 3, 0.4])


def test_overlap_of_masks():
    masks = torch.zeros(2, 2, 2, 4, dtype=torch.bool)
    masks[0, 0, 0] = True
    masks[1, 0, :, :2] = True
    assert mask_iou(masks, masks)[..., 0].tolist() == [[1.0, pytest.approx(1 / 3)], [pytest.approx(1 / 3), 1.0]]
    assert not mask_iou(masks, masks)[..., 1].any()
    assert paired_mask_iou(masks, masks.flip(0)).tolist() == [pytest.approx(1 / 3)] * 2


def test_newer_slots_weigh_more_and_empty_ones_nothing():
    weights = slot_weights(torch.tensor([[1.0, 1.0], [1.0, 0.0], [0.0, 0.0]]))
    newer = math.exp(5) / (math.exp(5) + math.exp(2.5))
    assert weights.flatten().tolist() == pytest.approx([1 - newer, newer, 1.0, 0.0, 0.0, 0.0])


def test_similarities_with_the_past():
    slots = torch.tensor([[[0.0, 0.0], [2.0, 0.0]], [[0.0, 3.0], [0.0, 3.0]]])
    embeddings = torch.tensor([[[1.0, 0.0], [0.0, 1.0]], [[0.0, 5.0], [0.0, 5.0]]])
    assert self_similarity(slots, embeddings).tolist() == pytest.approx([0.5, 1.0])
    pairs = cosine_similarity(slots, embeddings)
    assert pairs.flatten().tolist() == pytest.approx([0.5, 0.0, 0.5, 1.0])
    assert pairs.diagonal().tolist() == pytest.approx(self_similarity(slots, embeddings).tolist())


def test_mutual_choice_is_a_mean_of_two_softmaxes():
    slots, embeddings = torch.eye(2)[:, None] * 3, torch.eye(2)[:1, None]
    both = math.exp(3) / (math.exp(3) + 1)  # of the two objects, the query chooses the first; it is the only query
    assert mutual_similarity(slots, embeddings).flatten().tolist() == pytest.approx([(both + 1) / 2, (2 - both) / 2])


def test_assignment_is_the_best_in_sum():
    similarity = torch.tensor([[0.9, 0.8, 0.0], [0.8, 0.1, 0.0]])
    rows, columns = assign(similarity)
    assert (rows.tolist(), columns.tolist()) == ([0, 1], [1, 0])
    assert len(assign(torch.full((2, 3), math.nan))[0]) == 2


def test_running_mean_of_slots():
    mean = running_mean(torch.tensor([[0.0, 0.0], [2.0, 0.0]]), torch.tensor([[1.0, 1.0], [4.0, 2.0]]))
    assert mean.tolist() == [[1.0, 1.0], [3.0, 1.0]]


def test_a_pixel_belongs_to_the_largest_claim():
    claims = torch.tensor([[[1.0, 2.0, 3.0]], [[1.0, 3.0, 2.0]]])
    owner = pixel_owner(claims, torch.tensor([[True, True, False]]))
    assert owner.tolist() == [[0, 1, -1]]
    own = torch.tensor([[[False, True, True]], [[True, True, True]]])
    assert own_part(owner, own).tolist() == [[-1, 1, -1]]
    counted = Shares.count(owner, own) + Shares.none(2)
    assert [x.tolist() for x in (counted.owned, counted.own, counted.both)] == [[1, 1], [2, 3], [0, 1]]
    assert counted.visible.tolist() == [False, True]
    assert counted.ratio.tolist() == pytest.approx([1 / 2, 1 / 3])


def test_repeats_are_those_of_better_ones_even_of_dropped_ones():
    overlaps = torch.tensor([[1.0, 0.8, 0.0, 0.1], [0.8, 1.0, 0.7, 0.0], [0.0, 0.7, 1.0, 0.0], [0.1, 0.0, 0.0, 1.0]])
    assert not_repeated(overlaps, 0.7).tolist() == [True, False, False, True]


def test_classes_of_pixels_are_sums_over_queries():
    scores = torch.tensor([[0.9, 0.0], [0.0, 0.5], [0.0, 0.5]])
    logits = torch.tensor([[9.0, 0.0], [-9.0, 0.0], [9.0, 9.0]])
    assert class_map(scores, logits, lambda masks: masks).tolist() == [0, 1]

"""Stored cases of whole videos in which objects are found, of semantic maps, and of pictures."""

from __future__ import annotations

import copy
from unittest import mock

import numpy as np
import pytest
import torch
from pycocotools import mask as coco_mask

from tests import parity
from tests.inference.clips.recording import run_case
from tests.inference.clips.video_cases import Comparison
from univs.inference.clips.entities import FoundObjects
from univs.inference.clips.results import PanopticFrame, VideoSegments, VideoTracks


def _of_kind(*kinds):
    def which(case):
        return "memory" in case.json.get("sign_bits", {}) and case.json["kind"] in kinds

    which.__name__ = " or ".join(kinds)
    return which


def _compare(case, values: dict[str, np.ndarray], unread: frozenset[str] = frozenset()) -> None:
    """Assert that every stored array that something reads is there and within its limits."""
    comparison = Comparison(case)
    names = {name for name in comparison.names() if not name.endswith("_shape") or name.endswith("pool_shape")}
    names = {name for name in names if name.split(".")[-1] not in unread}
    assert names == values.keys()
    for name in sorted(names):
        comparison.check(name, values[name])


def _run(case) -> tuple[dict[str, np.ndarray], list]:
    """Recorded values of the case, with the new objects of each clip, and the results."""
    found = {name: np.zeros(0) for name in case.npz if name.split(".")[-1] in ("new_query_indices", "new_scores")}
    insert = FoundObjects._insert

    def recorded(steps, state, clip, candidates):
        number = clip.first // steps.settings.stride
        found[f"clip{number}.new_query_indices"] = candidates.queries.cpu().numpy()
        found[f"clip{number}.new_scores"] = candidates.best.cpu().numpy()
        insert(steps, state, clip, candidates)

    with mock.patch.object(FoundObjects, "_insert", recorded):
        stream, results = run_case(case)
    return {**stream.values, **found, "out.num_clips": stream.clips}, results


def _track_masks(tracks: VideoTracks, rows: list[int]) -> np.ndarray:
    """Masks [n, V, Ho, Wo] of some tracks."""
    return np.stack([coco_mask.decode(list(tracks.segmentations(row))).transpose(2, 0, 1) for row in rows]).astype(bool)


def _same_entries(case, classes: np.ndarray, scores: np.ndarray, masks: np.ndarray) -> list[int]:
    """Own entries in the order of the stored ones, which are a set.

    Each gets the stored one of its class whose score is within the limit and whose mask differs least.
    """
    comparison = Comparison(case)
    wanted = case.npz["out.pred_classes" if "out.pred_classes" in case.npz else "out.category_id"]
    reference = comparison.reference("out.masks")
    limit = case.json["tolerance"]["kinds"]["score"]["atol"]
    place_of: dict[int, int] = {}
    for own in range(len(classes)):
        close = (wanted == classes[own]) & (np.abs(case.npz["out.score"] - scores[own]) <= limit)
        free = [place for place in np.flatnonzero(close) if place not in place_of]
        place_of[min(free, key=lambda place: int((reference[place] != masks[own]).sum()))] = own
    return [place_of[place] for place in range(len(wanted))]


def _check_segments(case, results: VideoSegments | list) -> None:
    stored = [(item["id"], item["category_id"], item["isthing"]) for item in case.json["segments_infos"]]
    assert [(item.id, item.category + 1, item.is_thing) for item in results.segments] == stored


@torch.inference_mode()
@pytest.mark.parametrize("case", parity.cases(_of_kind("vis_json")))
def test_parity_found_tracks(case):
    values, results = _run(case)
    (tracks,) = results
    rows = sorted({entry.track for entry in tracks.entries})
    masks = _track_masks(tracks, rows)
    values["out.score"] = np.array([entry.score for entry in tracks.entries])
    values["out.category_id"] = np.array([entry.category for entry in tracks.entries])
    values["out.track"] = np.array([rows.index(entry.track) for entry in tracks.entries])
    values["out.track_masks"], values["out.track_areas"] = masks, masks.sum((2, 3))
    _compare(case, values)
    reference = Comparison(case).reference("out.track_masks")
    for own, stored, same in zip(
        tracks.segmentations(rows[0]), case.json["rle_of_track0"], (masks[0] == reference[0]).all((1, 2)), strict=True
    ):
        assert (own == stored) == same


@torch.inference_mode()
@pytest.mark.parametrize("case", parity.cases(_of_kind("vps", "vps_minvis")))
def test_parity_panoptic_maps(case):
    values, (*frames, segments) = _run(case)
    assert all(isinstance(frame, PanopticFrame) for frame in frames)
    assert [frame.index for frame in frames] == list(range(case.inputs["T"]))
    values["out.panoptic"] = torch.stack([frame.ids() for frame in frames]).cpu().numpy()
    if "out.pred_ids" in case.npz:
        values["out.pred_ids"] = np.array(segments.tracks)
    _compare(case, values)
    _check_segments(case, segments)


@torch.inference_mode()
@pytest.mark.parametrize("case", parity.cases(_of_kind("vis_fast")))
def test_parity_tracks_of_queries(case):
    values, (tracks,) = _run(case)
    masks = _track_masks(tracks, [entry.track for entry in tracks.entries])
    scores = np.array([entry.score for entry in tracks.entries])
    classes = np.array([entry.category for entry in tracks.entries])
    order = _same_entries(case, classes, scores, masks)
    values["out.score"], values["out.category_id"] = scores[order], classes[order]
    values["out.masks"], values["out.areas"] = masks[order], masks[order].sum((2, 3))
    _compare(case, values)


@torch.inference_mode()
@pytest.mark.parametrize("case", parity.cases(_of_kind("vss")))
def test_parity_semantic_maps(case):
    values, results = _run(case)
    assert [frame.index for frame in results] == list(range(case.inputs["T"]))
    values["out.semantic"] = torch.stack([frame.classes for frame in results]).cpu().numpy()
    # the reference run has prompts of class names, which nothing reads
    learnable = len(values["clip0.quality"])
    learnt = copy.copy(case)
    learnt.npz = {
        name: array[:learnable] if name.split(".")[-1] in Comparison.BY_QUERY else array
        for name, array in case.npz.items()
    }
    unread = frozenset({"n_prompts", "pred_masks_prompt"})
    values = {name: value for name, value in values.items() if name.split(".")[-1] not in unread}
    _compare(learnt, values, unread)


@torch.inference_mode()
@pytest.mark.parametrize("case", parity.cases(_of_kind("image")))
def test_parity_pictures(case):
    values, (result,) = _run(case)
    instances = result.instances
    classes, scores, masks = (array.cpu().numpy() for array in (instances.classes, instances.scores, instances.masks))
    order = _same_entries(case, classes, scores, masks)
    values["out.pred_classes"], values["out.score"], values["out.masks"] = classes[order], scores[order], masks[order]
    values["out.boxes"] = instances.boxes.cpu().numpy()[order]
    values["out.panoptic"] = result.panoptic.cpu().numpy()
    values["out.sem_seg_max"], values["out.sem_seg_argmax"] = (array.cpu().numpy() for array in result.semantic.max(0))
    _compare(case, values)
    stored = [(item["id"], item["category_id"], item["isthing"]) for item in case.json["segments_infos"]]
    assert [(item.id, item.category, item.is_thing) for item in result.segments] == stored

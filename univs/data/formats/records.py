"""Records: how annotated videos look to the mapper, whatever file they come from.

A record is a dict as Detectron2 has it, over the L frames of a video (a picture is a video of one frame):
``file_names`` (L paths), ``video_id``, ``task``, ``dataset_name`` (short name, selects the class range), and one of
* ``annotations``: per frame a list of dicts with ``id`` (constant over the video), ``category_id`` (from 1),
  ``segmentation`` (polygons, or COCO run-length code), optional ``iscrowd`` and ``expressions``; ``height``, ``width``;
* the same with ``panoptic_file_names``: L RGB PNGs, in which the pixel of an annotation is its ``segment_id`` (or
  ``id``) as R + 256 G + 65536 B;
* ``mask_file_names``: L palette PNGs (None: frame not annotated) whose pixel values are object ids, and ``objects``:
  dict by id with optional ``category_id``, ``categories``, ``expressions``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from univs.data.picture_store import PictureStore

from .palette_folders import VideoSequence

_UNKNOWN = 255
"""Palette value of ground that nobody labelled, in data sets that have it."""


@dataclass
class FrameObject:
    """One object in one frame: boolean ``mask`` [H, W], 1-based ``category_id`` (-1 unknown), sentences."""

    mask: np.ndarray
    category_id: int = -1
    expressions: tuple[str, ...] = ()
    categories: tuple[str, ...] = field(default=())


def sequence_record(sequence: VideoSequence, task: str, dataset_name: str) -> dict[str, Any]:
    """Record of a video with palette masks."""
    keys = set(sequence.categories) | set(sequence.expressions)
    return {
        "file_names": [str(path) for path in sequence.image_files],
        "mask_file_names": [None if path is None else str(path) for path in sequence.mask_files],
        "objects": {
            key: {
                "categories": sequence.categories.get(key, ()),
                "expressions": sequence.expressions.get(key, ()),
            }
            for key in sorted(keys)
        },
        "video_id": sequence.name,
        "task": task,
        "dataset_name": dataset_name,
    }


def frame_objects(record: Mapping[str, Any], index: int, store: PictureStore) -> dict[int, FrameObject]:
    """Objects of frame ``index`` by id, groups of things left out; an object without a pixel may be missing."""
    if "mask_file_names" in record:
        return _from_palette(record, index, store)
    annotations = [item for item in record["annotations"][index] if not item.get("iscrowd", 0)]
    if "panoptic_file_names" in record:
        return _from_panoptic(Path(record["panoptic_file_names"][index]), annotations, store)
    size = (record["height"], record["width"])
    return {item["id"]: _described(decode_segmentation(item["segmentation"], size), item) for item in annotations}


def decode_segmentation(segmentation: Any, size: tuple[int, int]) -> np.ndarray:
    """Boolean mask [H, W] of polygons (lists of x, y in turn) or of a run-length code, compressed or not.

    Polygons of fewer than three points enclose nothing and are left out.
    """
    if isinstance(segmentation, list):
        polygons = [polygon for polygon in segmentation if len(polygon) >= 6]
        if not polygons:
            return np.zeros(size, bool)
        code = coco_mask.merge(coco_mask.frPyObjects(polygons, *size))
    elif isinstance(segmentation["counts"], list):
        code = coco_mask.frPyObjects(segmentation, *size)
    else:
        code = segmentation
    return coco_mask.decode(code).astype(bool)


def _described(mask: np.ndarray, item: Mapping[str, Any]) -> FrameObject:
    return FrameObject(
        mask, item.get("category_id", -1), tuple(item.get("expressions", ())), tuple(item.get("categories", ()))
    )


def _from_palette(record: Mapping[str, Any], index: int, store: PictureStore) -> dict[int, FrameObject]:
    if record["mask_file_names"][index] is None:
        return {}
    values = store.mask(Path(record["mask_file_names"][index]))
    present = [int(value) for value in np.unique(values) if value not in (0, _UNKNOWN)]
    if not present and (values == _UNKNOWN).any():
        # Two-valued masks (0 and 255) say "the object" with the value that other data sets use for "unknown".
        return {1: _described(values == _UNKNOWN, record["objects"].get(1, {}))}
    return {value: _described(values == value, record["objects"].get(value, {})) for value in present}


def _from_panoptic(path: Path, annotations: list[dict], store: PictureStore) -> dict[int, FrameObject]:
    colours = store.image(path).astype(np.uint32)
    ids = colours[..., 0] + 256 * colours[..., 1] + 65536 * colours[..., 2]
    return {item["id"]: _described(ids == item.get("segment_id", item["id"]), item) for item in annotations}

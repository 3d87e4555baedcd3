"""From a sample's id map to Detectron2's Instances."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from detectron2.structures import BitMasks, Instances


def to_instances(sample: Mapping[str, Any], class_index: Mapping[str, int] | None = None) -> list[Instances]:
    """Detectron2 Instances of each of the T frames of a sample with ``id_map`` [T, H, W] and ``categories``.

    Every frame lists all n objects in the same order. Fields: ``gt_masks`` BitMasks [n, H, W]; ``gt_boxes`` (x0, y0,
    x1, y1) in pixels round the masks; ``gt_classes`` [n], the value of ``class_index`` for the first of the object's
    names that it knows, else -1; ``gt_ids`` [n], 0..n-1. An object that is absent from a frame has class and id -1 and
    an empty mask there.
    """
    id_map = sample["id_map"]
    numbers = torch.arange(1, len(sample["categories"]) + 1, dtype=id_map.dtype)
    classes = torch.tensor([_first_known(names, class_index or {}) for names in sample["categories"]], dtype=torch.long)
    return [frame_instances(ids == numbers[:, None, None], classes) for ids in id_map]


def frame_instances(masks: torch.Tensor, classes: torch.Tensor) -> Instances:
    """Instances of n objects in one frame: boolean ``masks`` [n, H, W], ``classes`` [n] int64.

    Fields as those of ``to_instances``; objects with an empty mask have class and id -1.
    """
    visible = masks.flatten(1).any(dim=1)
    instances = Instances(tuple(masks.shape[1:]))
    instances.gt_masks = BitMasks(masks)
    instances.gt_boxes = instances.gt_masks.get_bounding_boxes()
    instances.gt_classes = torch.where(visible, classes, -1)
    instances.gt_ids = torch.where(visible, torch.arange(len(masks)), -1)
    return instances


def _first_known(names: list[str], class_index: Mapping[str, int]) -> int:
    return next((class_index[name] for name in names if name in class_index), -1)

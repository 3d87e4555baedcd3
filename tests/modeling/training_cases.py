"""Training samples as the stored cases of targets and training forwards describe them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from detectron2.structures import BitMasks, Boxes, Instances

from tests import rule
from univs.config import get_config
from univs.modeling.settings import class_ranges

CONFIGS = Path(__file__).parents[2] / "configs"
CLASS_RANGES = class_ranges(get_config(CONFIGS / "_base" / "model.yaml"))


def case_samples(case) -> list[dict[str, Any]]:
    """The samples of a batch, as a training mapper makes them."""
    return [_sample(case, video, count) for video, count in enumerate(case.inputs["objects_per_video"])]


def _sample(case, video: int, count: int) -> dict[str, Any]:
    inputs, config = case.inputs, case.config
    frames = config.get("frames", config.get("frames_per_video"))
    tag = f"{case.tag}/video{video}"
    height, width = config["H"], config["W"]
    if "W - 8 b" in inputs["images"]:
        width -= 8 * video
    masks = rule.masks(tag, count, frames, height, width)
    for item, frame in (inputs.get("emptied_masks_video0") or []) if video == 0 else []:
        masks[item, frame] = False
    return {
        "image": list(torch.from_numpy(rule.image(tag, frames, height, width, count))),
        "instances": [_instances(case, tag, masks[:, frame]) for frame in range(frames)],
        "frame_indices": _frame_indices(inputs["frame_indices"], frames),
        "expressions": inputs.get("expressions") or [""] * count,
        "task": inputs["task"],
        "dataset_name": inputs["dataset"],
        "height": height,
        "width": width,
    }


def _instances(case, tag: str, masks) -> Instances:
    count, (height, width) = len(masks), masks.shape[1:]
    visible = torch.from_numpy(masks).flatten(1).any(1)
    classes = len(CLASS_RANGES.get(case.inputs["dataset"], ()))
    labels = torch.from_numpy(rule.labels(tag, count, classes)) if classes else torch.full((count,), -1)
    boxes = torch.from_numpy(rule.boxes(masks[:, None])[:, 0]) * torch.tensor([width, height, width, height])
    return Instances(
        (height, width),
        gt_masks=BitMasks(torch.from_numpy(masks)),
        gt_boxes=Boxes(boxes),
        gt_classes=torch.where(visible, labels, -1),
        gt_ids=torch.where(visible, torch.arange(count), -1),
    )


def _frame_indices(text: str, frames: int) -> list[int]:
    """Numbers of "5,8,11,.." continued."""
    first, second = (int(number) for number in text.split(",")[:2])
    return [first + (second - first) * frame for frame in range(frames)]

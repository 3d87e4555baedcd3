"""Predictions and targets as the stored cases of matcher and criterion describe them."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from tests import parity, rule
from univs.config import get_config
from univs.modeling.settings import class_ranges
from univs.structures import ClipPrediction, Targets

CONFIGS = Path(__file__).parents[3] / "configs"
CLASS_RANGES = class_ranges(get_config(CONFIGS / "_base" / "model.yaml"))


def num_classes(dataset: str) -> int:
    """Classes of a data set; 0 where it has no class list."""
    return len(CLASS_RANGES.get(dataset, ()))


def case_targets(case) -> list[Targets]:
    """Targets of every video of a case."""
    inputs = case.inputs
    return [_video_targets(case, video, count) for video, count in enumerate(inputs["objects_per_video"])]


def _video_targets(case, video: int, count: int) -> Targets:
    inputs, frames = case.inputs, case.config["T"]
    tag = f"{case.tag}/video{video}"
    masks = rule.masks(tag, count, frames, inputs["H"], inputs["W"])
    for place, item, frame in inputs["emptied_masks"]:
        if place == video:
            masks[item, frame] = False
    visible = torch.from_numpy(masks).flatten(2).any(-1)
    classes = num_classes(inputs["dataset"])
    target = Targets(
        labels=torch.from_numpy(rule.labels(tag, count, classes)) if classes else torch.full((count,), -1),
        ids=torch.where(visible, torch.arange(count)[:, None], -1),
        masks=torch.from_numpy(masks).float(),
        boxes=torch.from_numpy(rule.boxes(masks)),
        frame_indices=torch.arange(frames),
        task=inputs["task"],
        dataset_name=inputs["dataset"],
        prompt_kind=inputs["prompt_kind"],
        num_max_instances=max(inputs["objects_per_video"]),
    )
    target.prompt_obj_ids = torch.arange(target.num_max_instances) % count
    if "class_prompts" in inputs:
        _add_class_prompts(target)
    if "expression_prompts" in inputs:
        expressions = torch.arange(count) // 2
        target.ids = torch.where(visible, expressions[:, None], -1)
        target.prompt_obj_ids = expressions[target.prompt_obj_ids]
    return target.to(parity.DEVICE)


def _add_class_prompts(target: Targets) -> None:
    target.semantic_labels = target.labels.unique()
    target.semantic_masks = torch.stack([target.masks[target.labels == c].amax(0) for c in target.semantic_labels])
    ids = torch.arange(len(target.semantic_labels))
    target.prompt_obj_ids = F.pad(ids, (0, target.num_max_instances), value=-1)[: target.num_max_instances]


def case_prediction(case) -> ClipPrediction:
    """Decoder outputs of a case, the last layer with the earlier ones as its auxiliary predictions."""
    *earlier, last = [_layer(case, number) for number in range(case.config["layers"])]
    last.auxiliary = earlier
    return last


def _layer(case, number: int) -> ClipPrediction:
    config = case.config
    learnable = config.get("learnable_queries", config.get("queries"))
    queries = learnable + config.get("prompt_queries", 0)
    videos, frames = len(case.inputs["objects_per_video"]), config["T"]

    def tensor(name: str, *shape: int, scale: float = 1.0) -> Tensor:
        return parity.tensor(rule.tensor(case.tag, f"{name}{number}", (videos, queries, *shape), scale))

    rows = max(columns.stop for columns in CLASS_RANGES.values())
    embeddings = tensor("embds", frames, config["C"])
    return ClipPrediction(
        class_logits=tensor("logits", rows),
        mask_logits=tensor("masks", frames, config["h"], config["w"], scale=3.0),
        embeddings=F.layer_norm(embeddings, embeddings.shape[-1:]),
        num_learnable=learnable,
    )

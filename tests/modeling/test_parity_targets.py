"""Stored training targets."""

from __future__ import annotations

import pytest
import torch

from tests import parity, rule
from tests.modeling.training_cases import CLASS_RANGES, CONFIGS, case_samples
from univs.config import get_config
from univs.modeling.settings import target_settings
from univs.modeling.targets import TargetBuilder

# stored name -> ours
NAMES = {
    "labels": "labels",
    "ids": "ids",
    "masks": "masks",
    "boxes": "boxes",
    "frame_indices": "frame_indices",
    "sem_labels": "semantic_labels",
    "sem_masks": "semantic_masks",
    "prompt_obj_ids": "prompt_obj_ids",
    "prompt_gt_labels": "prompt_labels",
}


def _check_classes(case, prefix, target):
    """What the targets say about classes: those that occur, and the rows of the class table that are prompted."""
    case.check(prefix + "occur_sem_labels", target.labels[target.labels > 0].unique())
    name = prefix + "clip_cls_text_emb"
    if name in case.outputs:
        rows = CLASS_RANGES[target.dataset_name]
        labels = torch.arange(1, len(rows) + 1) if target.prompt_labels is None else target.prompt_labels
        size = max(columns.stop for columns in CLASS_RANGES.values())
        table = rule.weight(case.tag, "clip_cls_text_emb", (size, case.outputs[name]["shape"][1]))
        case.check(name, torch.from_numpy(table)[rows.start + labels - 1])


@pytest.mark.parametrize("case", parity.cases("prepare_targets_"))
def test_parity_targets(case):
    config = case.config
    options = ["MODEL.UNIVS.TARGETS.MAX_OBJECTS", config["max_num_masks"]]
    settings = target_settings(get_config(CONFIGS / "_base" / "model.yaml", options))
    step = config["size_divisibility"]
    size = tuple(-(-config[name] // step) * step for name in ("H", "W"))
    counts = {name: len(rows) for name, rows in CLASS_RANGES.items()}
    targets = TargetBuilder(settings, parity.RuleDraws(case), counts)(case_samples(case), size)
    compared = set()
    for video, target in enumerate(targets):
        prefix = f"video{video}_"
        for stored, own in NAMES.items():
            if prefix + stored in case.outputs:
                case.check(prefix + stored, getattr(target, own))
                compared.add(prefix + stored)
        _check_classes(case, prefix, target)
        compared |= {prefix + "occur_sem_labels", prefix + "clip_cls_text_emb"}
        assert target.prompt_kind == case.json["values"][prefix + "prompt_type"]
        assert target.num_max_instances == case.json["values"][prefix + "num_max_instances"]
    assert set(case.outputs) <= compared

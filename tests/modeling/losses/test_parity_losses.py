"""Stored values of matcher, criterion, inter-clip loss and loss weights."""

from __future__ import annotations

import re

import pytest
import torch.nn.functional as F

from tests import parity, rule
from tests.modeling.losses.case_inputs import CLASS_RANGES, CONFIGS, case_prediction, case_targets
from univs.config import get_config
from univs.modeling.losses.criterion import Criterion, CriterionSettings
from univs.modeling.losses.identity import Embeddings, InterClipIdentityLoss
from univs.modeling.losses.mask import PointSettings
from univs.modeling.losses.matcher import HungarianMatcher, MatcherSettings
from univs.modeling.losses.weights import term_of
from univs.modeling.settings import loss_weights


@pytest.mark.parametrize("case", parity.cases("matcher_"))
def test_parity_matcher(case):
    config = case.config
    weights = [config[f"cost_{name}"] for name in ("class", "mask", "dice")]
    matcher = HungarianMatcher(MatcherSettings(*weights, config["points"]), parity.RuleDraws(case))
    prediction, targets = case_prediction(case), case_targets(case)
    columns = [CLASS_RANGES.get(target.dataset_name) for target in targets]
    logits = [
        None if chosen is None else rows[:, chosen.start : chosen.stop]
        for rows, chosen in zip(prediction.class_logits, columns, strict=True)
    ]
    matches = matcher(logits, prediction.mask_logits, targets)
    for video, (target, match) in enumerate(zip(targets, matches, strict=True)):
        case.check(f"cost_{video}", matcher.cost(logits[video], prediction.mask_logits[video], target))
        case.check(f"query_{video}", match.queries)
        case.check(f"object_{video}", match.objects)


@pytest.mark.parametrize("case", parity.cases("criterion_"))
def test_parity_criterion(case):
    config = case.config
    settings = CriterionSettings(
        matcher=MatcherSettings(num_points=config["points"]),
        points=PointSettings(config["points"], config["oversample"], config["importance"]),
    )
    targets = case_targets(case)
    classes = [None if target.task == "grounding" else CLASS_RANGES.get(target.dataset_name) for target in targets]
    losses, _ = Criterion(settings, parity.RuleDraws(case))(case_prediction(case), targets, classes)
    case.check_losses(losses)


@pytest.mark.parametrize("case", parity.cases("interclip_reid"))
def test_parity_inter_clip(case):
    config = case.config
    loss = InterClipIdentityLoss(parity.RuleDraws(case))
    losses = {}
    for layer in range(1, config["layers"]):
        parts = [_inter_clip_part(case, layer, clip, part) for clip in range(config["clips"]) for part in range(2)]
        suffix = "" if layer == config["layers"] - 1 else f"_{layer}"
        contrast, auxiliary = loss(Embeddings.join(parts))
        losses |= {f"loss_reid_interclip{suffix}": contrast, f"loss_reid_interclip_aux{suffix}": auxiliary}
    case.check_losses(losses)


def _inter_clip_part(case, layer: int, clip: int, part: int) -> Embeddings:
    rows, channels = (int(number) for number in re.search(r"\((\d+),(\d+)\)", case.inputs["embeddings"]).groups())
    count = int(re.search(r"\*(\d+)\)", case.inputs["ids"]).group(1))
    values = parity.tensor(rule.tensor(case.tag, f"clip{clip}_l{layer}_p{part}", (rows, channels)))
    identities = parity.tensor(rule.uniform(f"{case.tag}/clip{clip}_p{part}", (rows,)) * count).floor().long()
    return Embeddings(F.layer_norm(values, (channels,)), identities)


@pytest.mark.parametrize("case", parity.cases("loss_weights"))
def test_parity_loss_weights(case):
    stored = case.json["weight_dict"]
    for name, entry in stored.items():
        backbone, stage = name.split("_")
        (base, changes), *_ = [*entry.items()] if list(entry)[0].startswith("differs") else [("", entry)]
        wanted = (stored[base.removeprefix("differs_from_")] if base else {}) | changes
        weights = loss_weights(get_config(CONFIGS / "train" / f"univs_{backbone}_{stage}.yaml")).by_term()
        wanted = {key: value for key, value in wanted.items() if "l2v_attn" not in key}  # a term that never occurs
        assert wanted
        assert {term_of(key) for key in wanted} == set(weights)
        assert all(weights[term_of(key)] == value for key, value in wanted.items()), name

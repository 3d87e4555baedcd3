"""Stored values of the mask decoder in training, with the prompts drawn for it."""

from __future__ import annotations

import pytest
import torch

from tests import parity, rule
from tests.modeling.decoder_cases import (
    CLASS_RANGES,
    blocked_pairs,
    case_decoder,
    case_features,
    check_prediction,
    check_prompt_queries,
    class_table,
)
from univs.layers.positions import video_time_code
from univs.modeling.decoder_layers import attention_pattern
from univs.modeling.prompt_encoder import PromptFrame, VisualPromptSettings, encode_masks
from univs.modeling.training_prompts import TrainingPrompts, TrainingPromptSettings, long_video_memory
from univs.structures import Targets


def _is_training(case):
    return case.name.startswith(("decoder_train", "decoder_tiny_train"))


def _targets(case) -> list[Targets]:
    return [_video_targets(case, video, count) for video, count in enumerate(case.inputs["objects_per_video"])]


def _video_targets(case, video: int, count: int) -> Targets:
    inputs, frames = case.inputs, case.config["T"]
    tag = f"{case.tag}/video{video}"
    masks = rule.masks(tag, count, frames, case.config["H"], case.config["W"])
    for place, item, frame in inputs["emptied_masks"]:
        if place == video:
            masks[item, frame] = False
    visible = torch.from_numpy(masks).flatten(2).any(-1)
    classes = CLASS_RANGES.get(inputs["dataset"], ())
    target = Targets(
        labels=torch.from_numpy(rule.labels(tag, count, len(classes))) if classes else torch.full((count,), -1),
        ids=torch.where(visible, torch.arange(count)[:, None], -1),
        masks=torch.from_numpy(masks).float(),
        boxes=torch.from_numpy(rule.boxes(masks)),
        frame_indices=torch.tensor(inputs.get("frame_indices", list(range(frames)))),
        task=inputs["task"],
        dataset_name=inputs["dataset"],
        prompt_kind=inputs["prompt_kind"],
        num_max_instances=max(inputs["objects_per_video"]),
    )
    if "class_prompts" in inputs:
        _add_class_prompts(target, len(classes))
    if "expression_prompts" in inputs:
        _add_expressions(case, target, tag)
    return target.to(parity.DEVICE)


def _add_class_prompts(target: Targets, classes: int) -> None:
    present = target.labels.unique()
    absent = [number for number in range(1, classes + 1) if number not in present]
    entries = target.num_max_instances
    target.semantic_labels = present
    target.semantic_masks = torch.stack([target.masks[target.labels == number].amax(0) for number in present])
    target.prompt_labels = torch.tensor([*present.tolist(), *absent])[:entries]
    target.prompt_obj_ids = torch.tensor([*range(len(present)), *[-1] * entries])[:entries]


def _add_expressions(case, target: Targets, tag: str) -> None:
    count, width = len(target.labels), case.config["text_dim"]
    order = torch.arange(target.num_max_instances) % count
    words = torch.from_numpy(rule.tensor(tag, "exp_words", (count, 77, 1, width), 0.5))
    sentences = torch.from_numpy(rule.tensor(tag, "exp_sentence", (count, 1, width), 0.5))
    target.expression_words, target.expression_sentences = words[order, :, 0], sentences[order, 0]
    target.prompt_obj_ids = (torch.arange(count) // 2)[order]


@torch.no_grad()
@pytest.mark.parametrize("case", parity.cases(_is_training))
def test_parity_training(case):
    config, decoder = case.config, case_decoder(case)
    targets = _targets(case)
    features = case_features(case, len(targets) * config["T"])
    settings = TrainingPromptSettings(published_feature_order=True)
    classes = CLASS_RANGES.get(case.inputs["dataset"], range(0))
    table = class_table(case)
    make_prompts = TrainingPrompts(decoder, settings, decoder.draws)
    prompts = make_prompts(features, targets, table[classes.start : classes.stop])
    with parity.sign_bits(case):
        prediction = decoder(features, prompts, videos=len(targets), class_embeddings=table, auxiliary=True)
    check_prompt_queries(case, decoder, decoder.prompt_queries(prompts, config["T"]))
    for video, target in enumerate(targets):
        case.check(f"prompt_obj_ids_{video}", target.prompt_obj_ids)
    check_prediction(case, prediction)
    if "self_attn_mask" in case.outputs:
        pattern = attention_pattern(config["self_attn_mask"], case.inputs["task"] == "grounding")
        learnable = prediction.num_learnable
        prompted = prediction.embeddings.shape[1] - learnable
        case.check("self_attn_mask", blocked_pairs(pattern, learnable, prompted, config["T"]))


@pytest.mark.parametrize("case", parity.cases("prompt_sampler_all_frames"))
def test_parity_long_video_memory(case):
    config, draws = case.config, parity.RuleDraws(case)
    target = _targets(case)[0]
    target.prompt_obj_ids = torch.arange(len(target.labels), device=parity.DEVICE)
    size = config["H"] // 8, config["W"] // 8
    shape = (size[0] * size[1], config["T"], config["hidden_dim"])
    cells, codes = (parity.tensor(rule.tensor(case.tag, name, shape)) for name in ("level_2", "pos_2"))

    def encode(masks, boxes, frame, frame_index):
        maps = [values[:, frame].t().unflatten(1, size) for values in (cells, codes)]
        time = video_time_code(parity.tensor([frame_index]), config["hidden_dim"])[0]
        settings = VisualPromptSettings(tokens=config["points_per_prompt"])
        return encode_masks(masks, boxes, PromptFrame(*maps, time), settings, draws)

    memory = long_video_memory(target, encode, draws)
    case.check("feats", memory.features.expand(-1, -1, config["T"], -1))
    case.check("pe", memory.positions.expand(-1, -1, config["T"], -1))

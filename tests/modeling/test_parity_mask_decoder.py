"""Stored values of the mask decoder: evaluation with text and without prompts."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

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
from univs.modeling.decoder_layers import attention_pattern
from univs.modeling.prompt_encoder import TextEncoder


def _is_evaluation(case):
    one_clip = case.name.startswith(("decoder_eval_", "decoder_tiny_eval_")) and "semantic" not in case.name
    return one_clip and case.inputs.get("task") != "sot"


def _prompts(case, decoder, features):
    """Text prompts of a case; None where it has none."""
    inputs = case.inputs
    if not case.config.get("prompts_as_queries", True) or inputs.get("prompts", "").startswith("none"):
        return None
    sources, text = decoder.sources(features).maps, decoder.prompt_encoder.text
    if inputs["task"] == "grounding":
        count, width = inputs["expressions"], case.config["text_dim"]
        words = parity.tensor(rule.tensor(case.tag, "exp_words", (count, 77, 1, width), 0.5))
        sentences = parity.tensor(rule.tensor(case.tag, "exp_sentence", (count, 1, width), 0.5))
        return text.expressions(words[:, :, 0], sentences[:, 0], sources)
    return text.categories(_category_embeddings(case), sources)


def _category_embeddings(case):
    rows = CLASS_RANGES[case.inputs["dataset"]]
    return class_table(case)[rows.start : rows.stop]


def _check_image_attention(case, text: TextEncoder, embeddings, sources, sizes):
    """Head-averaged attention of the text [K, D] to the frames, divided by its maximum over all cells."""
    layer, cells = text.image_attention.attention, torch.cat(sources, 1)
    tokens = text.project(embeddings).unsqueeze(0).expand(len(cells), -1, -1)
    _, weights = F.multi_head_attention_forward(
        *(x.transpose(0, 1) for x in (tokens, cells, cells)),
        embed_dim_to_check=tokens.shape[2],
        num_heads=layer.heads,
        in_proj_weight=layer.in_proj_weight,
        in_proj_bias=layer.in_proj_bias,
        bias_k=None,
        bias_v=None,
        add_zero_attn=False,
        dropout_p=0.0,
        out_proj_weight=layer.out_proj.weight,
        out_proj_bias=layer.out_proj.bias,
    )  # [T, K, cells]
    weights = (weights / weights.amax(-1, keepdim=True).clamp(min=1e-6)).transpose(0, 1)
    for level, part in enumerate(weights.split([h * w for h, w in sizes], -1)):
        case.check(f"lang2vision_weights_{level}", part.unflatten(2, sizes[level])[None])


@torch.no_grad()
@pytest.mark.parametrize("case", parity.cases(_is_evaluation))
def test_parity_evaluation(case):
    decoder = case_decoder(case)
    features = case_features(case, case.config["T"])
    prompts = _prompts(case, decoder, features)
    with parity.sign_bits(case):
        prediction = decoder(features, prompts, class_embeddings=class_table(case), auxiliary=True)
    check_prediction(case, prediction)
    if "prompt_query" in case.outputs:
        check_prompt_queries(case, decoder, decoder.prompt_queries(prompts, case.config["T"]))
    if "lang2vision_weights_0" in case.outputs:
        sources = decoder.sources(features)
        expressions = prompts.sentences is not None
        texts = prompts.sentences if expressions else _category_embeddings(case)
        _check_image_attention(case, decoder.prompt_encoder.text, texts, sources.maps, sources.sizes)
    if "self_attn_mask" in case.outputs:
        pattern = attention_pattern(case.config["self_attn_mask"], case.inputs["task"] == "grounding")
        queries = prediction.embeddings.shape[1]
        learnable = prediction.num_learnable
        case.check("self_attn_mask", blocked_pairs(pattern, learnable, queries - learnable, case.config["T"]))


@torch.no_grad()
@pytest.mark.parametrize("case", parity.cases("decoder_tiny_eval_semantic"))
def test_parity_semantic_extraction(case):
    decoder = case_decoder(case)
    features = case_features(case, case.config["T"])
    with parity.sign_bits(case):
        prediction = decoder(features, class_embeddings=class_table(case))
    case.check("embeddings", prediction.contents[0].permute(1, 2, 0))
    case.check("mask_features", features.mask_features)
    case.check("class_logits", prediction.class_logits)

"""Names of parameters: ours and those of the published checkpoints.

One table of pattern pairs, read from the top; the first pattern that matches a name gives its counterpart.
``{number}`` stands for digits, ``{rest}`` (or any other word) for one or more characters, dots included; both sides
of a pair hold the same placeholders. A name that no pattern matches is not part of the published state.
"""

from __future__ import annotations

import functools
import re

RULES: tuple[tuple[str, str], ...] = (
    # (ours, published): special names first, whole parts last
    ("backbone.{rest}", "backbone.{rest}"),
    ("pixel_decoder.level_embed", "sem_seg_head.pixel_decoder.transformer.level_embed"),
    ("pixel_decoder.layers.{rest}", "sem_seg_head.pixel_decoder.transformer.encoder.layers.{rest}"),
    ("pixel_decoder.lateral.1.{rest}", "sem_seg_head.pixel_decoder.adapter_1.norm.{rest}"),
    ("pixel_decoder.lateral.0.{rest}", "sem_seg_head.pixel_decoder.adapter_1.{rest}"),
    ("pixel_decoder.merge.1.{rest}", "sem_seg_head.pixel_decoder.layer_1.norm.{rest}"),
    ("pixel_decoder.merge.0.{rest}", "sem_seg_head.pixel_decoder.layer_1.{rest}"),
    ("pixel_decoder.{rest}", "sem_seg_head.pixel_decoder.{rest}"),
    (
        "mask_decoder.layers.{number}.prompt_attention.attention.{rest}",
        "sem_seg_head.predictor.transformer_prompt_self_attention_layers.{number}.multihead_attn.{rest}",
    ),
    (
        "mask_decoder.layers.{number}.prompt_attention.norm.{rest}",
        "sem_seg_head.predictor.transformer_prompt_self_attention_layers.{number}.norm.{rest}",
    ),
    (
        "mask_decoder.layers.{number}.image_attention.attention.{rest}",
        "sem_seg_head.predictor.transformer_cross_attention_layers.{number}.multihead_attn.{rest}",
    ),
    (
        "mask_decoder.layers.{number}.image_attention.norm.{rest}",
        "sem_seg_head.predictor.transformer_cross_attention_layers.{number}.norm.{rest}",
    ),
    (
        "mask_decoder.layers.{number}.query_attention.attention.{rest}",
        "sem_seg_head.predictor.transformer_self_attention_layers.{number}.self_attn.{rest}",
    ),
    (
        "mask_decoder.layers.{number}.query_attention.norm.{rest}",
        "sem_seg_head.predictor.transformer_self_attention_layers.{number}.norm.{rest}",
    ),
    (
        "mask_decoder.layers.{number}.feed_forward.{rest}",
        "sem_seg_head.predictor.transformer_ffn_layers.{number}.{rest}",
    ),
    ("mask_decoder.query_content.weight", "sem_seg_head.predictor.query_feat.weight"),
    ("mask_decoder.query_position.weight", "sem_seg_head.predictor.query_embed.weight"),
    ("mask_decoder.level_embedding.weight", "sem_seg_head.predictor.level_embed.weight"),
    ("mask_decoder.heads.norm.{rest}", "sem_seg_head.predictor.decoder_norm.{rest}"),
    ("mask_decoder.heads.mask_embedding.{rest}", "sem_seg_head.predictor.mask_embed.{rest}"),
    ("mask_decoder.heads.to_text.{rest}", "sem_seg_head.predictor.vis2text_projection.{rest}"),
    ("mask_decoder.heads.class_temperature.weight", "sem_seg_head.predictor.cls_temp.weight"),
    ("mask_decoder.heads.identity_temperature.weight", "sem_seg_head.predictor.reid_temp.weight"),
    ("mask_decoder.initial_queries.visual.weight", "sem_seg_head.predictor.prompt_sot.weight"),
    ("mask_decoder.initial_queries.category.weight", "sem_seg_head.predictor.prompt_detection.weight"),
    ("mask_decoder.initial_queries.expression.weight", "sem_seg_head.predictor.prompt_grounding.weight"),
    ("mask_decoder.prompt_encoder.text.norm.{rest}", "sem_seg_head.predictor.text_norm.{rest}"),
    ("mask_decoder.prompt_encoder.text.projection.{rest}", "sem_seg_head.predictor.text2vis_projection.{rest}"),
    (
        "mask_decoder.prompt_encoder.text.image_attention.attention.{rest}",
        "sem_seg_head.predictor.lang2vision_cross_attention_layer.multihead_attn.{rest}",
    ),
    (
        "mask_decoder.prompt_encoder.text.image_attention.norm.{rest}",
        "sem_seg_head.predictor.lang2vision_cross_attention_layer.norm.{rest}",
    ),
)

_PLACEHOLDER = re.compile(r"\{(\w+)\}")


def to_published(name: str) -> str:
    """Key of the published state that holds our parameter ``name``; KeyError if there is none."""
    return _translate(name, 0, 1)


def from_published(key: str) -> str:
    """Our parameter name of the key of a published state; KeyError if there is none."""
    return _translate(key, 1, 0)


def _translate(name: str, source: int, target: int) -> str:
    for rule in RULES:
        match = _compiled(rule[source]).fullmatch(name)
        if match:
            return rule[target].format(**match.groupdict())
    raise KeyError(f"no rule gives a counterpart for the parameter name '{name}'")


@functools.cache
def _compiled(pattern: str) -> re.Pattern[str]:
    """Regular expression of a pattern; a placeholder whose name starts with 'number' matches digits only."""
    pieces = _PLACEHOLDER.split(pattern)
    out = re.escape(pieces[0])
    for word, literal in zip(pieces[1::2], pieces[2::2], strict=True):
        out += f"(?P<{word}>{r'[0-9]+' if word.startswith('number') else '.+'})" + re.escape(literal)
    return re.compile(out)

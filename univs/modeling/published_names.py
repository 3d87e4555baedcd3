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
    ("mask_decoder.{rest}", "sem_seg_head.predictor.{rest}"),
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

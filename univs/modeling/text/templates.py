"""Sentences round a class name or an expression, and the cleaning of class names."""

from __future__ import annotations

import functools
import re

# the bare text comes first: word embeddings are read from it
BARE_TEMPLATE = "{}."
# place of "a photo of a {}." in CLIP's list; it comes second here
PLAIN_PHOTO = 39


@functools.cache
def templates() -> tuple[str, ...]:
    """The 81 templates, with "{}" for the text: the bare one and the 80 that CLIP uses for ImageNet."""
    from open_clip.zero_shot_metadata import OPENAI_IMAGENET_TEMPLATES

    photos = [template("{}") for template in OPENAI_IMAGENET_TEMPLATES]
    return (BARE_TEMPLATE, photos[PLAIN_PHOTO], *photos[:PLAIN_PHOTO], *photos[PLAIN_PHOTO + 1 :])


def expression_sentences(text: str) -> list[str]:
    """An expression, unchanged, in every template."""
    return [template.replace("{}", text) for template in templates()]


def class_sentences(name: str) -> list[str]:
    """A class name in every template, without "/" and "," and with a blank for "+"."""
    return expression_sentences(name.replace("/", "").replace(",", "").replace("+", " "))


def clean_class_name(name: str) -> str:
    """Class name as the text tower gets it: lower case, no digits, no punctuation, blanks for "_", "-" and "/"."""
    return re.sub(r"[_\-/]", " ", re.sub(r"[0-9.,'!?\"()*#:;]", "", name)).lower()

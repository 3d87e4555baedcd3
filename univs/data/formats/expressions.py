"""Sentences that name the objects of videos: a list of ``{sequence, source, object_id, expressions}``."""

from __future__ import annotations

import re
from pathlib import Path

from .json_files import complete_entries, read_json

_SIDES = {"left": "right", "right": "left"}


def read_expressions(path: Path) -> dict[str, dict[int, tuple[str, ...]]]:
    """Sentences by sequence name and object id; empty where the file does not exist (expressions are optional).

    Raises:
        UserError: the file is not as ``datasets/README.md`` describes it.
    """
    if not path.exists():
        return {}
    out: dict[str, dict[int, tuple[str, ...]]] = {}
    with complete_entries(path):
        for entry in read_json(path):
            out.setdefault(entry["sequence"], {})[int(entry["object_id"])] = tuple(entry["expressions"])
    return out


def mirror_words(sentence: str) -> str:
    """Swap the words left and right, as a horizontal flip of the picture does."""

    def swap(match: re.Match[str]) -> str:
        word = match.group(0)
        other = _SIDES[word.lower()]
        return other.capitalize() if word[0].isupper() else other

    return re.sub(r"\b(left|right)\b", swap, sentence, flags=re.IGNORECASE)

"""One form for what a user said about an object on a frame, whatever the order in which it was said.

At most one prompt of each visual kind: clicks become one sorted set, strokes too, masks unite, boxes become the box
round all of them; sentences are sorted. Saying a thing twice is saying it once.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable

import numpy as np

from univs.structures import BoxPrompt, MaskPrompt, PointPrompt, Prompt, ScribblePrompt, TextPrompt

VISUAL_KINDS = ("point", "box", "mask", "scribble")
KINDS = (*VISUAL_KINDS, "text")


def canonical(prompts: Iterable[Prompt]) -> tuple[Prompt, ...]:
    """The canonical form of all prompts of one object on one frame."""
    by_kind: dict[str, list[Prompt]] = {kind: [] for kind in KINDS}
    for prompt in prompts:
        by_kind[prompt.kind].append(prompt)
    out: list[Prompt] = []
    for kind, merge in _MERGE.items():
        if by_kind[kind]:
            out.extend(merge(by_kind[kind]))
    return tuple(out)


def to_plain(prompt: Prompt) -> dict:
    """A prompt as plain data for JSON."""
    if isinstance(prompt, PointPrompt):
        return {"kind": "point", "points": [list(p) for p in prompt.points], "labels": list(prompt.labels)}
    if isinstance(prompt, BoxPrompt):
        return {"kind": "box", "box": list(prompt.box)}
    if isinstance(prompt, MaskPrompt):
        return {"kind": "mask", "size": list(prompt.size), "counts": prompt.counts.decode("ascii")}
    if isinstance(prompt, ScribblePrompt):
        strokes = [[list(p) for p in stroke] for stroke in prompt.strokes]
        return {"kind": "scribble", "strokes": strokes, "labels": list(prompt.labels)}
    if isinstance(prompt, TextPrompt):
        return {"kind": "text", "text": prompt.text}
    raise TypeError(f"{type(prompt).__name__} does not belong to one object")


def from_plain(data: dict) -> Prompt:
    """The prompt of plain data; KeyError, TypeError or ValueError when the data are not a prompt."""
    kind = data["kind"]
    if kind == "point":
        return PointPrompt(_places(data["points"]), tuple(int(v) for v in data["labels"]))
    if kind == "box":
        x0, y0, x1, y1 = (float(v) for v in data["box"])
        return BoxPrompt((x0, y0, x1, y1))
    if kind == "mask":
        height, width = (int(v) for v in data["size"])
        return MaskPrompt((height, width), data["counts"].encode("ascii"))
    if kind == "scribble":
        return ScribblePrompt(tuple(_places(s) for s in data["strokes"]), tuple(int(v) for v in data["labels"]))
    if kind == "text":
        return TextPrompt(str(data["text"]))
    raise ValueError(f"unknown kind of prompt {kind!r}")


def digest(*parts: object) -> str:
    """A short name of plain data: equal data have equal names."""
    text = json.dumps(parts, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def _places(points: Iterable) -> tuple[tuple[float, float], ...]:
    return tuple((float(x), float(y)) for x, y in points)


def _one_point(prompts: list[PointPrompt]) -> list[Prompt]:
    pairs = {pair for prompt in prompts for pair in zip(prompt.points, prompt.labels, strict=True)}
    points, labels = zip(*sorted(pairs), strict=True)
    return [PointPrompt(points, labels)]


def _one_box(prompts: list[BoxPrompt]) -> list[Prompt]:
    x0, y0, x1, y1 = zip(*(prompt.box for prompt in prompts), strict=True)
    return [BoxPrompt((min(x0), min(y0), max(x1), max(y1)))]


def _one_mask(prompts: list[MaskPrompt]) -> list[Prompt]:
    if len(prompts) == 1:
        return [prompts[0]]
    return [MaskPrompt.from_array(np.any([prompt.to_array() for prompt in prompts], axis=0))]


def _one_scribble(prompts: list[ScribblePrompt]) -> list[Prompt]:
    pairs = {pair for prompt in prompts for pair in zip(prompt.strokes, prompt.labels, strict=True)}
    strokes, labels = zip(*sorted(pairs), strict=True)
    return [ScribblePrompt(strokes, labels)]


def _sorted_texts(prompts: list[TextPrompt]) -> list[Prompt]:
    return sorted(set(prompts), key=lambda prompt: prompt.text)


_MERGE = {
    "point": _one_point,
    "box": _one_box,
    "mask": _one_mask,
    "scribble": _one_scribble,
    "text": _sorted_texts,
}

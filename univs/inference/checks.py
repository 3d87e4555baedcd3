"""Users' input, checked where it comes in: what is wrong, where, and what to do about it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np

from univs.errors import UserError
from univs.structures import BoxPrompt, MaskPrompt, PointPrompt, ScribblePrompt, TextPrompt

MAX_OBJECT_ID = 65535
"""Ids are pixel values of the masks that are written."""

Point = Sequence[float]


def object_id(value: int) -> int:
    """A valid object id."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or not 1 <= value <= MAX_OBJECT_ID:
        raise UserError(f"Object id {value!r} is not possible; ids are whole numbers from 1 to {MAX_OBJECT_ID}.")
    return int(value)


def frame(value: int, length: int | None, position: int) -> int:
    """A valid frame number of a video with ``length`` frames, or of a stream whose next frame is ``position``."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 0:
        raise UserError(f"Frame {value!r} is not possible; frames are whole numbers from 0.")
    if length is not None and value >= length:
        raise UserError(f"There is no frame {value}: the video has {length} frames, 0 to {length - 1}.")
    if length is None and value > position:
        raise UserError(f"Frame {value} has not arrived yet; the next one of the stream is {position}.")
    return int(value)


def points(pairs: Iterable[Point], labels: Iterable[int] | None, size: tuple[int, int]) -> PointPrompt:
    """Clicks (x, y) within a frame of ``size`` (H, W), with labels 1 or 0 (all 1 when none are given)."""
    places = tuple(_inside(pair, size, "Click") for pair in pairs)
    if not places:
        raise UserError("There are no clicks; give at least one (x, y).")
    return PointPrompt(places, _labels(labels, len(places), "clicks"))


def box(corners: Sequence[float], size: tuple[int, int]) -> BoxPrompt:
    """A box (x0, y0, x1, y1), cut at the borders of a frame of ``size`` (H, W)."""
    if len(corners) != 4 or not all(_is_number(value) for value in corners):
        raise UserError(f"Box {tuple(corners)} is not possible; give four numbers x0, y0, x1, y1.")
    x0, y0, x1, y1 = (float(value) for value in corners)
    if x0 >= x1 or y0 >= y1:
        raise UserError(f"Box {_text(corners)} is empty; give x0, y0, x1, y1 with x0 < x1 and y0 < y1.")
    height, width = size
    if x0 >= width or y0 >= height or x1 <= 0 or y1 <= 0:
        raise UserError(f"Box {_text(corners)} lies outside the frame, which has {width}x{height} pixels.")
    return BoxPrompt((max(x0, 0.0), max(y0, 0.0), min(x1, float(width)), min(y1, float(height))))


def mask(pixels: np.ndarray, size: tuple[int, int]) -> MaskPrompt:
    """A mask of a frame of ``size`` (H, W): every value but 0 is the object."""
    pixels = np.asarray(pixels)
    if pixels.shape != size:
        raise UserError(
            f"The mask has the shape {list(pixels.shape)}, the video's frames are [{size[0]}, {size[1]}] "
            "(height, width); give a mask of the video's own size."
        )
    return MaskPrompt.from_array(pixels != 0)


def scribble(strokes: Iterable[Iterable[Point]], labels: Iterable[int] | None, size: tuple[int, int]) -> ScribblePrompt:
    """Strokes, each a row of (x, y) within a frame of ``size`` (H, W), with labels 1 or 0."""
    lines = tuple(tuple(_inside(pair, size, "Scribble point") for pair in stroke) for stroke in strokes)
    if not lines or not all(lines):
        raise UserError("A scribble needs at least one stroke, and every stroke at least one point (x, y).")
    return ScribblePrompt(lines, _labels(labels, len(lines), "strokes"))


def text(sentence: str) -> TextPrompt:
    """A sentence, with spaces at its ends removed."""
    sentence = " ".join(str(sentence).split())
    if not sentence:
        raise UserError("The text is empty; describe the object in a few words.")
    return TextPrompt(sentence)


def categories(names: Iterable[str]) -> tuple[str, ...]:
    """Category names, spaces at their ends removed, each once."""
    if isinstance(names, str):
        names = names.split(",")
    out = tuple(dict.fromkeys(" ".join(str(name).split()) for name in names))
    if not out or "" in out:
        raise UserError("There is an empty category name; give names such as person,dog.")
    return out


def _inside(pair: Point, size: tuple[int, int], what: str) -> tuple[float, float]:
    if len(pair) != 2 or not all(_is_number(value) for value in pair):
        raise UserError(f"{what} {tuple(pair)} is not possible; give x and y as numbers.")
    x, y = float(pair[0]), float(pair[1])
    height, width = size
    if not (0 <= x <= width and 0 <= y <= height):
        raise UserError(f"{what} {_text(pair)} lies outside the frame, which has {width}x{height} pixels.")
    return x, y


def _labels(labels: Iterable[int] | None, count: int, what: str) -> tuple[int, ...]:
    values = (1,) * count if labels is None else tuple(int(label) for label in labels)
    if len(values) != count or not set(values) <= {0, 1}:
        raise UserError(
            f"{count} {what} need {count} labels, each 1 (on the object) or 0 (not on it); there are {list(values)}."
        )
    return values


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float, np.integer, np.floating)) and math.isfinite(value)


def _text(numbers: Iterable[float]) -> str:
    return "(" + ", ".join(f"{float(value):g}" for value in numbers) + ")"

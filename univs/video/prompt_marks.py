"""Draw what the user said: clicks, boxes and scribbles."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from univs.structures import BoxPrompt, PointPrompt, Prompt, ScribblePrompt

POSITIVE = (40, 170, 60)
NEGATIVE = (215, 40, 40)
WHITE = (255, 255, 255)
DARK = (25, 25, 25)

SUBPIXEL_BITS = 4
"""OpenCV draws at 1/16 pixel when coordinates are given as whole numbers of that unit."""

Colour = tuple[int, int, int]


def draw_prompt(picture: np.ndarray, prompt: Prompt, colour: Colour, scale: float) -> None:
    """Draw a prompt into a picture [H, W, 3] uint8; kinds without a place (text, categories, masks) leave it alone.

    ``colour`` is the object's, ``scale`` the size of the picture (1 at 480x854).
    """
    draw = MARKS.get(prompt.kind)
    if draw:
        draw(picture, prompt, colour, scale)


def _draw_clicks(picture: np.ndarray, prompt: PointPrompt, colour: Colour, scale: float) -> None:
    radius = max(6 * scale, 1.5)
    line = _thickness(1.7 * scale)
    for point, label in zip(prompt.points, prompt.labels, strict=True):
        inside = POSITIVE if label else NEGATIVE
        for part, ink in ((radius * 1.6, colour), (radius * 1.33, WHITE), (radius, inside)):
            cv2.circle(picture, _fixed(point), _fixed_length(part), ink, -1, cv2.LINE_AA, SUBPIXEL_BITS)
        arm = radius * 0.6
        _draw_line(picture, [(point[0] - arm, point[1]), (point[0] + arm, point[1])], WHITE, line)
        if label:
            _draw_line(picture, [(point[0], point[1] - arm), (point[0], point[1] + arm)], WHITE, line)


def _draw_box(picture: np.ndarray, prompt: BoxPrompt, colour: Colour, scale: float) -> None:
    x0, y0, x1, y1 = prompt.box
    corners = [(x0, y0), (x1, y0), (x1, y1), (x0, y1), (x0, y0)]
    line = _thickness(2 * scale)
    if line > 1:
        _draw_line(picture, corners, DARK, line + 2)
    _draw_line(picture, corners, colour, line)


def _draw_scribble(picture: np.ndarray, prompt: ScribblePrompt, colour: Colour, scale: float) -> None:
    line = _thickness(3 * scale)
    for stroke, label in zip(prompt.strokes, prompt.labels, strict=True):
        points = list(stroke) if len(stroke) > 1 else [*stroke, *stroke]
        _draw_line(picture, points, WHITE if label else DARK, line + max(line // 2, 2))
        _draw_line(picture, points, colour if label else NEGATIVE, line)


def _draw_line(picture: np.ndarray, points: list[tuple[float, float]], colour: Colour, thickness: int) -> None:
    corners = np.array([_fixed(point) for point in points], np.int32)
    cv2.polylines(picture, [corners], False, colour, thickness, cv2.LINE_AA, SUBPIXEL_BITS)


def _thickness(width: float) -> int:
    return max(round(width), 1)


def _fixed(point: tuple[float, float]) -> tuple[int, int]:
    """Our coordinates put the centre of the first pixel at 0.5, OpenCV's at 0."""
    return _fixed_length(point[0] - 0.5), _fixed_length(point[1] - 0.5)


def _fixed_length(length: float) -> int:
    return round(length * (1 << SUBPIXEL_BITS))


MARKS: dict[str, Callable[[np.ndarray, Prompt, Colour, float], None]] = {
    PointPrompt.kind: _draw_clicks,
    BoxPrompt.kind: _draw_box,
    ScribblePrompt.kind: _draw_scribble,
}

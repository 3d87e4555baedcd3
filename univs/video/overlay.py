"""Results drawn over the picture: each object filled and outlined in its own colour, with a name plate."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from univs.structures import FrameResult, ObjectResult, Prompt
from univs.video.labels import LabelLayout
from univs.video.palette import object_colour
from univs.video.prompt_marks import draw_prompt

LONGEST_NAME, SHORT_NAME = 60, 24
"""Letters of a name on its plate, and where there is less room."""

REFERENCE_AREA = 480 * 854
"""Pixels of the picture for which line widths and letters are stated; they grow with its side."""

OUTLINE = ((0, 0), (60, 245), (190, 245), (235, 150))
"""(blurred mask, cover) from outside an object over its outline to its inside."""


@dataclass(frozen=True)
class OverlayStyle:
    """How results are drawn.

    opacity: of the filling, 0 (outline only) to 1. labels: whether objects carry name plates. scores: whether the
    plates say the score.
    """

    opacity: float = 0.45
    labels: bool = True
    scores: bool = True


def draw(
    frame: np.ndarray,
    result: FrameResult,
    prompts: Iterable[tuple[int, Prompt]] = (),
    style: OverlayStyle = OverlayStyle(),
) -> np.ndarray:
    """Draw the objects of a frame, and the prompts (object id, prompt) given on it, over a copy of the frame.

    Args:
        frame: [H, W, 3] uint8 RGB.
        result: masks [H, W] of the same size.

    Returns:
        [H, W, 3] uint8 RGB.
    """
    picture = frame.copy()
    scale = (frame.shape[0] * frame.shape[1] / REFERENCE_AREA) ** 0.5
    boxes = [_draw_mask(picture, item, style.opacity, scale) for item in result.objects]
    for object_id, prompt in prompts:
        draw_prompt(picture, prompt, object_colour(object_id), scale)
    if style.labels:
        layout = LabelLayout(picture, scale, [box for box in boxes if box[2]])
        for item, box in zip(result.objects, boxes, strict=True):
            if box[2]:
                layout.add(label_texts(item, style.scores), object_colour(item.object_id), box)
    return picture


def label_texts(item: ObjectResult, scores: bool = True) -> list[str]:
    """What a plate may say, from the longest to the shortest: id, name or category, score in percent."""
    name = item.name or item.category or ""
    parts = (_shortened(name, LONGEST_NAME), _shortened(name, SHORT_NAME), "")
    named = list(dict.fromkeys(f"{item.object_id} {part}".strip() for part in parts))
    return [*([f"{named[0]} {item.score:.0%}"] if scores else []), *named]


def _shortened(name: str, letters: int) -> str:
    words = " ".join(name.split())
    return words if len(words) <= letters else words[: letters - 1].rstrip() + "…"


def _draw_mask(picture: np.ndarray, item: ObjectResult, opacity: float, scale: float) -> tuple[int, int, int, int]:
    """Fill and outline one object; returns its bounding box (x, y, width, height), of no width when it is not there."""
    mask = np.ascontiguousarray(item.mask).view(np.uint8)
    x, y, width, height = box = cv2.boundingRect(mask)
    if not width:
        return box
    reach = max(round(1.4 * scale), 1)
    rows = slice(max(y - reach, 0), y + height + reach)
    columns = slice(max(x - reach, 0), x + width + reach)
    # A blurred mask runs from 0 outside to 255 inside; the outline lies between, smooth whatever its width.
    soft = cv2.blur(mask[rows, columns] * 255, (2 * reach + 1, 2 * reach + 1))
    cover = cv2.LUT(soft, _cover(opacity))
    layer = cv2.merge([cv2.convertScaleAbs(cover, alpha=channel / 255) for channel in object_colour(item.object_id)])
    below = cv2.multiply(picture[rows, columns], cv2.merge([cv2.bitwise_not(cover)] * 3), scale=1 / 255)
    picture[rows, columns] = cv2.add(below, layer)
    return box


@lru_cache(maxsize=8)
def _cover(opacity: float) -> np.ndarray:
    """Table [256] uint8 from the blurred mask to how much of the object's colour covers the picture there."""
    return np.interp(np.arange(256), *zip(*OUTLINE, (255, 255 * opacity), strict=True)).astype(np.uint8)

"""Prompts drawn from the geometry of masks: what a user would click, drag or paint.

Masks are boolean [H, W]. Coordinates are pixels of the picture, x to the right, y down; the centre of the top-left
pixel is (0.5, 0.5), and boxes (x0, y0, x1, y1) have exclusive right and bottom edges.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from univs.errors import UserError
from univs.structures import BoxPrompt, MaskPrompt, PointPrompt, Prompt, ScribblePrompt


@dataclass(frozen=True)
class PromptShares:
    """How often each kind of prompt is drawn, relative to the others. central: share of first clicks at the middle.

    box_noise: largest shift of each edge of a box, as a fraction of its side.
    """

    point: float = 0.25
    box: float = 0.25
    mask: float = 0.5
    scribble: float = 0.0
    central: float = 0.5
    box_noise: float = 0.1


def draw_prompt(rng: np.random.Generator, mask: np.ndarray, shares: PromptShares) -> Prompt:
    """One prompt for an object, its kind drawn by ``shares``.

    Raises:
        UserError: the mask [H, W] is empty, or all shares are zero.
    """
    kinds = ("point", "box", "mask", "scribble")
    weights = np.array([getattr(shares, kind) for kind in kinds], float)
    if not weights.sum() > 0:
        raise UserError("No kind of prompt has a share above 0; give at least one in the prompt settings.")
    kind = kinds[int(np.searchsorted(np.cumsum(weights) / weights.sum(), rng.random(), side="right"))]
    if kind == "point":
        return PointPrompt((first_click(rng, mask, shares.central),), (1,))
    if kind == "box":
        return BoxPrompt(jittered_box(rng, mask, shares.box_noise))
    if kind == "scribble":
        return ScribblePrompt((scribble(rng, mask),), (1,))
    return MaskPrompt.from_array(mask)


def first_click(rng: np.random.Generator, mask: np.ndarray, central: float = 0.5) -> tuple[float, float]:
    """A click (x, y) on the object: with probability ``central`` near its innermost point, else anywhere on it.

    Near: among the pixels whose distance to the outline is at least 0.8 of the largest one.

    Raises:
        UserError: the mask [H, W] is empty.
    """
    _refuse_empty(mask)
    if rng.random() < central:
        depth = _depth(mask)
        mask = depth >= 0.8 * depth.max()
    return _random_pixel(rng, mask)


def correction_click(
    rng: np.random.Generator,
    prediction: np.ndarray,
    target: np.ndarray,
    unknown: np.ndarray | None = None,
    central: float = 1.0,
) -> tuple[tuple[float, float], int] | None:
    """The click that a user makes next: on the largest error, label 1 if object is missing there, 0 if it is too much.

    ``prediction``, ``target`` and ``unknown`` (where neither counts): boolean [H, W]. The largest error is the
    connected piece of missing or of surplus pixels that has the most pixels; the click is at its innermost point with
    probability ``central``, else anywhere in it. Returns ((x, y), label), or None if there is no error.
    """
    counts = np.ones_like(target) if unknown is None else ~unknown
    pieces = [_largest_piece(wrong & counts) for wrong in (prediction & ~target, target & ~prediction)]
    sizes = [0 if piece is None else int(piece.sum()) for piece in pieces]
    label = int(sizes[1] >= sizes[0])
    piece = pieces[label]
    if piece is None:
        return None
    if rng.random() < central:
        # The picture's border is no outline: nobody avoids it.
        depth = cv2.distanceTransform(piece.view(np.uint8), cv2.DIST_L2, 5)
        piece = depth >= depth.max()
    return _random_pixel(rng, piece), label


def negative_click(
    rng: np.random.Generator, mask: np.ndarray, others: np.ndarray | None = None, reach: float = 0.25
) -> tuple[float, float] | None:
    """A click (x, y) beside the object: on another one (``others`` [H, W]) if there is any, else near its outline.

    ``reach``: how far from the outline, as a fraction of the longer side of the object's box. None if the object
    fills the picture.
    """
    beside = ~mask if others is None else others & ~mask
    if not beside.any():
        beside = ~mask
    if not beside.any():
        return None
    if others is None or not (others & ~mask).any():
        x0, y0, x1, y1 = tight_box(mask)
        distance = cv2.distanceTransform((~mask).view(np.uint8), cv2.DIST_L2, 5)
        near = beside & (distance <= max(3.0, reach * max(x1 - x0, y1 - y0))) & (distance > 1.5)
        beside = near if near.any() else beside
    return _random_pixel(rng, beside)


def tight_box(mask: np.ndarray) -> tuple[float, float, float, float]:
    """Box (x0, y0, x1, y1) round a mask [H, W].

    Raises:
        UserError: the mask is empty.
    """
    _refuse_empty(mask)
    x, y, width, height = cv2.boundingRect(mask.view(np.uint8))
    return float(x), float(y), float(x + width), float(y + height)


def jittered_box(rng: np.random.Generator, mask: np.ndarray, noise: float = 0.1) -> tuple[float, float, float, float]:
    """A box as a hand draws it: each edge of the tight one moved by up to ``noise`` of its side, inside the picture."""
    x0, y0, x1, y1 = tight_box(mask)
    width, height = x1 - x0, y1 - y0
    moves = rng.uniform(-noise, noise, 4) * (width, height, width, height)
    height_px, width_px = mask.shape
    left, top, right, bottom = np.array([x0, y0, x1, y1]) + moves
    left, right = np.clip([left, max(right, left + 1)], 0, width_px)
    top, bottom = np.clip([top, max(bottom, top + 1)], 0, height_px)
    return float(min(left, width_px - 1)), float(min(top, height_px - 1)), float(right), float(bottom)


def scribble(rng: np.random.Generator, mask: np.ndarray, points: int = 8) -> tuple[tuple[float, float], ...]:
    """A stroke along the object: a polyline of (x, y), each vertex on the object.

    The object is cut into slices across its longest axis (turned by a random angle); the stroke goes through the
    deep pixels of one run of slices. An object of a few pixels gives a stroke of one or two vertices.

    Raises:
        UserError: the mask [H, W] is empty.
    """
    _refuse_empty(mask)
    depth = _depth(mask)
    rows, columns = np.nonzero(mask)
    places = np.stack([columns, rows], axis=1) + 0.5
    along = (places - places.mean(axis=0)) @ _turned_axis(rng, places)
    edges = np.linspace(along.min(), along.max() + 1e-6, points + 1)
    start, stop = np.sort(rng.integers(0, points, 2))
    stroke = []
    for low, high in zip(edges[start : stop + 1], edges[start + 1 : stop + 2], strict=True):
        inside = np.flatnonzero((along >= low) & (along < high))
        if len(inside):
            depths = depth[rows[inside], columns[inside]]
            deep = inside[depths >= 0.7 * depths.max()]
            stroke.append(tuple(places[deep[rng.integers(len(deep))]].tolist()))
    return tuple(stroke) or (_random_pixel(rng, mask),)


def _turned_axis(rng: np.random.Generator, places: np.ndarray) -> np.ndarray:
    """Unit vector along the longest extent of points [N, 2], turned by some degrees."""
    _, _, axes = np.linalg.svd(np.cov(places.T) if len(places) > 1 else np.eye(2))
    angle = np.arctan2(axes[0, 1], axes[0, 0]) + rng.normal(0.0, 0.3)
    return np.array([np.cos(angle), np.sin(angle)])


def _depth(mask: np.ndarray) -> np.ndarray:
    """Distance of every pixel of a mask [H, W] to what is not the object; beyond the picture counts as not it."""
    padded = cv2.copyMakeBorder(mask.view(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    return cv2.distanceTransform(padded, cv2.DIST_L2, 5)[1:-1, 1:-1] * mask


def _largest_piece(mask: np.ndarray) -> np.ndarray | None:
    count, labels, statistics, _ = cv2.connectedComponentsWithStats(mask.view(np.uint8), connectivity=8)
    if count < 2:
        return None
    return labels == 1 + int(statistics[1:, cv2.CC_STAT_AREA].argmax())


def _random_pixel(rng: np.random.Generator, mask: np.ndarray) -> tuple[float, float]:
    places = np.flatnonzero(mask)
    row, column = divmod(int(places[rng.integers(len(places))]), mask.shape[1])
    return column + 0.5, row + 0.5


def _refuse_empty(mask: np.ndarray) -> None:
    if not mask.any():
        raise UserError("A prompt cannot be drawn from an empty mask; leave out objects that are not in the frame.")

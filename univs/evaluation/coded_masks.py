"""Single masks as COCO's run-length codes: a wrong one must not reach the C code that decodes masks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from pycocotools import mask as mask_codes

from univs.evaluation.benchmark import BrokenSequence
from univs.evaluation.metrics.run_lengths import MalformedCode, decoded_runs

FARTHEST = 1 << 20
"""Pixels from the corner of a picture to a point of a polygon."""


def checked_mask(code: Any) -> tuple[dict[str, Any], int]:
    """The compressed form of a compressed or listed run-length code, which is safe to decode, and its pixels.

    Raises:
        ValueError: it is malformed or does not fill its size; the message says how.
    """
    if not isinstance(code, Mapping) or not {"size", "counts"} <= set(code):
        raise ValueError("a mask has size and counts")
    size, counts = code["size"], code["counts"]
    whole = isinstance(size, list | tuple) and len(size) == 2 and all(type(side) is int and side > 0 for side in size)
    if not whole:
        raise ValueError(f"its size is {size!r}, not [height, width]")
    if isinstance(counts, list) and all(type(run) is int and run >= 0 for run in counts):
        if sum(counts) != size[0] * size[1]:
            raise ValueError(f"its runs cover {sum(counts)} pixels of {size[0] * size[1]}")
        return mask_codes.frPyObjects({**code}, *size), sum(counts[1::2])
    if not isinstance(counts, str):
        raise ValueError("its counts are neither text nor a list of runs")
    try:
        runs = decoded_runs([counts], np.array([size[0] * size[1]], np.int64))
    except (MalformedCode, OverflowError) as error:
        raise ValueError(str(error)) from error
    return {**code}, int(runs.areas[0])


def mask_area(code: Any) -> int:
    """Pixels of a mask from its compressed or listed run-length code.

    Raises:
        ValueError: it is malformed; the message says how.
    """
    return checked_mask(code)[1]


def check_code(code: Any, where: str) -> dict[str, Any]:
    """The compressed form of a run-length code, which is safe to decode.

    Raises:
        BrokenSequence: no such code, or one that does not fill its size; ``where`` names it.
    """
    try:
        return checked_mask(code)[0]
    except ValueError as error:
        raise BrokenSequence(
            f"{where} is no mask: {error}; expected a run-length mask with size and counts."
        ) from error


def check_outline(outline: Any, where: str) -> None:
    """See that something is a list of polygons, or a run-length code.

    Raises:
        BrokenSequence: it is neither; ``where`` names it.
    """
    if not isinstance(outline, list):
        check_code(outline, where)
    elif not outline or not all(map(_is_polygon, outline)):
        raise BrokenSequence(f"{where} is none; expected polygons [x, y, x, y, ...] or a run-length mask.")


def _is_polygon(points: Any) -> bool:
    if not isinstance(points, list) or len(points) < 6 or len(points) % 2:
        return False
    return all(isinstance(value, int | float) and abs(value) < FARTHEST for value in points)


def decoded_mask(code: Any, where: str) -> np.ndarray:
    """Mask [H, W] of a run-length code as COCO writes it: ``size`` and compressed or listed ``counts``.

    Raises:
        BrokenSequence: no such code, or one that does not fill its size; ``where`` names it.
    """
    return mask_codes.decode(check_code(code, where)).view(bool)

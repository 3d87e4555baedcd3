"""Where the cells of a mask grid lie in the video's frame, and how a part of the grid is enlarged.

A model says its masks on a grid of one cell per ``stride`` pixels of its own, resized and padded input. Only the part
of the grid that holds an object is enlarged; what comes out is what enlarging everything would give there.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class MaskGeometry:
    """A grid of (height, width) cells over a video of ``size`` (H, W); ``scale`` is grid cells per video pixel (y, x).

    The centre of video pixel x lies at grid coordinate (x + 0.5) * scale - 0.5, where whole numbers are cell centres.
    """

    grid: tuple[int, int]
    size: tuple[int, int]
    scale: tuple[float, float]

    @classmethod
    def of_network(
        cls, size: tuple[int, int], image_size: tuple[int, int], padded_size: tuple[int, int], stride: int
    ) -> MaskGeometry:
        """Geometry of a network that resizes frames of ``size`` to ``image_size`` and pads them at right and bottom."""
        grid = (padded_size[0] // stride, padded_size[1] // stride)
        scale = (image_size[0] / size[0] / stride, image_size[1] / size[1] / stride)
        return cls(grid, size, scale)

    def enlarge(self, values: np.ndarray, top: int = 0, left: int = 0) -> tuple[np.ndarray, int, int]:
        """Bilinear enlargement of the grid's part ``values`` [h, w], whose first cell is (top, left).

        Returns the values [h', w'] of all video pixels that need no cell outside the part, and the (y, x) of the first.
        """
        y0, rows, below = _neighbours(top, values.shape[0], self.grid[0], self.scale[0], self.size[0])
        x0, columns, beside = _neighbours(left, values.shape[1], self.grid[1], self.scale[1], self.size[1])
        wide = _blend(values, columns, beside, axis=1)
        return _blend(wide, rows, below[:, None], axis=0), y0, x0

    def shrink(self, mask: np.ndarray) -> np.ndarray:
        """Value [h, w] of the video pixel [H, W] nearest to each cell's centre; False (or 0) in the padding."""
        height, width = self.size
        rows = np.floor((np.arange(self.grid[0]) + 0.5) / self.scale[0]).astype(int)
        columns = np.floor((np.arange(self.grid[1]) + 0.5) / self.scale[1]).astype(int)
        inside_y, inside_x = rows[rows < height], columns[columns < width]
        out = np.zeros(self.grid, mask.dtype)
        out[: len(inside_y), : len(inside_x)] = mask[inside_y[:, None], inside_x]
        return out


def _neighbours(first: int, count: int, cells: int, scale: float, pixels: int) -> tuple[int, np.ndarray, np.ndarray]:
    """First video pixel of a row of cells; per pixel its lower cell (counted from ``first``) and the upper's weight."""
    last = first + count - 1
    start = 0 if first == 0 else max(0, math.ceil((first + 0.5) / scale - 0.5))
    stop = pixels if last == cells - 1 else min(pixels, math.floor((last + 0.5) / scale - 0.5) + 1)
    places = (np.arange(start, max(start, stop)) + 0.5) * scale - 0.5
    places = np.clip(places, first, last) - first
    lower = np.minimum(places.astype(np.int64), max(count - 2, 0))
    return start, lower, (places - lower).astype(np.float32)


def _blend(values: np.ndarray, lower: np.ndarray, weight: np.ndarray, axis: int) -> np.ndarray:
    """Linear interpolation along one axis between the entries ``lower`` and ``lower + 1``."""
    upper = np.minimum(lower + 1, values.shape[axis] - 1)
    low = np.take(values, lower, axis)
    high = np.take(values, upper, axis)
    high -= low
    high *= weight
    high += low
    return high

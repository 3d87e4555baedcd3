"""A second, closer look: prompts on a small object are answered again on a crop round the first answer.

At the network's own size a small object is a few cells. The crop shows it as large as the network sees large objects;
the answer is then put back into the frame's grid.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch
from torch import Tensor

from univs.structures import BoxPrompt, PointPrompt, Prompt, ScribblePrompt

ABSENT = -10.0  # logit outside the crop


@dataclass(frozen=True)
class Crop:
    """A part of a frame: pixels top..bottom, left..right (exclusive) of the video."""

    top: int
    left: int
    bottom: int
    right: int

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.bottom - self.top, self.right - self.left

    def pixels(self, frame: np.ndarray) -> np.ndarray:
        """The crop of a frame or mask [H, W, ...]."""
        return frame[self.top : self.bottom, self.left : self.right]


def crop_round(
    logits: Tensor, prompts: Sequence[Prompt], size: tuple[int, int], margin: float, largest: float
) -> Crop | None:
    """The crop round a first answer [h4, w4] and all that was prompted, in a frame of ``size`` (H, W).

    ``margin`` is added on every side, in sides of the object; the crop has the frame's own shape. None where there is
    no answer or the crop would be more than ``largest`` of the frame's width.
    """
    inside = (logits > 0).cpu().numpy()
    if not inside.any():
        return None
    scale = np.array([size[1] / inside.shape[1], size[0] / inside.shape[0]])
    rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
    corners = [np.array([columns[0], rows[0]]) * scale, np.array([columns[-1] + 1, rows[-1] + 1]) * scale]
    corners += [np.asarray(point, float) for point in _places(prompts)]
    low, high = np.min(corners, 0), np.max(corners, 0)
    spread = (high - low) * (1 + 2 * margin)
    share = max(spread[0] / size[1], spread[1] / size[0], 0.15)
    if share > largest:
        return None
    width, height = int(round(share * size[1])), int(round(share * size[0]))
    left, top = (low + high) / 2 - np.array([width, height]) / 2
    left = int(np.clip(round(left), 0, size[1] - width))
    top = int(np.clip(round(top), 0, size[0] - height))
    return Crop(top, left, top + height, left + width)


def _places(prompts: Sequence[Prompt]) -> list[tuple[float, float]]:
    out: list[tuple[float, float]] = []
    for prompt in prompts:
        if isinstance(prompt, PointPrompt):
            out += prompt.points
        elif isinstance(prompt, ScribblePrompt):
            out += [point for stroke in prompt.strokes for point in stroke]
        elif isinstance(prompt, BoxPrompt):
            out += [prompt.box[:2], prompt.box[2:]]
    return out


def moved(prompts: Sequence[Prompt], crop: Crop) -> list[Prompt]:
    """The prompts in the coordinates of the crop."""
    x, y = crop.left, crop.top
    out: list[Prompt] = []
    for prompt in prompts:
        if isinstance(prompt, PointPrompt):
            prompt = replace(prompt, points=tuple((px - x, py - y) for px, py in prompt.points))
        elif isinstance(prompt, ScribblePrompt):
            strokes = tuple(tuple((px - x, py - y) for px, py in stroke) for stroke in prompt.strokes)
            prompt = replace(prompt, strokes=strokes)
        elif isinstance(prompt, BoxPrompt):
            x0, y0, x1, y1 = prompt.box
            prompt = replace(prompt, box=(x0 - x, y0 - y, x1 - x, y1 - y))
        out.append(prompt)
    return out


def put_back(logits: Tensor, crop: Crop, size: tuple[int, int], grid: tuple[int, int]) -> Tensor:
    """Logits [h4', w4'] of a crop in the grid [h4, w4] of its frame of ``size`` (H, W)."""
    height, width = crop.size
    enlarged = cv2.resize(logits.float().cpu().numpy(), (width, height), interpolation=cv2.INTER_LINEAR)
    whole = np.full(size, ABSENT, np.float32)
    whole[crop.top : crop.bottom, crop.left : crop.right] = enlarged
    return torch.from_numpy(cv2.resize(whole, (grid[1], grid[0]), interpolation=cv2.INTER_AREA)).to(logits.device)

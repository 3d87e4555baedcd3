"""Cells of the prompt map that belong to a box or a mask, and the tokens sampled from them."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from univs.layers.draws import Draws
from univs.modeling.prompt_encoder.prompt_frame import PromptFrame


def tight_boxes(masks: Tensor) -> Tensor:
    """Boxes [K, 4] (x0, y0, x1, y1, exclusive ends) of masks [K, H, W] > 0.5, divided by (W, H, W, H); 0 if empty."""
    height, width = masks.shape[-2:]
    columns, rows = (masks > 0.5).any(1), (masks > 0.5).any(2)
    sides = [columns.int().argmax(1), rows.int().argmax(1)]
    sides += [width - columns.flip(1).int().argmax(1), height - rows.flip(1).int().argmax(1)]
    boxes = torch.stack(sides, 1) / masks.new_tensor([width, height, width, height], dtype=torch.float32)
    return boxes * rows.any(1, keepdim=True)


def grid_boxes(boxes: Tensor, height: int, width: int) -> Tensor:
    """Cells [K, height, width] of boxes [K, 4] in 0..1: (i, j) with floor(x0 w) < j <= ceil(x1 w), rows alike.

    The published models were trained with this rule, in which the first row and column never belong to a box.
    """
    scaled = boxes.float() * boxes.new_tensor([width, height, width, height], dtype=torch.float32)
    x0, y0, x1, y1 = scaled[:, :, None].unbind(1)
    column = torch.arange(width, device=boxes.device)
    row = torch.arange(height, device=boxes.device)
    across = (column > x0.floor()) & (column <= x1.ceil())
    down = (row > y0.floor()) & (row <= y1.ceil())
    return down[:, :, None] & across[:, None, :]


def grid_masks(masks: Tensor, height: int, width: int, independent: bool) -> tuple[Tensor, Tensor]:
    """Values [K, height, width] of masks [K, H, W] at the cells, and which cells belong to the object (bool).

    A cell has the value of its top left pixel and belongs if that is at least min(0.5, largest value of any object);
    for ``independent`` see VisualPromptSettings.
    """
    down, right = masks.shape[-2] // height, masks.shape[-1] // width
    cells = masks[:, ::down, ::right]
    top = cells.flatten(1).amax(1)
    if independent:
        touched = F.max_pool2d(masks.unsqueeze(1), (down, right))[:, 0]
        cells = torch.where((top == 0)[:, None, None], touched, cells)
        top = cells.flatten(1).amax(1)
    elif len(top):
        top = top.amax().expand_as(top)
    return cells, cells >= top.clamp(max=0.5)[:, None, None]


def region_tokens(
    frame: PromptFrame, region: Tensor, otherwise: tuple[Tensor, Tensor], tokens: int, draws: Draws, extremes: bool
) -> tuple[Tensor, Tensor]:
    """Features and position codes [K, R, C] of ``tokens`` cells of each region [K, h, w].

    Fewer cells are repeated in row-major order, of more a random choice is taken; with ``extremes`` its first four are
    the leftmost, top, rightmost and bottom cell. A region without cells gives R copies of ``otherwise`` (features,
    codes, both [K, C]).
    """
    cells = _choose_cells(region.flatten(1), tokens, draws)
    if extremes:
        enough = region.flatten(1).sum(1) >= tokens
        cells[:, :4] = torch.where(enough[:, None], _extreme_cells(region), cells[:, :4])
    empty = ~region.flatten(1).any(1)[:, None, None]
    maps = frame.source, frame.positions
    features, positions = (
        torch.where(empty, blank[:, None], values.flatten(1).t()[cells])
        for blank, values in zip(otherwise, maps, strict=True)
    )
    return features, positions


def _choose_cells(region: Tensor, tokens: int, draws: Draws) -> Tensor:
    """Numbers [K, tokens] of cells of each region [K, h * w]; 0 where it has none."""
    ranks = [_choose_ranks(count, tokens, draws) for count in region.sum(1).tolist()]
    wanted = torch.stack(ranks).to(region.device) if ranks else region.new_zeros((0, tokens), dtype=torch.int64)
    # the cell of rank r is the first at which r + 1 cells of the region have been seen
    seen = region.cumsum(1)
    return torch.searchsorted(seen, wanted + 1).clamp(max=region.shape[1] - 1)


def _choose_ranks(count: int, tokens: int, draws: Draws) -> Tensor:
    """Which of ``count`` cells become the tokens: all of them over and over, or a random choice, [tokens]."""
    if count < tokens:
        return torch.arange(tokens) % max(count, 1)
    return draws.permutation("dense_points", count)[:tokens]


def _extreme_cells(region: Tensor) -> Tensor:
    """Numbers [K, 4] of the uppermost cell of the first column, the first of the top row, the uppermost of the last
    column and the first of the bottom row of each region [K, h, w]."""
    height, width = region.shape[-2:]
    by_row = region.int()
    by_column = by_row.transpose(1, 2)
    left, top = by_column.flatten(1).argmax(1), by_row.flatten(1).argmax(1)
    right, bottom = by_column.flip(1).flatten(1).argmax(1), by_row.flip(1).flatten(1).argmax(1)
    return torch.stack(
        [
            left % height * width + left // height,
            top,
            right % height * width + width - 1 - right // height,
            (height - 1 - bottom // width) * width + bottom % width,
        ],
        dim=1,
    )

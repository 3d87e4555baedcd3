"""Sine codes of places and times.

For n features and temperature 10000: d_k = 10000 ** (2 * floor(k / 2) / n); the code of an angle p is sin(p / d_k) for
even k and cos(p / d_k) for odd k. A place is coded by its y and x (half of the features each), a time is added over
all features.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

TEMPERATURE = 10000.0
# frame indices are divided by this many frames to give one turn
FRAMES_PER_TURN = 128
EPS = 1e-6
TURN = 2.0 * math.pi


def sine_code(angles: Tensor, features: int) -> Tensor:
    """Interleaved sines and cosines of ``angles`` [...] -> [..., features], float32."""
    exponents = torch.arange(features, dtype=torch.float32, device=angles.device)
    wavelengths = TEMPERATURE ** (2.0 * torch.div(exponents, 2, rounding_mode="floor") / features)
    scaled = angles.float().unsqueeze(-1) / wavelengths
    return torch.stack([scaled[..., 0::2].sin(), scaled[..., 1::2].cos()], dim=-1).flatten(-2)


def grid_code(height: int, width: int, channels: int, device: torch.device | str = "cpu") -> Tensor:
    """Code of every cell of a map, [channels, height, width]: first the code of the row, then that of the column."""
    rows = sine_code(_cell_angles(height, device), channels // 2)
    columns = sine_code(_cell_angles(width, device), channels // 2)
    rows = rows.unsqueeze(1).expand(-1, width, -1)
    columns = columns.unsqueeze(0).expand(height, -1, -1)
    return torch.cat([rows, columns], dim=-1).permute(2, 0, 1)


def _cell_angles(cells: int, device: torch.device | str) -> Tensor:
    """(i + 1) / (cells + eps) of a turn for i = 0..cells-1."""
    return torch.arange(1, cells + 1, dtype=torch.float32, device=device) / (cells + EPS) * TURN


def clip_time_code(frames: int, channels: int, device: torch.device | str = "cpu") -> Tensor:
    """Code of the places in a clip ("FixedT"), [frames, channels]: the clip is one turn."""
    return sine_code(_cell_angles(frames, device), channels)


def video_time_code(frame_indices: Tensor, channels: int) -> Tensor:
    """Code of the frame numbers of the video ("ArbitraryT"), [T] -> [T, channels]."""
    return sine_code(frame_indices.float() / FRAMES_PER_TURN * TURN, channels)


def clip_code(height: int, width: int, time_code: Tensor) -> Tensor:
    """Code of every cell of every frame, [T, C, height, width], from the time codes [T, C]."""
    place = grid_code(height, width, time_code.shape[1], time_code.device)
    return place.unsqueeze(0) + time_code[:, :, None, None]


def point_code(points: Tensor, time_code: Tensor) -> Tensor:
    """Code of points [P, 2] in every frame, [T, P, C], from the time codes [T, C].

    Points are (x, y) in 0..1; unlike cells they are not moved by one and not scaled by eps.
    """
    half = time_code.shape[1] // 2
    angles = points.float() * TURN
    place = torch.cat([sine_code(angles[:, 1], half), sine_code(angles[:, 0], half)], dim=-1)
    return place.unsqueeze(0) + time_code.unsqueeze(1)

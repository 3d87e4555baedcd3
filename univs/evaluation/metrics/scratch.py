"""Memory that is used again: fresh pages for every frame cost more than what is computed in them."""

from __future__ import annotations

import threading

import numpy as np
from numpy.typing import DTypeLike

_kept = threading.local()


def scratch(purpose: str, size: int, dtype: DTypeLike = bool) -> np.ndarray:
    """An array [size] of unknown content, good until this thread asks for the same purpose again."""
    wanted = size * np.dtype(dtype).itemsize
    buffer = _kept.__dict__.get(purpose)
    if buffer is None or buffer.nbytes < wanted:
        buffer = _kept.__dict__[purpose] = np.empty(wanted, np.uint8)
    return buffer[:wanted].view(dtype)

"""Memory that is used again: fresh pages for every frame cost more than what is computed in them."""

from __future__ import annotations

import threading

import numpy as np
from numpy.typing import DTypeLike

KEPT = 16 << 20
"""Bytes; glibc takes no more than twice as much into account."""

_kept = threading.local()


def scratch(purpose: str, size: int, dtype: DTypeLike = bool) -> np.ndarray:
    """An array [size] of unknown content, good until this thread asks for the same purpose again."""
    wanted = size * np.dtype(dtype).itemsize
    buffer = _kept.__dict__.get(purpose)
    if buffer is None or buffer.nbytes < wanted:
        buffer = _kept.__dict__[purpose] = np.empty(wanted, np.uint8)
    return buffer[:wanted].view(dtype)


def keep_freed_memory() -> None:
    """Have freed arrays used again rather than given back to the system, which halves the time of what goes through
    pictures: glibc keeps what is smaller than the largest block that was ever freed. Elsewhere it changes nothing."""
    np.empty(KEPT, np.uint8)

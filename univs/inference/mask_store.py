"""Where results lie: an append-only file of compressed masks, and small tables that say which bytes belong to a frame.

The file is held in memory while it is small and moves to the disk by itself, so that memory does not grow with the
video; a table costs 16 bytes per frame and object.
"""

from __future__ import annotations

import tempfile
import threading
import weakref
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

IN_MEMORY_BYTES = 4 * 1024 * 1024
_ROW = np.dtype([("offset", "<i8"), ("length", "<i4"), ("score", "<f4")])
_UNSET = np.array((-1, 0, 0), _ROW)


class Entry(NamedTuple):
    """Where a stored mask lies in the file, and the score the model gave it."""

    offset: int
    length: int
    score: float


class MaskStore:
    """Bytes of masks, written once and read by place; ``close()`` or its end gives the file back to the system."""

    def __init__(self) -> None:
        self._file = tempfile.SpooledTemporaryFile(max_size=IN_MEMORY_BYTES)
        self.close = weakref.finalize(self, self._file.close)
        self._lock = threading.Lock()
        self.size = 0

    def write(self, code: bytes, score: float) -> Entry:
        """Keep the bytes of a mask; the score is rounded to what a table keeps."""
        with self._lock:
            self._file.seek(self.size)
            self._file.write(code)
            entry = Entry(self.size, len(code), float(np.float32(score)))
            self.size += len(code)
        return entry

    def read(self, entry: Entry) -> bytes:
        """The bytes of a mask."""
        with self._lock:
            self._file.seek(entry.offset)
            return self._file.read(entry.length)


class FrameTable:
    """Entries of consecutive frames from ``first`` on, filled in any order, growing as needed."""

    def __init__(self, first: int) -> None:
        self.first = first
        self._rows = np.full(0, _UNSET)

    def __len__(self) -> int:
        return int((self._rows["offset"] >= 0).sum())

    def put(self, frame: int, entry: Entry) -> None:
        """Set the entry of a frame."""
        place = frame - self.first
        if place >= len(self._rows):
            rows = np.full(max(64, 2 * len(self._rows), place + 1), _UNSET)
            rows[: len(self._rows)] = self._rows
            self._rows = rows
        self._rows[place] = entry

    def get(self, frame: int) -> Entry | None:
        """The entry of a frame, or None."""
        place = frame - self.first
        if not 0 <= place < len(self._rows) or self._rows["offset"][place] < 0:
            return None
        return Entry(*self._rows[place].item())

    def frames(self) -> np.ndarray:
        """Frames that have an entry, ascending."""
        return np.flatnonzero(self._rows["offset"] >= 0) + self.first

    def missing(self, low: int, high: int) -> np.ndarray:
        """Frames low..high (inclusive) without an entry, ascending."""
        wanted = np.ones(max(high - low + 1, 0), bool)
        skip = max(self.first - low, 0)
        have = self._rows["offset"][max(low - self.first, 0) : max(high - self.first + 1, 0)] >= 0
        wanted[skip : skip + len(have)] = ~have
        return np.flatnonzero(wanted) + low

    def moved(self, copy: Callable[[Entry], Entry]) -> FrameTable:
        """The same table with every entry passed through ``copy``."""
        out = FrameTable(self.first)
        for frame in self.frames().tolist():
            out.put(frame, copy(self.get(frame)))
        return out

    @property
    def bytes(self) -> int:
        """Memory the table takes."""
        return self._rows.nbytes

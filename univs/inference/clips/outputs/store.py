"""Arrays and run-length codes that wait for the end of the video, on disk once they are many."""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Iterator

import numpy as np
import torch
from pycocotools import mask as coco_mask
from torch import Tensor

from univs.inference.mask_store import Entry, MaskStore

FRAMES_PER_PIECE = 16
_SEPARATOR = b"\n"


class FrameArrays:
    """One array per frame, all of one shape and type, kept in order and read back one at a time."""

    def __init__(self, compressed: bool) -> None:
        """``compressed``: worth it for maps of few values, not for logits."""
        self._store = MaskStore()
        self._entries: list[Entry] = []
        self._shape: tuple[int, ...] = ()
        self._type = np.dtype(np.float32)
        self._compressed = compressed

    def __len__(self) -> int:
        return len(self._entries)

    def append(self, array: Tensor) -> None:
        """Keep the array of the next frame."""
        values = np.ascontiguousarray(array.cpu().numpy())
        self._shape, self._type = values.shape, values.dtype
        data = values.tobytes()
        self._entries.append(self._store.write(zlib.compress(data, 1) if self._compressed else data, 0.0))

    def __getitem__(self, number: int) -> Tensor:
        data = self._store.read(self._entries[number])
        data = bytearray(zlib.decompress(data) if self._compressed else data)
        return torch.from_numpy(np.frombuffer(data, self._type).reshape(self._shape))

    def __iter__(self) -> Iterator[Tensor]:
        return (self[number] for number in range(len(self)))


class MaskRuns:
    """COCO run-length codes of one object in pieces of consecutive frames; frames between them are blank."""

    def __init__(self, store: MaskStore) -> None:
        self._store = store
        self._pieces: list[tuple[int, Entry]] = []
        # codes that are not yet a piece, and the frame of the first of them
        self._codes: list[bytes] = []
        self._first_frame = 0

    def append(self, first_frame: int, masks: Tensor) -> None:
        """Keep the masks of the frames from ``first_frame`` on; bool [F, Ho, Wo]."""
        if first_frame != self._first_frame + len(self._codes):
            self._flush()
        if not self._codes:
            self._first_frame = first_frame
        self._codes += [_encode(mask) for mask in masks.cpu().numpy()]
        if len(self._codes) >= FRAMES_PER_PIECE:
            self._flush()

    def _flush(self) -> None:
        if self._codes:
            self._pieces.append((self._first_frame, self._store.write(_SEPARATOR.join(self._codes), 0.0)))
            self._codes = []

    def segmentations(self, frames: int, size: tuple[int, int]) -> Iterator[dict[str, object]]:
        """One run-length code per frame of the video, ``size`` (Ho, Wo); one piece is held at a time."""
        self._flush()
        blank, reached = _encode(np.zeros(size, bool)), 0
        for first, entry in [*self._pieces, (frames, None)]:
            codes = [] if entry is None else self._store.read(entry).split(_SEPARATOR)
            for counts in itertools.chain(itertools.repeat(blank, first - reached), codes):
                yield {"size": list(size), "counts": counts.decode()}
            reached = first + len(codes)


def _encode(mask: np.ndarray) -> bytes:
    return coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8))["counts"]

"""Arrays and run-length codes that wait for the end of the video, on disk once they are many."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

import numpy as np
import torch
from pycocotools import mask as coco_mask
from torch import Tensor

from univs.inference.mask_store import Entry, MaskStore

_SEPARATOR = b"\n"


class FrameArrays:
    """One array per frame, all of one shape and type, kept in order and read back one at a time."""

    def __init__(self) -> None:
        self._store = MaskStore()
        self._entries: list[Entry] = []
        self._shape: tuple[int, ...] = ()
        self._type = np.dtype(np.float32)

    def __len__(self) -> int:
        return len(self._entries)

    def append(self, array: Tensor) -> None:
        """Keep the array of the next frame."""
        values = np.ascontiguousarray(array.cpu().numpy())
        self._shape, self._type = values.shape, values.dtype
        self._entries.append(self._store.write(zlib.compress(values.tobytes(), 1), 0.0))

    def __getitem__(self, number: int) -> Tensor:
        data = bytearray(zlib.decompress(self._store.read(self._entries[number])))
        return torch.from_numpy(np.frombuffer(data, self._type).reshape(self._shape))

    def __iter__(self) -> Iterator[Tensor]:
        return (self[number] for number in range(len(self)))


class MaskRuns:
    """COCO run-length codes of one object in pieces of consecutive frames; frames between them are blank."""

    def __init__(self, store: MaskStore) -> None:
        self._store = store
        self._pieces: list[tuple[int, Entry]] = []

    def append(self, first_frame: int, masks: Tensor) -> None:
        """Keep the masks of the frames from ``first_frame`` on; bool [F, Ho, Wo]."""
        counts = [_encode(mask) for mask in masks.cpu().numpy()]
        self._pieces.append((first_frame, self._store.write(_SEPARATOR.join(counts), 0.0)))

    def segmentations(self, frames: int, size: tuple[int, int]) -> list[dict[str, object]]:
        """One run-length code per frame of the video, ``size`` (Ho, Wo)."""
        blank = _encode(np.zeros(size, bool)).decode()
        codes: list[dict[str, object]] = [{"size": list(size), "counts": blank} for _ in range(frames)]
        for first, entry in self._pieces:
            for number, counts in enumerate(self._store.read(entry).split(_SEPARATOR)):
                codes[first + number] = {"size": list(size), "counts": counts.decode()}
        return codes


def _encode(mask: np.ndarray) -> bytes:
    return coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8))["counts"]

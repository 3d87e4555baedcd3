"""Decoded pictures and masks kept in memory: small data sets are decoded once, then only warped."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from univs.errors import UserError


class PictureStore:
    """Decodes on first use and keeps the arrays (uint8) while they fit into ``limit_bytes``.

    The oldest used arrays leave first. Arrays are shared and must not be written to; they are marked read-only.
    """

    def __init__(self, limit_bytes: int = 4 << 30):
        self.limit_bytes = limit_bytes
        self._arrays: OrderedDict[Path, np.ndarray] = OrderedDict()
        self._bytes = 0

    def image(self, path: Path) -> np.ndarray:
        """RGB picture [H, W, 3] uint8.

        Raises:
            UserError: the file is missing or cannot be decoded.
        """
        return self._get(path, _decode_image)

    def mask(self, path: Path) -> np.ndarray:
        """Id map [H, W] uint8: the index values of a palette PNG, not its colours.

        Raises:
            UserError: the file is missing or cannot be decoded.
        """
        return self._get(path, _decode_mask)

    def preload(self, images: Iterable[Path], masks: Iterable[Path]) -> None:
        """Decode now. Loader workers that are forked afterwards share the arrays instead of decoding their own."""
        for path in images:
            self.image(path)
        for path in masks:
            self.mask(path)

    def _get(self, path: Path, decode: Callable[[Path], np.ndarray]) -> np.ndarray:
        if path in self._arrays:
            self._arrays.move_to_end(path)
            return self._arrays[path]
        array = decode(path)
        array.flags.writeable = False
        self._arrays[path] = array
        self._bytes += array.nbytes
        while self._bytes > self.limit_bytes and len(self._arrays) > 1:
            self._bytes -= self._arrays.popitem(last=False)[1].nbytes
        return array


def _decode_image(path: Path) -> np.ndarray:
    picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if picture is None:
        raise UserError(f"The picture {path} is missing or cannot be decoded; check the data set's folder.")
    return cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)


def _decode_mask(path: Path) -> np.ndarray:
    try:
        with Image.open(path) as picture:
            values = np.array(picture)
    except OSError as error:
        raise UserError(f"The mask {path} is missing or cannot be decoded ({error}); check the data set.") from None
    if values.ndim != 2 or values.max(initial=0) > 255:
        raise UserError(f"The mask {path} is not an 8-bit palette or grey PNG; save it with one value per object.")
    return values.astype(np.uint8)

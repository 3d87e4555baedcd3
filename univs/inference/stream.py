"""Frames that the program hands in one by one, as from its own camera loop."""

from __future__ import annotations

import numpy as np

from univs.errors import UserError
from univs.video.arrays import DEFAULT_RATE, REMEMBERED_FRAMES, checked
from univs.video.source import FrameCache, FrameReader, VideoSource


class PushedFrames(VideoSource):
    """A video of ``size`` (H, W) that grows with every pushed frame and remembers the last few."""

    seekable = False

    def __init__(self, size: tuple[int, int], rate: float = DEFAULT_RATE) -> None:
        super().__init__("The stream", size, rate, None)
        self._past = FrameCache(REMEMBERED_FRAMES)
        self._received = 0

    def push(self, pixels: np.ndarray) -> None:
        """Append a frame [H, W, 3] uint8 RGB; UserError when it is of another size."""
        self._past.put(self._received, checked(pixels, self._received, self.size))
        self._received += 1

    def receive(self, index: int) -> np.ndarray | None:
        """Frame ``index`` [H, W, 3]; None before it was pushed.

        Raises:
            UserError: the frame has passed and is not remembered any more.
        """
        if index >= self._received:
            return None
        frame = self._past.get(index)
        if frame is None:
            raise UserError(f"Frame {index} has passed: a stream remembers its last {REMEMBERED_FRAMES} frames only.")
        return frame

    def open_reader(self) -> FrameReader:
        """A view of the pushed frames."""
        return _PushedReader(self)


class _PushedReader(FrameReader):
    def __init__(self, source: PushedFrames) -> None:
        super().__init__()
        self._source = source

    def decode(self, index: int) -> np.ndarray:
        frame = self._source.receive(index)
        if frame is None:
            raise UserError(f"Frame {index} of the stream has not arrived yet; hand it to step() first.")
        return frame

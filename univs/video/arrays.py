"""Frames that are already in the program: arrays, and iterators that make them one after the other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from univs.errors import UserError
from univs.video.pixels import to_rgb
from univs.video.source import FrameCache, FrameReader, LostFrame, VideoSource

DEFAULT_RATE = 25.0
REMEMBERED_FRAMES = 8
"""How far back a stream's frames can still be asked for."""


def checked(pixels: np.ndarray, index: int, size: tuple[int, int] | None) -> np.ndarray:
    """The frame as RGB uint8 [H, W, 3].

    Raises:
        UserError: not a picture, or another (height, width) than the frames before it.
    """
    frame = to_rgb(pixels, f"Frame {index}")
    if size and frame.shape[:2] != size:
        raise UserError(
            f"Frame {index} has {frame.shape[1]}x{frame.shape[0]} pixels and those before it {size[1]}x{size[0]}; "
            "give frames of one size."
        )
    return frame


class ArraySource(VideoSource):
    """A sequence of arrays [H, W, 3] uint8 RGB, or one array [T, H, W, 3]."""

    def __init__(self, frames: Sequence[np.ndarray] | np.ndarray, rate: float = DEFAULT_RATE) -> None:
        if len(frames) == 0:
            raise UserError("The sequence of frames is empty; give at least one frame.")
        first = checked(frames[0], 0, None)
        super().__init__("The sequence of arrays", first.shape[:2], rate, len(frames))
        self._frames = frames

    def open_reader(self) -> FrameReader:
        """A reader of the arrays."""
        return ArrayReader(self._frames, self.size)


class ArrayReader(FrameReader):
    """Takes frames out of a sequence; there is nothing worth caching."""

    def __init__(self, frames: Sequence[np.ndarray] | np.ndarray, size: tuple[int, int]) -> None:
        super().__init__()
        self._frames = frames
        self._size = size

    def decode(self, index: int) -> np.ndarray:
        """Frame ``index`` as RGB uint8 [H, W, 3]."""
        return checked(self._frames[index], index, self._size)


class StreamSource(VideoSource):
    """Frames that come once, in order: any iterator of arrays [H, W, 3] uint8 RGB.

    ``frame`` reaches back over the last few frames only. All consumers share the one stream, and nothing is read ahead.
    """

    seekable = False

    def __init__(self, frames: Iterable[np.ndarray], label: str = "The stream", rate: float = DEFAULT_RATE) -> None:
        self._incoming = iter(frames)
        self._past = FrameCache(REMEMBERED_FRAMES)
        self._received = 0
        first = self._receive(None)
        if first is None:
            raise UserError(f"{label} ended before its first frame; give at least one frame.")
        super().__init__(label, first.shape[:2], rate, None)

    def open_reader(self) -> FrameReader:
        """A view of the one stream."""
        return StreamReader(self)

    def iterate(
        self, indices: Iterable[int] | None = None, background: bool = False, ahead: int = 0
    ) -> Iterator[tuple[int, np.ndarray | LostFrame]]:
        """Yield (index, frame [H, W, 3]) up to the end of the stream, or for the given increasing indices.

        Nothing is read in the background: a frame taken from a stream cannot be given back.
        """
        index = 0
        wanted = iter(indices) if indices is not None else None
        while wanted is None or (index := next(wanted, -1)) >= 0:
            frame = self.receive(index)
            if frame is None:
                return
            yield index, frame
            index += 1

    def receive(self, index: int) -> np.ndarray | None:
        """Frame ``index`` [H, W, 3], waiting for the stream to come to it; None when the stream ends before.

        Raises:
            UserError: the frame has passed.
        """
        while self._received <= index:
            if self._receive(self.size) is None:
                return None
        frame = self._past.get(index)
        if frame is None:
            raise UserError(
                f"Frame {index} of {self.label} has passed, and a stream cannot go back; give a file or a list."
            )
        return frame

    def _receive(self, size: tuple[int, int] | None) -> np.ndarray | None:
        pixels = next(self._incoming, None)
        if pixels is None:
            return None
        frame = checked(pixels, self._received, size)
        self._past.put(self._received, frame)
        self._received += 1
        return frame


class StreamReader(FrameReader):
    """Asks the stream for frames; the stream itself remembers the last ones."""

    def __init__(self, source: StreamSource) -> None:
        super().__init__()
        self._source = source

    def decode(self, index: int) -> np.ndarray:
        """Frame ``index`` as RGB uint8 [H, W, 3]."""
        frame = self._source.receive(index)
        if frame is None:
            raise UserError(f"There is no frame {index}: {self._source.label} ended before it.")
        return frame

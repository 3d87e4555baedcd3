"""What every video looks like to the rest of the library, wherever its frames come from."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from univs.errors import UserError
from univs.video.prefetch import in_background

CACHE_BYTES = 128 * 1024 * 1024
"""What a reader that goes backwards may keep of decoded frames."""

MAX_LOST_WARNINGS = 5
"""So many lost frames are announced one by one; a badly damaged file must not flood the terminal."""


class LostFrameError(UserError):
    """The frame exists in the video but cannot be decoded."""

    def __init__(self, index: int, message: str) -> None:
        super().__init__(message)
        self.index = index


class LostFrameWarning(UserWarning):
    """Said once for each of the first frames that were lost while iterating."""


@dataclass(frozen=True)
class LostFrame:
    """Stands in an iteration for a frame that cannot be decoded; nothing is ever repeated in its place."""

    index: int
    reason: str


class FrameCache:
    """The last ``capacity`` frames that were put in or asked for, by frame number."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self._frames: OrderedDict[int, np.ndarray] = OrderedDict()

    def get(self, index: int) -> np.ndarray | None:
        """The frame [H, W, 3], or None when it is not held."""
        if index in self._frames:
            self._frames.move_to_end(index)
        return self._frames.get(index)

    def __len__(self) -> int:
        return len(self._frames)

    def put(self, index: int, frame: np.ndarray) -> None:
        """Hold a frame [H, W, 3] and let go of the oldest ones above the capacity."""
        self._frames[index] = frame
        self._frames.move_to_end(index)
        while len(self._frames) > self.capacity:
            self._frames.popitem(last=False)


class FrameReader(ABC):
    """Decodes frames by number for one consumer; a source opens one per thread."""

    FORWARD_FRAMES = 4

    def __init__(self) -> None:
        self.cache = FrameCache(self.FORWARD_FRAMES)

    def read(self, index: int) -> np.ndarray:
        """Frame ``index`` as RGB uint8 [H, W, 3].

        Raises:
            LostFrameError: the frame cannot be decoded.
        """
        frame = self.cache.get(index)
        if frame is None:
            frame = self.decode(index)
            self.cache.put(index, frame)
        return frame

    @abstractmethod
    def decode(self, index: int) -> np.ndarray:
        """As ``read``, without looking into the cache."""

    def close(self) -> None:  # noqa: B027 (most readers hold nothing open)
        """Give back what the reader holds open."""


class VideoSource(ABC):
    """Frames of a video, decoded when they are asked for.

    Attributes:
        label: how messages call the video.
        size: (height, width) in pixels, as a person sees it: after rotation metadata.
        rate: frames per second on average.
        length: number of frames, or None when it cannot be known (an iterator, a camera).
        seekable: whether ``frame`` can go back as far as it likes.

    Frames are RGB uint8 [H, W, 3]. They may be shared with a cache: copy before writing into one.
    """

    seekable = True

    def __init__(self, label: str, size: tuple[int, int], rate: float, length: int | None) -> None:
        self.label = label
        self.size = size
        self.rate = rate
        self.length = length
        self._own_reader: FrameReader | None = None
        self._lost_announced = 0

    @abstractmethod
    def open_reader(self) -> FrameReader:
        """A new reader with a position and a cache of its own."""

    def __len__(self) -> int:
        if self.length is None:
            raise TypeError(f"{self.label} has no known length")
        return self.length

    def __bool__(self) -> bool:
        return True

    @property
    def times(self) -> np.ndarray | None:
        """Seconds of each frame after the first, [T] float64, or None while the length is unknown."""
        return None if self.length is None else np.arange(self.length) / self.rate

    def time(self, index: int) -> float:
        """Seconds of one frame after the first."""
        return index / self.rate

    @property
    def names(self) -> list[str] | None:
        """Name of each frame (``name``), or None while the length is unknown."""
        return None if self.length is None else [self.name(index) for index in range(self.length)]

    def name(self, index: int) -> str:
        """What the frame's files are called: its own file's stem, else its number with at least five digits."""
        return f"{index:05d}"

    def frame(self, index: int) -> np.ndarray:
        """Frame ``index`` (from 0) as RGB uint8 [H, W, 3]; frames in sequence cost one decoding step each.

        Raises:
            LostFrameError: the frame cannot be decoded.
            UserError: there is no such frame.
        """
        self._check_index(index)
        if self._own_reader is None:
            self._own_reader = self.open_reader()
        return self._own_reader.read(index)

    def __iter__(self) -> Iterator[np.ndarray | LostFrame]:
        for _, frame in self.iterate():
            yield frame

    def iterate(
        self, indices: Iterable[int] | None = None, background: bool = True, ahead: int = 3
    ) -> Iterator[tuple[int, np.ndarray | LostFrame]]:
        """Yield (index, frame [H, W, 3]) for all frames or the given ones, in any order, each decoded once.

        A frame that cannot be decoded is a ``LostFrame`` with a warning. With ``background`` a thread decodes up to
        ``ahead`` frames in advance.
        """
        pairs = self._pairs(range(len(self)) if indices is None else indices)
        for index, frame in in_background(pairs, ahead) if background else pairs:
            if isinstance(frame, LostFrame):
                self._announce(frame)
            yield index, frame

    def close(self) -> None:
        """Give back files and devices; the source can still be asked for frames afterwards where it can reopen them."""
        if self._own_reader is not None:
            self._own_reader.close()
            self._own_reader = None

    def __enter__(self) -> VideoSource:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _pairs(self, indices: Iterable[int]) -> Generator[tuple[int, np.ndarray | LostFrame], None, None]:
        reader = self.open_reader()
        try:
            for index in indices:
                self._check_index(index)
                yield index, _read_or_lose(reader, index)
        finally:
            reader.close()

    def _check_index(self, index: int) -> None:
        if index < 0 or (self.length is not None and index >= self.length):
            count = "" if self.length is None else f" has {self.length} frames, 0 to {self.length - 1}"
            raise UserError(f"There is no frame {index}: {self.label}{count or ' counts its frames from 0'}.")

    def _announce(self, lost: LostFrame) -> None:
        self._lost_announced += 1
        if self._lost_announced <= MAX_LOST_WARNINGS:
            last = self._lost_announced == MAX_LOST_WARNINGS
            more = " Further lost frames are not announced one by one." if last else ""
            warnings.warn(f"{lost.reason}{more}", LostFrameWarning, stacklevel=3)


def _read_or_lose(reader: FrameReader, index: int) -> np.ndarray | LostFrame:
    try:
        return reader.read(index)
    except LostFrameError as error:
        return LostFrame(index, str(error))

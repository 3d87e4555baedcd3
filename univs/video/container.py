"""Video files, through PyAV: exact frames by number, whatever the frame rate or the key frames do."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from pathlib import Path

import av
import cv2
import numpy as np
from av.container import InputContainer
from av.video.stream import VideoStream

from univs.errors import UserError
from univs.video.packet_index import PacketIndex, packets, scan_packets
from univs.video.pixels import check_size, over_black, turn
from univs.video.source import CACHE_BYTES, FrameReader, LostFrameError, LostFrameWarning, VideoSource

CONTAINERS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,mpegvideo,flv,ogg,gif,apng,asf,h264,hevc,m4v,mjpeg,ivf,dv,"
    "mxf,nut,yuv4mpegpipe,obu,av1"
)
"""Demuxers that may open a file. Playlists (HLS, DASH, concat) are left out: they make the program open other files."""

# titles in an unknown encoding must not keep a file from being read; from PyAV 19 on they never do
ANY_METADATA = {"metadata_errors": "replace"} if int(av.__version__.split(".")[0]) < 19 else {}

DEFAULT_RATE = 25.0
MAX_BACKWARD_FRAMES = 64
PROBED_FRAMES = 100
"""So many frames are tried at the start of a damaged file before it is given up."""

END = np.iinfo(np.int64).max


def open_container(path: Path) -> tuple[InputContainer, VideoStream]:
    """Open a file and its first real video stream.

    Raises:
        UserError: not a video, cut off before its table of contents, sound only, an unknown codec, an absurd size.
    """
    options = {"format_whitelist": CONTAINERS, "protocol_whitelist": "file"}
    try:
        container = av.open(f"file:{path}", container_options=options, **ANY_METADATA)
    except (av.error.FFmpegError, OSError) as error:
        raise UserError(
            f"{path} cannot be read as a video: it is damaged, cut off, or no video file ({error.strerror})."
        ) from error
    try:
        return container, _video_stream(container, path)
    except UserError:
        container.close()
        raise


def _video_stream(container: InputContainer, path: Path) -> VideoStream:
    cover = av.stream.Disposition.attached_pic
    stream = next((stream for stream in container.streams.video if not stream.disposition & cover), None)
    if stream is None:
        raise UserError(f"{path} has no video in it (sound only?); give a file with pictures.")
    if stream.codec_context is None:
        raise UserError(f"{path} is coded in a way that cannot be decoded here; convert it to H.264 MP4.")
    if stream.codec_context.width:
        check_size(stream.codec_context.height, stream.codec_context.width, str(path))
    # Frame threads would return other frames round a damaged packet from run to run.
    stream.thread_type = "SLICE"
    return stream


class ContainerSource(VideoSource):
    """A video file. Opening walks over the packets once; after that every frame is found by its number."""

    def __init__(self, path: Path) -> None:
        container, stream = open_container(path)
        with container:
            index = scan_packets(container, stream)
            rate = float(stream.average_rate or stream.guessed_rate or DEFAULT_RATE)
            declared = stream.frames if "mp4" in container.format.name else 0
        if index.pts is not None and not _times_match(path, index):
            index = index.without_times()
        length = _count_by_decoding(path, index) if index.pts is None else len(index.pts)
        if length == 0:
            raise UserError(f"{path} holds no frames that can be decoded; give another video.")
        if index.num_packets < declared:
            there = f"only {index.num_packets} of its {declared} frames are there"
            warnings.warn(f"{path} is cut off: {there}.", LostFrameWarning, stacklevel=3)
        super().__init__(str(path), _decoded_size(path, index, length), rate, length)
        self._path = path
        self._index = index
        self._times = np.arange(length) / rate if index.pts is None else index.seconds()

    @property
    def times(self) -> np.ndarray:
        """Seconds of each frame after the first, [T] float64, from the file's own time stamps."""
        return self._times

    def time(self, index: int) -> float:
        """Seconds of one frame after the first."""
        return float(self._times[index])

    def open_reader(self) -> FrameReader:
        """A new decoder on the file."""
        return ContainerReader(self._path, self._index, self.size)


def _times_match(path: Path, index: PacketIndex) -> bool:
    """Whether the first frames come out of the decoder at the times that the packets say."""
    reader = ContainerReader(path, index)
    numbers = [index.number(frame.pts) for frame in islice(reader.decoded(), 3)]
    reader.close()
    return None not in numbers and numbers == sorted(numbers)


def _count_by_decoding(path: Path, index: PacketIndex) -> int:
    reader = ContainerReader(path, index)
    count = sum(1 for _ in reader.decoded())
    reader.close()
    return count


def _decoded_size(path: Path, index: PacketIndex, length: int) -> tuple[int, int]:
    """Height and width of the first whole frame, after rotation."""
    reader = ContainerReader(path, index)
    try:
        for number in range(min(length, PROBED_FRAMES)):
            try:
                return reader.read(number).shape[:2]
            except LostFrameError:
                continue
    finally:
        reader.close()
    raise UserError(f"{path} is damaged: none of its first frames can be decoded; give another copy of it.")


class ContainerReader(FrameReader):
    """One decoder with a position. Going forward costs one decoding step per frame; a jump starts at a key frame.

    Going backwards, the frames between the key frame and the wanted one are kept, as far as CACHE_BYTES allow, since
    they are wanted next. Frames of another size than ``size`` (height, width) are scaled to it, as players do.
    """

    def __init__(self, path: Path, index: PacketIndex, size: tuple[int, int] | None = None) -> None:
        super().__init__()
        self._path = path
        self._index = index
        self._size = size
        self._lost: set[int] = set()
        self._last_asked = 0
        self._reopen()

    def decode(self, index: int) -> np.ndarray:
        """Frame ``index`` as RGB uint8 [H, W, 3].

        Raises:
            LostFrameError: the frame is damaged.
        """
        first_kept = self._first_kept(index)
        self._last_asked = index
        for start in self._starts(index):
            frame = self._decode_from(start, index, first_kept)
            if frame is not None:
                return frame
        self._lost.add(index)
        raise LostFrameError(
            index,
            f"Frame {index} of {self._path} is damaged and cannot be decoded; those after it may look damaged up to "
            "the next key frame.",
        )

    def close(self) -> None:
        """Close the file."""
        self._container.close()

    def decoded(self, ahead: Iterable[av.Packet] = ()) -> Iterator[av.VideoFrame]:
        """All sound frames from the present position on, after those of the packets ``ahead``; damage is skipped."""
        for packet in chain(ahead, packets(self._container, self._stream), [None]):
            try:
                frames = self._stream.decode(packet)
            except av.error.FFmpegError:
                continue
            yield from (frame for frame in frames if not frame.is_corrupt)

    def _numbered(self, ahead: Iterable[av.Packet] = ()) -> Iterator[tuple[int, av.VideoFrame]]:
        if self._index.pts is None:
            yield from enumerate(self.decoded())
            return
        for frame in self.decoded(ahead):
            number = self._index.number(frame.pts)
            if number is not None:
                yield number, frame

    def _first_kept(self, index: int) -> int:
        """First frame worth keeping on the way to ``index``: more than itself only while going backwards."""
        height, width = self._size or (1080, 1920)
        window = int(np.clip(CACHE_BYTES // (height * width * 3), 2, MAX_BACKWARD_FRAMES))
        backwards = self._last_asked - window <= index < self._last_asked
        self.cache.capacity = window if backwards else self.FORWARD_FRAMES
        return index - window + 1 if backwards else index

    def _starts(self, index: int) -> list[int | None]:
        """Where to begin decoding, in the order of trial: None is the present position, else a row of key frames."""
        if index in self._lost:
            return []
        key = self._index.key_before(index)
        if self._index.key_frame(key) <= self._next <= index:
            return [None]
        # Some streams are whole only from the key frame before the nearest one.
        return [key, key - 1] if key > 0 else [0]

    def _decode_from(self, start: int | None, index: int, first_kept: int) -> np.ndarray | None:
        if start is not None:
            first_kept = max(first_kept, self._seek(start))
        for number, frame in self._frames:
            self._next = number + 1
            if number >= first_kept:
                self.cache.put(number, self._pixels(frame, number))
            if number >= index:
                return self.cache.get(number) if number == index else None
        self._next = END
        return None

    def _pixels(self, frame: av.VideoFrame, number: int) -> np.ndarray:
        check_size(frame.height, frame.width, f"{self._path}, frame {number},")
        pixels = frame_to_rgb(frame)
        if self._size and pixels.shape[:2] != self._size:
            pixels = cv2.resize(pixels, self._size[::-1], interpolation=cv2.INTER_AREA)
        return pixels

    def _seek(self, key: int) -> int:
        """Go to a row of key frames; returns the number of the first frame that is whole from there on."""
        if key == 0:
            self._reopen()
            return 0
        for packet in self._landings(key):
            if (packet.pts if packet.dts is None else packet.dts) <= self._index.key_decoded[key]:
                self._frames = self._numbered([packet])
                self._next = self._index.key_frame(key)
                return self._next
        self._reopen()
        return 0

    def _landings(self, key: int) -> Iterator[av.Packet]:
        """Seek to a key frame and give the packet found there: by the time it is shown, then by that it is decoded.

        Containers differ in what they seek by; some land behind the key frame then.
        """
        for target in (self._index.pts[self._index.key_frame(key)], self._index.key_decoded[key]):
            try:
                self._container.seek(int(target), stream=self._stream)
            except av.error.FFmpegError:
                continue
            yield from islice(packets(self._container, self._stream), 1)

    def _reopen(self) -> None:
        if hasattr(self, "_container"):
            self._container.close()
        self._container, self._stream = open_container(self._path)
        self._frames = self._numbered()
        self._next = 0


def frame_to_rgb(frame: av.VideoFrame) -> np.ndarray:
    """A decoded frame as RGB uint8 [H, W, 3]: turned as its metadata asks, transparency over black."""
    has_alpha = frame.format.name == "pal8" or any(component.is_alpha for component in frame.format.components)
    pixels = frame.to_ndarray(format="rgba" if has_alpha else "rgb24")
    return turn(over_black(pixels) if has_alpha else pixels, 90 * round(frame.rotation / 90))

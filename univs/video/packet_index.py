"""Which frames a video file holds, found by walking over its packets without decoding them."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction

import av
import numpy as np
from av.container import InputContainer
from av.video.stream import VideoStream

REORDERED_WITHOUT_TIMES = {"h264", "hevc"}
"""Codecs whose frames change places and whose presentation times the AVI container cannot hold."""


BEFORE_ALL = np.iinfo(np.int64).min // 2


@dataclass(frozen=True)
class PacketIndex:
    """The frames of one stream in the order in which they are shown.

    pts: [T] int64 presentation time of each frame in units of ``time_base`` seconds, strictly increasing; None when the
        file has no trustworthy times, then frames are numbered by decoding from the start.
    key_frames: [K] int64 numbers of the frames at which decoding can begin.
    key_decoded: [K] int64 the times at which they are decoded; seeking must not land behind them.
    num_packets: packets in the file, those that are not to be shown, too.
    """

    pts: np.ndarray | None
    key_frames: np.ndarray
    key_decoded: np.ndarray
    time_base: Fraction
    num_packets: int

    def number(self, pts: int | None) -> int | None:
        """Number of the frame shown at ``pts``, or None when the index has no such frame."""
        if pts is None or self.pts is None:
            return None
        place = int(np.searchsorted(self.pts, pts))
        return place if place < len(self.pts) and self.pts[place] == pts else None

    def seconds(self) -> np.ndarray:
        """Seconds of each frame after the first, [T] float64."""
        return (self.pts - self.pts[0]) * float(self.time_base)

    def key_before(self, number: int) -> int:
        """Row of the last key frame at or before a frame; row 0 when there is none."""
        return max(int(np.searchsorted(self.key_frames, number, side="right")) - 1, 0)

    def key_frame(self, row: int) -> int:
        """Number of the frame of a row of key frames; 0, the start of the file, when there are none."""
        return int(self.key_frames[row]) if row < len(self.key_frames) else 0

    def without_times(self) -> PacketIndex:
        """The index to use when the times turn out not to name the frames."""
        none = np.zeros(0, np.int64)
        return replace(self, pts=None, key_frames=none, key_decoded=none)


def scan_packets(container: InputContainer, stream: VideoStream) -> PacketIndex:
    """Read all packets of a PyAV stream once (no decoding; 17 bytes of memory per frame)."""
    shown, decoded, keys = array("q"), array("q"), array("b")
    count, untimed, position = 0, 0, BEFORE_ALL
    for packet in packets(container, stream):
        count += 1
        position = position if packet.dts is None else packet.dts
        if packet.pts is None:
            untimed += 1
        elif not packet.is_discard:
            shown.append(packet.pts)
            decoded.append(position)
            keys.append(packet.is_keyframe)
    # A few packets lose their times where a file is damaged; where many have none, times cannot name the frames.
    trusted = untimed <= len(shown) // 20 and not (
        "avi" in container.format.name and stream.codec_context.name in REORDERED_WITHOUT_TIMES
    )
    order = np.argsort(shown, kind="stable")
    pts, key_frames = np.array(shown)[order], np.flatnonzero(np.array(keys)[order])
    index = PacketIndex(pts, key_frames, np.array(decoded)[order][key_frames], stream.time_base, count)
    return index if trusted and _times_increase(pts, np.array(decoded)) else index.without_times()


def packets(container: InputContainer, stream: VideoStream) -> Iterator[av.Packet]:
    """The packets of a stream that hold data; reading ends quietly where a damaged file can be read no further."""
    demuxed = container.demux(stream)
    while True:
        try:
            packet = next(demuxed, None)
        except av.error.FFmpegError:
            return
        if packet is None:
            return
        if packet.size:
            yield packet


def _times_increase(pts: np.ndarray, decoded: np.ndarray) -> bool:
    """False where times repeat or jump back, as in files glued together: such times cannot name frames."""
    return bool((np.diff(pts) > 0).all()) and bool((np.diff(decoded) >= 0).all())

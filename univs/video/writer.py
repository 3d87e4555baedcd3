"""Write videos that play in a browser, frame by frame, with the time of each frame."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Protocol

import cv2
import numpy as np

from univs.errors import UserError
from univs.video.files import file_errors, partial_path

CLOCK = 90000
"""Ticks per second in which times are kept: exact for all usual frame rates, 11 microseconds for any other."""

MAX_PLAYABLE_SIDE = 4096
"""Longest side that browsers decode as H.264 or VP9; larger frames are scaled down."""

BT709 = 1
"""The number of BT.709 in the H.264 tables of colour spaces, primaries and transfers."""


@dataclass(frozen=True)
class VideoFormat:
    """How a video is coded.

    codec: FFmpeg's name of the encoder. suffix: of the file. pixels: FFmpeg's pixel format. container: FFmpeg's name.
    channels: of the frames that are written, 3 (RGB) or 4 (RGBA). even: whether sides must be even.
    """

    codec: str
    suffix: str
    pixels: str
    container: str
    options: dict[str, str] = field(default_factory=dict)
    channels: int = 3
    even: bool = True


H264 = VideoFormat("libx264", ".mp4", "yuv420p", "mp4", {"preset": "veryfast", "crf": "20", "bf": "0"})
"""Without B-frames: they move decoding times, and a video of varying frame rate would end before its last frame."""

VP9 = VideoFormat(
    "libvpx-vp9", ".webm", "yuv420p", "webm", {"deadline": "realtime", "cpu-used": "8", "crf": "28", "b": "0"}
)
VP9_ALPHA = VideoFormat("libvpx-vp9", ".webm", "yuva420p", "webm", {**VP9.options, "auto-alt-ref": "0"}, channels=4)
PRORES_ALPHA = VideoFormat("prores_ks", ".mov", "yuva444p10le", "mov", {"profile": "4444"}, channels=4, even=False)
ANIMATED_PNG = VideoFormat("apng", ".png", "rgba", "apng", {}, channels=4, even=False)


class Encoder(Protocol):
    """Turns frames of one size into a file."""

    def write(self, frame: np.ndarray, tick: int) -> None:
        """Append a frame [H, W, C] uint8 that is shown from ``tick`` (1/CLOCK seconds) on."""

    def close(self) -> None:
        """Write what is left and close the file."""


def can_encode(codec: str) -> bool:
    """Whether PyAV is there with this encoder."""
    try:
        import av
    except ImportError:
        return False
    try:
        av.codec.Codec(codec, "w")
    except av.codec.codec.UnknownCodecError:
        return False
    return True


def playable_format() -> VideoFormat:
    """H.264 in MP4, or VP9 in WebM where there is no H.264 encoder: what browsers play."""
    return H264 if can_encode(H264.codec) else VP9


class PyAVEncoder:
    """Encodes with FFmpeg's libraries through PyAV."""

    def __init__(self, path: Path, video_format: VideoFormat, size: tuple[int, int], rate: float) -> None:
        import av

        self._format = video_format
        options = {"movflags": "+faststart"} if video_format.container == "mp4" else {}
        self._container = av.open(str(path), "w", format=video_format.container, options=options)
        self._stream = self._container.add_stream(
            video_format.codec, rate=Fraction(rate).limit_denominator(1001), options=video_format.options
        )
        self._stream.height, self._stream.width = size
        self._stream.pix_fmt = video_format.pixels
        self._stream.codec_context.time_base = Fraction(1, CLOCK)
        if video_format.channels == 4:
            self._stream.metadata["alpha_mode"] = "1"
        if video_format.pixels.startswith("yuv"):
            context = self._stream.codec_context
            context.colorspace = context.color_primaries = context.color_trc = BT709
            context.color_range = 1

    def write(self, frame: np.ndarray, tick: int) -> None:
        """Append a frame [H, W, 3] or [H, W, 4] uint8."""
        import av

        picture = av.VideoFrame.from_ndarray(frame, format="rgba" if frame.shape[2] == 4 else "rgb24")
        colours = {"dst_colorspace": BT709} if self._format.pixels.startswith("yuv") else {}
        picture = picture.reformat(format=self._format.pixels, **colours)
        picture.pts, picture.time_base = tick, Fraction(1, CLOCK)
        self._container.mux(self._stream.encode(picture))

    def close(self) -> None:
        """Flush the encoder and write the container's tables."""
        self._container.mux(self._stream.encode())
        self._container.close()


class OpenCVEncoder:
    """VP9 in WebM through OpenCV, for machines without PyAV. Frames are spaced evenly, whatever their times."""

    def __init__(self, path: Path, size: tuple[int, int], rate: float) -> None:
        self._video = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"VP90"), rate, (size[1], size[0]))
        if not self._video.isOpened():
            raise UserError(f"{path} cannot be written: this OpenCV has no VP9 encoder; install PyAV (pip install av).")

    def write(self, frame: np.ndarray, tick: int) -> None:
        """Append a frame [H, W, 3] uint8."""
        self._video.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))

    def close(self) -> None:
        """Close the file."""
        self._video.release()


class VideoWriter:
    """Writes a video; the file appears under its name when it is closed, whole.

    Leaving a ``with`` block closes it even after an error, so that what was finished can be watched; ``abort`` throws
    it away. Formats with halved colour need even sides: an odd side gets its last row or column of pixels twice.
    """

    def __init__(self, path: str | Path, rate: float = 25.0, video_format: VideoFormat | None = None) -> None:
        """Write to ``path`` with the format's own ending (see ``path``) at ``rate`` frames per second.

        Raises:
            UserError: no encoder for the format on this machine.
        """
        self.format = video_format or playable_format()
        if self.format is not VP9 and not can_encode(self.format.codec):
            raise UserError(f"This machine has no {self.format.codec} encoder; install PyAV (pip install av).")
        self.path = Path(path).with_suffix(self.format.suffix)
        self._partial = partial_path(self.path)
        self._rate = rate
        self._encoder: Encoder | None = None
        self._size = (0, 0)
        self._count = 0
        self._last_tick = -1

    def write(self, frame: np.ndarray, seconds: float | None = None) -> None:
        """Append a frame [H, W, 3] (or [H, W, 4] for formats with alpha) uint8, shown from ``seconds`` on.

        Without ``seconds`` frames follow each other at the writer's rate. All frames have the first one's size.

        Raises:
            UserError: the file cannot be written.
        """
        frame = fit(frame, self.format.even)
        if self._encoder is None:
            self._size = frame.shape[:2]
            with file_errors(self.path):
                self._encoder = self._open_encoder()
        if frame.shape[:2] != self._size:
            raise ValueError(f"a frame of {frame.shape[:2]} in a video of {self._size}")
        tick = round((self._count / self._rate if seconds is None else seconds) * CLOCK)
        self._last_tick = max(tick, self._last_tick + 1)
        with file_errors(self.path):
            self._encoder.write(frame, self._last_tick)
        self._count += 1

    def close(self) -> Path | None:
        """Finish the file and give it its name; returns its path, or None when no frame was written."""
        if self._encoder is None:
            return None
        encoder, self._encoder = self._encoder, None
        with file_errors(self.path):
            try:
                encoder.close()
                os.replace(self._partial, self.path)
            finally:
                self._partial.unlink(missing_ok=True)
        return self.path

    def abort(self) -> None:
        """Close and leave nothing behind."""
        if self._encoder is not None:
            encoder, self._encoder = self._encoder, None
            with suppress(OSError):
                encoder.close()
            self._partial.unlink(missing_ok=True)

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _open_encoder(self) -> Encoder:
        if can_encode(self.format.codec):
            return PyAVEncoder(self._partial, self.format, self._size, self._rate)
        return OpenCVEncoder(self._partial, self._size, self._rate)


def fit(frame: np.ndarray, even: bool = True) -> np.ndarray:
    """Scale a frame [H, W, C] down to MAX_PLAYABLE_SIDE if need be; repeat the last row or column of an odd side."""
    height, width = frame.shape[:2]
    if max(height, width) > MAX_PLAYABLE_SIDE:
        scale = MAX_PLAYABLE_SIDE / max(height, width)
        size = (max(round(width * scale), 1), max(round(height * scale), 1))
        frame = cv2.resize(frame, size, interpolation=cv2.INTER_AREA)
        height, width = frame.shape[:2]
    if even and (height % 2 or width % 2):
        frame = cv2.copyMakeBorder(frame, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)
    return np.ascontiguousarray(frame)

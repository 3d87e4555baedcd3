"""What OpenCV reads: cameras, and video files on machines where PyAV is missing."""

from __future__ import annotations

import time
from array import array
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from univs.errors import UserError
from univs.video.arrays import StreamSource
from univs.video.pixels import check_size
from univs.video.source import FrameReader, LostFrameError, VideoSource

DEFAULT_RATE = 25.0


def open_capture(path: Path) -> cv2.VideoCapture:
    """Open a video file with OpenCV, which turns frames as their metadata ask.

    Raises:
        UserError: OpenCV cannot read it.
    """
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    if not capture.isOpened():
        raise UserError(f"{path} cannot be read as a video: it is damaged, cut off, sound only, or no video file.")
    return capture


class OpenCVSource(VideoSource):
    """A video file. OpenCV does not say which frames are damaged; it ends where it can read no further."""

    def __init__(self, path: Path) -> None:
        capture = open_capture(path)
        times = array("d")
        while capture.grab():
            times.append(capture.get(cv2.CAP_PROP_POS_MSEC) / 1000)
        rate = capture.get(cv2.CAP_PROP_FPS)
        capture.release()
        if not times:
            raise UserError(f"{path} holds no frames that can be decoded; give another video.")
        super().__init__(str(path), _first_size(path), rate if 0 < rate < 1000 else DEFAULT_RATE, len(times))
        self._path = path
        seconds = np.array(times) - times[0]
        self._times = seconds if (np.diff(seconds) > 0).all() else np.arange(len(times)) / self.rate

    @property
    def times(self) -> np.ndarray:
        """Seconds of each frame after the first, [T] float64, from the file's own time stamps."""
        return self._times

    def time(self, index: int) -> float:
        """Seconds of one frame after the first."""
        return float(self._times[index])

    def open_reader(self) -> FrameReader:
        """A new decoder on the file."""
        return OpenCVReader(self._path)


def _first_size(path: Path) -> tuple[int, int]:
    capture = open_capture(path)
    found, frame = capture.read()
    capture.release()
    if not found:
        raise UserError(f"{path} is damaged: its first frame cannot be decoded; give another copy of it.")
    check_size(*frame.shape[:2], str(path))
    return frame.shape[:2]


class OpenCVReader(FrameReader):
    """Counts frames from the start, since OpenCV's own seeking misses frames when the frame rate varies."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        self._capture = open_capture(path)
        self._next = 0

    def decode(self, index: int) -> np.ndarray:
        """Frame ``index`` as RGB uint8 [H, W, 3]; going back means starting again."""
        if index < self._next:
            self._capture.release()
            self._capture = open_capture(self._path)
            self._next = 0
        while self._next < index and self._capture.grab():
            self._next += 1
        found, frame = self._capture.read()
        self._next += 1
        if not found:
            raise LostFrameError(index, f"Frame {index} of {self._path} is damaged and cannot be decoded.")
        return cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)

    def close(self) -> None:
        """Close the file."""
        self._capture.release()


def _quietly_opened(number: int) -> cv2.VideoCapture:
    """OpenCV prints pages when a camera is missing; our one sentence is enough."""
    level = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        return cv2.VideoCapture(number)
    finally:
        cv2.utils.logging.setLogLevel(level)


class CameraSource(StreamSource):
    """A camera of this machine; ``number`` counts from 0. Frames carry the time at which they arrived."""

    def __init__(self, number: int) -> None:
        self._capture = _quietly_opened(number)
        if not self._capture.isOpened():
            raise UserError(f"Camera {number} cannot be opened; is it connected, and not in use by another program?")
        rate = self._capture.get(cv2.CAP_PROP_FPS)
        self._arrivals = array("d")
        super().__init__(self._pictures(), f"Camera {number}", rate if 0 < rate < 1000 else DEFAULT_RATE)

    def time(self, index: int) -> float:
        """Seconds between the arrival of the first frame and of this one."""
        return self._arrivals[index] - self._arrivals[0]

    def close(self) -> None:
        """Release the camera; iterations end."""
        self._capture.release()

    def _pictures(self) -> Iterator[np.ndarray]:
        while True:
            found, frame = self._capture.read()
            if not found:
                return
            self._arrivals.append(time.monotonic())
            yield cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)

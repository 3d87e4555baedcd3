"""The front door: a model that opens videos."""

from __future__ import annotations

import glob
import os
import warnings
from pathlib import Path
from typing import Any

from univs.errors import SessionWarning, UserError
from univs.inference import session_file
from univs.inference.protocol import Segmenter
from univs.inference.session import VideoSession
from univs.inference.settings import SessionSettings
from univs.inference.stream import PushedFrames
from univs.video.arrays import DEFAULT_RATE
from univs.video.reader import open_video
from univs.video.source import VideoSource


class VideoPredictor:
    """A model that is ready; it may serve several sessions, one after the other or side by side."""

    def __init__(self, segmenter: Segmenter, settings: SessionSettings | None = None) -> None:
        self.segmenter = segmenter
        self.settings = settings or SessionSettings()

    @classmethod
    def from_pretrained(
        cls,
        model: str | os.PathLike | None = None,
        weights: str | os.PathLike | None = None,
        device: str = "auto",
        quality: str = "default",
        settings: SessionSettings | None = None,
        task: str = "any",
    ) -> VideoPredictor:
        """Load a model by name, or by the path of its config with ``weights``; without both, the embedded model.

        Args:
            weights: without ``model``, the config inside the file or the one that fits the file and ``task`` is taken.
            device: "auto", "cpu", "cuda", "cuda:1", "mps".
            quality: "default", or "high" for a larger picture inside the model (slower).

        Raises:
            UserError: no such model, weights that do not fit, no such device.
        """
        from univs.inference.loading import load_segmenter

        return cls(load_segmenter(model, weights, device, quality, task=task), settings)

    def open(self, source: Any, rate: float | None = None) -> VideoSession:
        """Begin a session on a video.

        Args:
            source: path of a video file, a folder of frames, a glob, a list of paths, arrays [H, W, 3] uint8 RGB, an
                iterator of arrays, a camera (number or "camera:0").
            rate: frames per second of pictures and arrays.

        Raises:
            UserError: there is no such video, or it cannot be read.
        """
        video = open_video(source, rate)
        return VideoSession(self.segmenter, video, self.settings, _origin(video))

    def open_stream(self, size: tuple[int, int], rate: float = DEFAULT_RATE) -> VideoSession:
        """Begin a session on frames of ``size`` (height, width) that are handed to ``step`` one by one."""
        return VideoSession(self.segmenter, PushedFrames(size, rate), self.settings)

    def load(self, path: str | os.PathLike, video: Any = None) -> VideoSession:
        """Go on with a saved session; ``video`` says where its video is when it is no longer where it was.

        Raises:
            UserError: not a session file, a damaged one, or the video is missing or another one.
        """
        path = Path(path)
        contents, fill = session_file.read(path)
        source = open_video(session_file.locate_video(contents, path) if video is None else video)
        session = VideoSession(self.segmenter, source, contents.settings, _origin(source))
        _check_video(session, contents, path)
        session.restore(contents, fill)
        if contents.model != self.segmenter.name:
            warnings.warn(
                f"{path} was made with the model {contents.model}; masks that are missing or out of date will be made "
                f"with {self.segmenter.name}.",
                SessionWarning,
                stacklevel=2,
            )
        return session


def _origin(source: VideoSource) -> str | None:
    """The path or glob that a source reads, None for frames that are in memory or come from a camera."""
    on_disk = os.path.exists(source.label) or (glob.has_magic(source.label) and bool(glob.glob(source.label)))
    return source.label if on_disk else None


def _check_video(session: VideoSession, contents: session_file.SessionContents, path: Path) -> None:
    noted = contents.video
    found = {"size": list(session.size), "length": session.length}
    if session.origin is not None and noted["fingerprint"] is not None:
        found["fingerprint"] = session_file.fingerprint(session.origin)
    different = [name for name, value in found.items() if noted.get(name) != value]
    if different:
        what = ", ".join(f"{name} {found[name]} instead of {noted.get(name)}" for name in different)
        raise UserError(f"This is not the video that {path} was made with: {what}; give the same video.")

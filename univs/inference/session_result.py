"""The finished frames of a session, and how they get into a result folder."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from univs import __version__
from univs.errors import SessionWarning, UserError
from univs.inference.timeline import Timeline, TrackedObject
from univs.structures import FrameResult, Prompt
from univs.video.result_json import ObjectMetadata
from univs.video.results import ResultOptions, ResultWriter
from univs.video.source import LostFrame, LostFrameError

if TYPE_CHECKING:
    from univs.inference.session import VideoSession


class SessionResult:
    """What a session knows so far; it follows the session."""

    def __init__(self, session: VideoSession) -> None:
        self._session = session

    def __iter__(self) -> Iterator[FrameResult]:
        """The finished frames, ascending."""
        for index in self._session.finished:
            yield self._session.frame(index)

    def __len__(self) -> int:
        return len(self._session.finished)

    def save(
        self,
        folder: str | Path,
        options: ResultOptions | None = None,
        on_frame: Callable[[int, int], None] | None = None,
    ) -> dict[str, Path]:
        """Write masks, overlay video and JSON of the finished frames into ``folder``; returns the paths written.

        on_frame: called after every frame with the number of frames written and to write.

        Raises:
            UserError: nothing is finished yet, or the folder cannot be written.
        """
        if not len(self):
            raise UserError("There is no result to save yet: propagate first.")
        self._warn_of_stale_frames()
        with ResultRecorder(self._session, folder, options) as recorder:
            for count, result in enumerate(self, 1):
                recorder.write(result)
                if on_frame is not None:
                    on_frame(count, len(self))
            return recorder.close()

    def _warn_of_stale_frames(self) -> None:
        stale = {object_id: len(self._session.stale_frames(object_id)) for object_id in self._session.objects}
        for object_id, count in stale.items():
            if count:
                message = (
                    f"Object {object_id} has {count} masks that are older than its prompts; propagate to renew them."
                )
                warnings.warn(message, SessionWarning, stacklevel=3)


class ResultRecorder:
    """Writes the frames of a session into a folder while they are finished, in any order.

    Leaving a ``with`` block closes it, after an error, too: what was finished is kept.
    """

    def __init__(self, session: VideoSession, folder: str | Path, options: ResultOptions | None = None) -> None:
        self._session = session
        self._writer = ResultWriter(folder, session.source, options or ResultOptions(), _settings(session))
        self._closed: dict[str, Path] | None = None
        self._described: dict[int, TrackedObject] | None = None

    def write(self, result: FrameResult) -> None:
        """Write one frame; a damaged one is noted and gets no picture."""
        timeline = self._session.timeline
        if timeline.objects is not self._described:
            self._described = timeline.objects
            self._writer.describe(object_metadata(timeline))
        try:
            frame = self._session.source.frame(result.index)
        except LostFrameError as error:
            self._writer.write_lost(LostFrame(result.index, str(error)))
            return
        self._writer.write(frame, result, prompts_at(timeline, result.index))

    def close(self, complete: bool = True) -> dict[str, Path]:
        """Finish all files; returns their paths by what they are."""
        if self._closed is None:
            self._closed = self._writer.close(object_metadata(self._session.timeline), complete)
        return self._closed

    def __enter__(self) -> ResultRecorder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close(complete=kind is None)


def object_metadata(timeline: Timeline) -> dict[int, ObjectMetadata]:
    """Names, categories and prompts (frame, prompt) of all objects, for results.json."""
    out = {}
    for object_id, item in timeline.objects.items():
        prompts = [(frame, prompt) for frame, each in item.user_frames.items() for prompt in each.prompts]
        prompts += [] if item.frames else [(0, sentence) for sentence in item.sentences]
        out[object_id] = ObjectMetadata(item.name, item.category, prompts)
    return out


def prompts_at(timeline: Timeline, index: int) -> list[tuple[int, Prompt]]:
    """The prompts (object id, prompt) given on a frame."""
    items = timeline.objects.values()
    found = [(item.object_id, item.user_frames[index]) for item in items if index in item.user_frames]
    return [(object_id, prompt) for object_id, user_frame in found for prompt in user_frame.prompts]


def _settings(session: VideoSession) -> dict[str, object]:
    return {"univs": __version__, "model": session.segmenter.name, "session": session.settings.plain()}

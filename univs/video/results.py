"""Write the results of a run into a folder while it goes on; docs/RESULTS_FORMAT.md describes the files."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from univs.errors import UserError
from univs.structures import FrameResult
from univs.video.files import file_errors
from univs.video.overlay import OverlayStyle
from univs.video.result_json import FORMAT, ObjectMetadata, ResultReport
from univs.video.result_pictures import (
    CUTOUT_FORMATS,
    PictureOutput,
    Prompts,
    cutout,
    mask_pictures,
    overlay_video,
    write_mattes,
)
from univs.video.result_store import ResultStore
from univs.video.source import LostFrame, VideoSource

STORE = ".results.sqlite"
FIRST_SNAPSHOT = 16
SNAPSHOT_GROWTH = 1.5
"""results.json is written anew whenever there are half as many frames again, which costs a run little in all."""

EARLIER_FILES = (
    *("overlay.mp4", "overlay.webm", "cutout.png", "cutout.mov", "cutout.webm", "tracks.json", ".*.part-*"),
    *("masks/*.png", "cutout/*.png", "mattes/*.mp4", "mattes/*.webm", "mattes/*/*.png"),
)
"""What an earlier run left in its own result folder, as patterns."""


@dataclass(frozen=True)
class ResultOptions:
    """Which files are written beside results.json.

    masks: masks/<frame>.png. overlay: overlay.mp4, drawn in ``style``. tracks: tracks.json, the objects as annotations.
    mattes: None, "png" or "video", one matte per object. cutout: None, "png", "apng", "prores" or "webm", the objects
    with transparency round them; ``cutout_ids`` chooses some of them.
    """

    masks: bool = True
    overlay: bool = True
    style: OverlayStyle = OverlayStyle()
    tracks: bool = False
    mattes: str | None = None
    cutout: str | None = None
    cutout_ids: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        _check_choice("mattes", self.mattes, ("png", "video"))
        _check_choice("cutout", self.cutout, ("png", *CUTOUT_FORMATS))


def _check_choice(option: str, value: str | None, choices: Sequence[str]) -> None:
    if value is not None and value not in choices:
        raise UserError(f"There are no {option} of the kind {value!r}; choose one of {', '.join(choices)}.")


OUTPUTS: dict[str, Callable[[Path, VideoSource, ResultOptions], PictureOutput]] = {
    "masks": lambda folder, source, options: mask_pictures(folder, source),
    "overlay": lambda folder, source, options: overlay_video(folder, source, options.style),
    "cutout": lambda folder, source, options: cutout(folder, source, options.cutout, options.cutout_ids),
}
"""What is made of every frame, by the option that asks for it."""


class ResultWriter:
    """Writes frames as they are finished; what was written is kept whatever happens later.

    Frames may come in any order and again: pictures are replaced, and videos that would be out of order are made at the
    end from the source. Leaving a ``with`` block closes the writer, after an error, too.
    """

    def __init__(
        self,
        folder: str | Path,
        source: VideoSource,
        options: ResultOptions = ResultOptions(),
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        """Begin results in ``folder``, which is created; the files of an earlier run in it go.

        Args:
            settings: the run's own settings, as JSON values; results.json repeats them.

        Raises:
            UserError: the folder cannot be written.
        """
        self.folder = Path(folder)
        self._source = source
        self._options = options
        self._settings = dict(settings or {})
        self._objects: dict[int, ObjectMetadata] = {}
        self._prompts: dict[int, Prompts] = {}
        with file_errors(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            remove_earlier_results(self.folder)
            self._store: ResultStore | None = ResultStore(self.folder / STORE, source.size)
        self._outputs = {name: self._open_output(name) for name in self._wanted_outputs()}
        self._last_index = -1
        self._written = 0
        self._next_snapshot = FIRST_SNAPSHOT

    def write(self, frame: np.ndarray, result: FrameResult, prompts: Prompts = ()) -> None:
        """Write one frame [H, W, 3] uint8 RGB with its result; ``prompts`` (object id, prompt) are drawn on it.

        Raises:
            UserError: a file cannot be written, or a stream's frame comes out of order.
        """
        self._check_size(frame, result)
        self._open_store.put(result)
        if prompts:
            self._prompts[result.index] = tuple(prompts)
        if result.index <= self._last_index:
            self._put_off_videos(result.index)
        self._last_index = result.index
        for output in self._outputs.values():
            output.write(frame, result, prompts)
        self._count()

    def write_lost(self, lost: LostFrame) -> None:
        """Note a frame that could not be decoded; it gets no mask and no picture."""
        self._open_store.put_lost(lost.index)
        self._count()

    def describe(self, objects: Mapping[int, ObjectMetadata]) -> None:
        """Say what the objects are called and which prompts made them; results.json repeats it."""
        self._objects = dict(objects)

    def close(self, objects: Mapping[int, ObjectMetadata] | None = None, complete: bool = True) -> dict[str, Path]:
        """Finish all files and return them by what they are: "results", "masks", "overlay", ...

        Args:
            objects: as for ``describe``.
            complete: False when the run was cut short.

        Raises:
            UserError: a file cannot be written.
        """
        if self._store is None:
            return {}
        if objects is not None:
            self.describe(objects)
        report = self._report(complete)
        try:
            report.write_results(self.folder / "results.json")
            return {"results": self.folder / "results.json", **self._finish(report)}
        except BaseException:
            for output in self._outputs.values():
                output.abort()
            raise
        finally:
            self._store.close()
            self._store = None

    def __enter__(self) -> ResultWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close(complete=kind is None)

    @property
    def _open_store(self) -> ResultStore:
        if self._store is None:
            raise ValueError("the result writer is closed")
        return self._store

    def _wanted_outputs(self) -> list[str]:
        return [name for name in OUTPUTS if getattr(self._options, name)]

    def _open_output(self, name: str) -> PictureOutput:
        return OUTPUTS[name](self.folder, self._source, self._options)

    def _check_size(self, frame: np.ndarray, result: FrameResult) -> None:
        sizes = {frame.shape[:2], *(item.mask.shape for item in result.objects)}
        if sizes != {self._source.size}:
            raise ValueError(f"frame and masks must have the video's size {self._source.size}, not {sorted(sizes)}")

    def _put_off_videos(self, index: int) -> None:
        """Videos need their frames in order: throw them away, to be made from source and store in the end."""
        videos = [name for name, output in self._outputs.items() if output.needs_order]
        if videos and not self._source.seekable:
            raise UserError(
                f"Frame {index} of {self._source.label} comes out of order; write a stream's frames in order."
            )
        for name in videos:
            self._outputs.pop(name).abort()

    def _count(self) -> None:
        self._written += 1
        if self._written >= self._next_snapshot:
            self._next_snapshot = int(self._written * SNAPSHOT_GROWTH)
            self._report(complete=False).write_results(self.folder / "results.json")

    def _report(self, complete: bool) -> ResultReport:
        return ResultReport(self._open_store, self._source, self._objects, self._settings, complete)

    def _finish(self, report: ResultReport) -> dict[str, Path]:
        self._make_late_videos()
        closed = {name: output.close() for name, output in self._outputs.items()}
        if self._options.mattes:
            as_video = self._options.mattes == "video"
            closed["mattes"] = write_mattes(self.folder, self._source, report.store, as_video)
        if self._options.tracks:
            closed["tracks"] = self.folder / "tracks.json"
            report.write_tracks(closed["tracks"])
        return {name: path for name, path in closed.items() if path is not None}

    def _make_late_videos(self) -> None:
        late = {name: self._open_output(name) for name in self._wanted_outputs() if name not in self._outputs}
        if not late:
            return
        self._outputs.update(late)
        for index, frame in self._source.iterate(self._open_store.frames()):
            if not isinstance(frame, LostFrame):
                result = self._open_store.result(index)
                for output in late.values():
                    output.write(frame, result, self._prompts.get(index, ()))


def remove_earlier_results(folder: Path) -> None:
    """Remove what an earlier run wrote into its result folder; a folder that is none is left alone.

    Only plain files go, and none through a link that leads out of the folder.
    """
    if not _is_result_folder(folder):
        return
    root = folder.resolve()
    for pattern in EARLIER_FILES:
        for path in folder.glob(pattern):
            if path.parent.resolve().is_relative_to(root) and (path.is_file() or path.is_symlink()):
                path.unlink()


def _is_result_folder(folder: Path) -> bool:
    try:
        with (folder / "results.json").open("rb") as file:
            return FORMAT.encode() in file.read(64)
    except OSError:
        return False

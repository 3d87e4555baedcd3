"""The picture files of a result folder: masks, overlay, mattes, cut-outs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from PIL import Image

from univs.structures import FrameResult, Prompt
from univs.video.files import safe_name, subfolder, written_whole
from univs.video.overlay import OverlayStyle, draw
from univs.video.palette import write_palette_mask
from univs.video.result_store import ResultStore
from univs.video.source import VideoSource
from univs.video.writer import ANIMATED_PNG, PRORES_ALPHA, VP9_ALPHA, VideoFormat, VideoWriter

CUTOUT_FORMATS = {"apng": ANIMATED_PNG, "prores": PRORES_ALPHA, "webm": VP9_ALPHA}

Prompts = Sequence[tuple[int, Prompt]]
Render = Callable[[np.ndarray, FrameResult, Prompts], np.ndarray]
"""Makes a picture [H, W, 3] or [H, W, 4] of a frame [H, W, 3], its result and the prompts given on it."""


class PictureOutput(Protocol):
    """Something that is made of every frame with its result."""

    needs_order: bool

    def write(self, frame: np.ndarray, result: FrameResult, prompts: Prompts) -> None:
        """Take a frame [H, W, 3]."""

    def close(self) -> Path | None:
        """Finish; returns what was written, a file or a folder."""

    def abort(self) -> None:
        """Throw away what is not finished."""


class PictureFolder:
    """One PNG per frame."""

    needs_order = False

    def __init__(
        self, folder: Path, source: VideoSource, save: Callable[[Path, np.ndarray, FrameResult], None]
    ) -> None:
        self._folder = folder
        self._source = source
        self._save = save

    def write(self, frame: np.ndarray, result: FrameResult, prompts: Prompts) -> None:
        """Write the PNG of a frame."""
        self._save(self._folder / f"{safe_name(self._source.name(result.index))}.png", frame, result)

    def close(self) -> Path:
        """Nothing is open."""
        return self._folder

    def abort(self) -> None:
        """Every picture is whole already."""


class RenderedVideo:
    """One video; frames must come in order."""

    needs_order = True

    def __init__(
        self, path: Path, source: VideoSource, render: Render, video_format: VideoFormat | None = None
    ) -> None:
        self._writer = VideoWriter(path, source.rate, video_format)
        self._source = source
        self._render = render

    def write(self, frame: np.ndarray, result: FrameResult, prompts: Prompts) -> None:
        """Append a frame at its own time."""
        self._writer.write(self._render(frame, result, prompts), self._source.time(result.index))

    def close(self) -> Path | None:
        """Finish the video."""
        return self._writer.close()

    def abort(self) -> None:
        """Leave no video."""
        self._writer.abort()


def mask_pictures(folder: Path, source: VideoSource) -> PictureFolder:
    """masks/<frame>.png: palette pictures whose values are object ids."""

    def save(path: Path, frame: np.ndarray, result: FrameResult) -> None:
        write_palette_mask(path, result.palette(*frame.shape[:2]))

    return PictureFolder(subfolder(folder, "masks"), source, save)


def overlay_video(folder: Path, source: VideoSource, style: OverlayStyle) -> RenderedVideo:
    """overlay.mp4: the video with objects and prompts drawn over it."""
    return RenderedVideo(folder / "overlay", source, lambda frame, result, prompts: draw(frame, result, prompts, style))


def cutout(folder: Path, source: VideoSource, kind: str, object_ids: Sequence[int] | None) -> PictureOutput:
    """The objects without what is round them: cutout/<frame>.png, or one file cutout.png, .mov or .webm with alpha."""
    if kind == "png":

        def save(path: Path, frame: np.ndarray, result: FrameResult) -> None:
            with written_whole(path) as partial:
                Image.fromarray(cut_out(frame, result, object_ids)).save(partial, format="PNG", compress_level=3)

        return PictureFolder(subfolder(folder, "cutout"), source, save)
    return RenderedVideo(
        folder / "cutout", source, lambda frame, result, _: cut_out(frame, result, object_ids), CUTOUT_FORMATS[kind]
    )


def cut_out(frame: np.ndarray, result: FrameResult, object_ids: Sequence[int] | None = None) -> np.ndarray:
    """RGBA [H, W, 4] of a frame [H, W, 3]: opaque on the given objects (else all), black and clear elsewhere."""
    inside = np.zeros(frame.shape[:2], bool)
    for item in result.objects:
        if object_ids is None or item.object_id in object_ids:
            inside |= item.mask
    out = np.zeros((*frame.shape[:2], 4), np.uint8)
    out[inside, :3] = frame[inside]
    out[inside, 3] = 255
    return out


def write_mattes(folder: Path, source: VideoSource, store: ResultStore, as_video: bool) -> Path:
    """White objects on black, for every object all frames: mattes/<id>/<frame>.png or mattes/<id>.mp4."""
    root = subfolder(folder, "mattes")
    for object_id in store.object_ids():
        if as_video:
            with VideoWriter(root / f"{object_id:05d}", source.rate) as video:
                for index, matte in _mattes(source, store, object_id):
                    video.write(np.repeat(matte[:, :, None], 3, axis=2), source.time(index))
        else:
            pictures = subfolder(root, f"{object_id:05d}")
            for index, matte in _mattes(source, store, object_id):
                with written_whole(pictures / f"{safe_name(source.name(index))}.png") as partial:
                    Image.fromarray(matte).save(partial, format="PNG")
    return root


def _mattes(source: VideoSource, store: ResultStore, object_id: int) -> Iterator[tuple[int, np.ndarray]]:
    """(frame, matte [H, W] uint8 of 0 and 255) of every frame with results, black where the object is not there."""
    present = store.object_frames(object_id)
    item = next(present, None)
    for index in store.frames():
        matte = np.zeros(source.size, np.uint8)
        if item is not None and item.frame == index:
            matte[store.decode(item.counts)] = 255
            item = next(present, None)
        yield index, matte

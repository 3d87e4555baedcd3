"""Submissions of one picture per frame: ids in palette colours, sentences in black and white, classes in grey."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.ndimage import distance_transform_edt

from univs.errors import UserError
from univs.evaluation.submissions.video import NamedFrames, SubmissionWriter, Video, best_pixels, wanted_frames
from univs.structures import FrameResult
from univs.video.files import safe_name, written_whole
from univs.video.palette import MAX_PALETTE_ID, write_palette_mask


class PictureWriter(SubmissionWriter):
    """``<top>/<video>/<frame>.png``, for a sentence ``<top>/<video>/<expression>/<frame>.png``."""

    def __init__(self, folder: Path, categories: Mapping[str, int] | None = None, top: str = "") -> None:
        super().__init__(folder, categories)
        self._top = top

    def add(self, video: Video, frames: NamedFrames) -> None:
        """Write a picture for every wanted frame, an empty one where there is no result."""
        place = self.folder / self._top / Path(*map(safe_name, video.name.split("/")))
        if video.expression is not None:
            place /= safe_name(video.expression)
        for name, result in wanted_frames(video, frames):
            self.write(place / f"{safe_name(name)}.png", video, result)

    def write(self, path: Path, video: Video, result: FrameResult) -> None:
        """Write the picture of one frame."""
        raise NotImplementedError


class PaletteWriter(PictureWriter):
    """A pixel holds the id of its object, shown in the palette of published masks; 0 is background."""

    def write(self, path: Path, video: Video, result: FrameResult) -> None:
        """Write one palette picture.

        Raises:
            UserError: an id above 255 or below 1.
        """
        ids = np.array([*(item.object_id for item in result.objects), 0])
        if ids.max() > MAX_PALETTE_ID or ids.min() < 0:
            raise UserError(
                f"Frame {path.stem} of {video.label} has the object id {ids[np.abs(ids).argmax()]}; "
                f"a palette picture holds ids from 1 to {MAX_PALETTE_ID}."
            )
        write_palette_mask(path, ids[best_pixels(result, video.size)])


class SentenceWriter(PictureWriter):
    """White where the sentence is answered, that is, on all objects of the result; black elsewhere."""

    def write(self, path: Path, video: Video, result: FrameResult) -> None:
        """Write one black-and-white picture."""
        answered = best_pixels(result, video.size) >= 0
        _write_grey(path, answered * np.uint8(255))


class ClassWriter(PictureWriter):
    """A pixel holds the number of its class. A pixel without an object takes the class of the nearest one with."""

    def write(self, path: Path, video: Video, result: FrameResult) -> None:
        """Write one grey picture.

        Raises:
            UserError: a class that the benchmark does not have, or a frame without any object.
        """
        owner = best_pixels(result, video.size)
        if (owner < 0).all():
            raise UserError(f"Frame {path.stem} of {video.label} has no object, and each pixel needs a class.")
        if (owner < 0).any():
            rows, columns = distance_transform_edt(owner < 0, return_distances=False, return_indices=True)
            owner = owner[rows, columns]
        classes = np.array([self.category_of(item, video) for item in result.objects], np.uint8)
        _write_grey(path, classes[owner])


def _write_grey(path: Path, pixels: np.ndarray) -> None:
    with written_whole(path) as partial:
        Image.fromarray(pixels).save(partial, format="PNG", compress_level=3)

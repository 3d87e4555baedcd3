"""Submissions of one picture per frame: ids in palette colours, sentences in black and white, classes in grey."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.ndimage import distance_transform_edt

from univs.errors import UserError
from univs.evaluation.submissions.video import NamedFrames, SubmissionWriter, Video, best_pixels, wanted_frames
from univs.structures import FrameResult
from univs.video.files import safe_name, written_whole
from univs.video.palette import MAX_PALETTE_ID, write_palette_mask

NO_CLASS, MOST_STEP_ID = 255, 0xFFFF


class PictureWriter(SubmissionWriter):
    """``<top>/<video>/<frame>.png``, for a sentence ``<top>/<video>/<expression>/<frame>.png``."""

    def __init__(self, folder: Path, categories: Mapping[str, int] | None = None, top: str = "") -> None:
        super().__init__(folder, categories)
        self._top = top

    def add(self, video: Video, frames: NamedFrames) -> None:
        """Write a picture for every wanted frame, an empty one where there is no result."""
        for name, result in wanted_frames(video, frames):
            self.write(self.path_of(video, name), video, result)

    def path_of(self, video: Video, frame: str) -> Path:
        """Where the picture of a frame lies."""
        place = self.folder / self._top / Path(*map(safe_name, video.name.split("/")))
        if video.expression is not None:
            place /= safe_name(video.expression)
        return place / f"{safe_name(frame)}.png"

    @abstractmethod
    def write(self, path: Path, video: Video, result: FrameResult) -> None:
        """Write the picture of one frame."""


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

    def add_answers(self, video: Video, frames: NamedFrames, expressions: Sequence[str] = ()) -> None:
        """Write each object as the answer to a sentence of its own: the one of its name, or else of its id.

        expressions: ids of the video's sentences; none: not known.

        Raises:
            UserError: an object that answers no sentence of the video.
        """
        every: set[str] = set()
        answered: dict[str, set[str]] = {}
        for name, result in wanted_frames(video, frames):
            every.add(name)
            for item in result.objects:
                expression = item.name or str(item.object_id)
                if expressions and expression not in expressions:
                    raise UserError(
                        f"Object {item.object_id} of {video.name} answers the sentence {expression!r}; the list has "
                        f"{', '.join(expressions[:4])}: name each object by the id of its sentence."
                    )
                answered.setdefault(expression, set()).add(name)
                sentence = replace(video, expression=expression)
                self.write(self.path_of(sentence, name), sentence, FrameResult(result.index, [item]))
        for expression, written in answered.items():
            sentence = replace(video, expression=expression)
            for name in sorted(every - written):
                self.write(self.path_of(sentence, name), sentence, FrameResult(0, []))

    def write(self, path: Path, video: Video, result: FrameResult) -> None:
        """Write one black-and-white picture."""
        answered = best_pixels(result, video.size) >= 0
        _write(path, answered * np.uint8(255))


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
        _write(path, classes[owner])


class StepWriter(PictureWriter):
    """Red holds the class of a pixel, green and blue the id of its object, 256 G + B; class 255 where nothing is."""

    def write(self, path: Path, video: Video, result: FrameResult) -> None:
        """Write one picture.

        Raises:
            UserError: a class that the benchmark does not have, or an id of more than 16 bits.
        """
        wrong = [item.object_id for item in result.objects if not 0 <= item.object_id <= MOST_STEP_ID]
        if wrong:
            raise UserError(
                f"Frame {path.stem} of {video.label} has the object id {wrong[0]}; ids from 0 to {MOST_STEP_ID} fit."
            )
        colours = [(self.category_of(item, video), *divmod(item.object_id, 256)) for item in result.objects]
        owner = best_pixels(result, video.size)
        _write(path, np.array([*colours, (NO_CLASS, 0, 0)], np.uint8)[owner])


def _write(path: Path, pixels: np.ndarray) -> None:
    """Write [H, W] as a grey picture, [H, W, 3] as a coloured one."""
    with written_whole(path) as partial:
        Image.fromarray(pixels).save(partial, format="PNG", compress_level=3)

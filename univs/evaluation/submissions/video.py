"""What a submission is made of: videos, the masks of their named frames, and where the files go."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, TypeAlias

import numpy as np

from univs.errors import UserError
from univs.structures import FrameResult, ObjectResult

NamedFrames: TypeAlias = Iterable[tuple[str, FrameResult]]
"""Frames in order, each under the name of its file without the ending."""


@dataclass(frozen=True)
class Video:
    """A video (or a picture: a video of one frame) as the benchmark lists it.

    frames: names of the wanted frames without ending; none: all that come. size: (height, width) in pixels.
    number: its id in the benchmark's JSON lists. expression: the id of the sentence that was answered.
    entry: the benchmark's own entry of it, where a submission repeats it.
    """

    name: str
    size: tuple[int, int]
    frames: tuple[str, ...] = ()
    number: int | str | None = None
    expression: str | None = None
    entry: Mapping[str, Any] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """Its name in messages."""
        return self.name if self.expression is None else f"{self.name}, expression {self.expression}"


class SubmissionWriter(ABC):
    """Writes videos, one after the other, into a folder in a benchmark's layout; to be used in a ``with`` block."""

    def __init__(self, folder: Path, categories: Mapping[str, int] | None = None) -> None:
        """Begin a submission in ``folder``. categories: numbers of the category names, where the layout needs them."""
        self.folder = folder
        self.categories = dict(categories or {})

    @abstractmethod
    def add(self, video: Video, frames: NamedFrames) -> None:
        """Write the results of a video.

        Raises:
            UserError: an object, category or frame that the benchmark has no place for.
        """

    def close(self) -> None:  # noqa: B027 (most layouts share none)
        """Finish the files that all videos share."""

    def abandon(self) -> None:  # noqa: B027
        """Leave no half-written file behind."""

    def __enter__(self) -> SubmissionWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.abandon()

    def category_of(self, item: ObjectResult, video: Video) -> int:
        """The benchmark's number of an object's category (or name, where it has no category).

        Raises:
            UserError: the benchmark has no such category.
        """
        label = item.category or item.name
        if label not in self.categories:
            raise UserError(
                f"Object {item.object_id} of {video.label} is {'of no category' if label is None else repr(label)}; "
                f"the benchmark knows {len(self.categories)} categories, such as {', '.join(list(self.categories)[:3])}"
                ": rename it, or give the list of categories with --truth-list."
            )
        return self.categories[label]


def wanted_frames(video: Video, frames: NamedFrames) -> Iterator[tuple[str, FrameResult]]:
    """The frames that the benchmark wants, in its order; those without a result come without objects.

    Raises:
        UserError: none of them has a result, or a mask is of another size than the video.
    """
    listed, seen = set(video.frames), set()
    for name, result in frames:
        if listed and name not in listed:
            continue
        _check_sizes(video, name, result)
        seen.add(name)
        yield name, result
    if not seen:
        example = f"; its frames are {', '.join(video.frames[:3])}, ..." if video.frames else ""
        raise UserError(f"There is no result for any frame of {video.label}{example}.")
    for index, name in enumerate(video.frames):
        if name not in seen:
            yield name, FrameResult(index, [])


def _check_sizes(video: Video, name: str, result: FrameResult) -> None:
    for item in result.objects:
        if item.mask.shape != video.size:
            (height, width), (rows, columns) = item.mask.shape, video.size
            raise UserError(
                f"Frame {name} of {video.label} has masks of {width}x{height} pixels; the video has {columns}x{rows}."
            )


def best_pixels(result: FrameResult, size: tuple[int, int]) -> np.ndarray:
    """Place in ``result.objects`` [H, W] int32 of the object that owns each pixel, -1 for none.

    Where masks overlap, the object with the higher score is on top.
    """
    owner = np.full(size, -1, np.int32)
    for place in sorted(range(len(result.objects)), key=lambda place: result.objects[place].score):
        owner[result.objects[place].mask] = place
    return owner

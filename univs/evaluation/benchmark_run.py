"""A benchmark's videos through the stream of clips, written as the benchmark takes them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from univs.data.vocabulary import read_vocabulary
from univs.errors import UserError
from univs.evaluation.annotations import read_json
from univs.evaluation.label_pictures import read_label_map
from univs.evaluation.submissions import Submission
from univs.evaluation.submissions.expected import VOID, Expected, ExpectedVideo
from univs.evaluation.submissions.pack import add_results
from univs.evaluation.submissions.pictures import PictureWriter
from univs.inference.clips.outputs.frame_results import (
    frame_of_answers,
    frame_of_classes,
    frame_of_masks,
    frame_of_segments,
    frames_of_tracks,
    picture_of_instances,
    picture_of_segments,
)
from univs.inference.clips.run import segment_video
from univs.inference.clips.seeds import GivenMasks
from univs.inference.clips.settings import ClipSettings
from univs.modeling.meta_arch import UniVS
from univs.structures import FrameResult
from univs.video.images import is_picture, natural_key, read_picture

# benchmarks whose lists number their classes from 0
FROM_ZERO = ("classes", "panoptic videos")
# kinds of submissions of pictures alone, which are whole as soon as they are written
RESUMABLE = ("masks", "sentences", "classes")


@dataclass(frozen=True)
class BenchmarkFiles:
    """Where a benchmark's videos lie.

    videos: its list. frames: folder of the videos' folders of frames (or of the pictures), with "{video}" in the place
    of the name where there is more behind it. masks: folder of folders of palette pictures; an object is given by its
    first mask. sentences: JSON with the expressions of every video. classes: JSON with the classes (0-based) of given
    objects.
    """

    videos: Expected
    frames: str
    masks: Path | None = None
    sentences: Path | None = None
    classes: Path | None = None

    def frames_of(self, video: ExpectedVideo) -> list[Path]:
        """Files of a video's frames, or the one of a picture; of a list with files those that it names.

        Raises:
            UserError: there are none, or one of the list is missing.
        """
        place = Path(
            self.frames.format(video=video.name) if "{video}" in self.frames else f"{self.frames}/{video.name}"
        )
        files = place.iterdir() if place.is_dir() else place.parent.glob(f"{place.name}.*")
        found = sorted(filter(is_picture, files), key=lambda path: natural_key(path.name))
        if not found:
            raise UserError(f"There are no frames of {video.name} in {place}; check --frames.")
        if video.number is None or not video.frames:
            return found
        by_name = {path.stem: path for path in found}
        lacking = [name for name in video.frames if name not in by_name]
        if lacking:
            raise UserError(f"The frame {lacking[0]} of {video.name} is not in {place}; check --frames.")
        return [by_name[name] for name in video.frames]


@dataclass
class BenchmarkRun:
    """A model with its settings, and the layout of what it writes; ``precision``: of the model,
    None for single."""

    model: UniVS
    settings: ClipSettings
    submission: Submission
    files: BenchmarkFiles
    precision: torch.dtype | None = None
    _names: Sequence[str] = field(init=False)

    def __post_init__(self) -> None:
        self._names = read_vocabulary(self.settings.vocabulary).names if self.settings.vocabulary else ()
        if self.settings.objects not in ("masks", "sentences") and not self._names:
            raise UserError("The task finds objects by category; name a vocabulary in INFERENCE.VOCABULARY.")

    def write(self, folder: Path, resume: bool = False) -> Iterator[str]:
        """Segment every video of the list; gives the name of each when it is written.

        resume: leave videos alone whose pictures are all there from an earlier run of the same model.

        Raises:
            UserError: files are missing, or results do not fit the benchmark.
        """
        if resume and self.submission.kind not in RESUMABLE:
            raise UserError("The benchmark takes one list, which is written at the end; such a run cannot be resumed.")
        with self.submission.writer(folder, self._numbers()) as writer:
            for video in self.files.videos.videos.values():
                paths = self.files.frames_of(video)
                size = read_picture(paths[0]).shape[:2]
                if resume and self._is_written(writer, video, size, paths):
                    yield video.name
                    continue
                frames = _named(self._frames(self._segment(video, paths)), paths)
                add_results(writer, self.submission, video, frames, size)
                yield video.name

    def _is_written(
        self, writer: PictureWriter, video: ExpectedVideo, size: tuple[int, int], paths: Sequence[Path]
    ) -> bool:
        """Whether every picture of a video is there."""
        names = video.frames or [path.stem for path in paths]
        sentences = video.expressions if self.submission.kind == "sentences" else (None,)
        places = [writer.path_of(video.video(size, sentence), name) for sentence in sentences for name in names]
        return bool(places) and all(place.is_file() for place in places)

    def _numbers(self) -> dict[str, int]:
        """The benchmark's numbers of the classes, in the order of its own list where that has as many."""
        numbers = sorted(self.files.videos.categories.values())
        if len(numbers) != len(self._names):
            first = 0 if self.submission.kind in FROM_ZERO else 1
            numbers = range(first, first + len(self._names))
        return dict(zip(self._names, numbers, strict=True))

    def _segment(self, video: ExpectedVideo, paths: Sequence[Path]) -> Iterator[Any]:
        """Results of a video."""
        device = self.model.device.type
        with torch.autocast(device, self.precision) if self.precision else contextlib.nullcontext():
            yield from segment_video(
                self.model,
                map(read_picture, paths),
                self.settings,
                given=self._given(video, paths) if self.settings.objects == "masks" else None,
                sentences=self._sentences(video) if self.settings.objects == "sentences" else None,
            )

    def _given(self, video: ExpectedVideo, paths: Sequence[Path]) -> dict[int, GivenMasks]:
        """The first mask of every object, by frame."""
        if self.files.masks is None:
            raise UserError("The task follows given masks; say where they are with --masks.")
        classes = _classes_of(self.files.classes, video.name)
        given, known = {}, {0, VOID}
        for number, path in enumerate(paths):
            file = self.files.masks / video.name / f"{path.stem}.png"
            ids = read_label_map(file) if file.is_file() else np.zeros((1, 1), np.uint8)
            new = [identity for identity in np.unique(ids).tolist() if identity not in known]
            known.update(new)
            if new:
                masks = torch.from_numpy(np.stack([ids == identity for identity in new]))
                labels = tuple(classes.get(identity, -1) for identity in new) if classes else ()
                given[number] = GivenMasks(tuple(new), masks, labels)
        if not given:
            raise UserError(f"{self.files.masks / video.name} has no mask of an object in any frame; check --masks.")
        return given

    def _sentences(self, video: ExpectedVideo) -> dict[int, str]:
        """Expressions of a video by id."""
        if self.files.sentences is None:
            raise UserError("The task follows sentences; say where they are with --sentences.")
        listed = read_json(self.files.sentences, dict)
        try:
            sentences = listed.get("videos", listed)[video.name]["expressions"]
            return {int(key): str(item["exp"]) for key, item in sentences.items()}
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise UserError(f"{self.files.sentences} has no expressions of {video.name} ({error!r}).") from error

    def _frames(self, results: Iterator[Any]) -> Iterator[FrameResult]:
        """The results as frames of objects; those of tracks and segments wait for the end of the video."""
        convert = _CONVERSIONS.get((self.settings.result, self.submission.kind))
        if convert is not None:
            yield from (convert(result, self._names) for result in results)
        elif self.settings.result == "tracks":
            for tracks in results:
                yield from frames_of_tracks(tracks, self._names)
        elif self.settings.result == "panoptic":
            *frames, segments = results
            yield from (frame_of_segments(frame, segments, self._names) for frame in frames)
        else:
            raise UserError(f"The task's results ({self.settings.result}) are nothing for this benchmark.")


_CONVERSIONS: dict[tuple[str, str], Callable[[Any, Sequence[str]], FrameResult]] = {
    ("masks", "masks"): lambda result, names: frame_of_masks(result),
    ("masks", "sentences"): lambda result, names: frame_of_answers(result),
    ("semantic", "classes"): frame_of_classes,
    ("image", "panoptic pictures"): picture_of_segments,
    ("image", "objects"): picture_of_instances,
}
"""Kind of result and of submission -> what makes a frame of objects of one result."""


def _named(frames: Iterable[FrameResult], paths: Sequence[Path]) -> Iterator[tuple[str, FrameResult]]:
    """Frames under the names of their files."""
    return ((paths[frame.index].stem, frame) for frame in frames)


def _classes_of(file: Path | None, video: str) -> Mapping[int, int]:
    """Classes of a video's objects by id, none without a file."""
    if file is None:
        return {}
    try:
        return {int(identity): int(category) for identity, category in read_json(file, dict)[video].items()}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(f"{file} does not say the classes of the objects of {video} ({error!r}).") from error

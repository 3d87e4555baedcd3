"""The work of ``univs demo`` with a model that sees clips, as the published ones: masks, sentences, categories."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import torch

from univs import __version__
from univs.cli.progress import counted
from univs.cli.prompts import LinePrompt
from univs.data.vocabulary import read_vocabulary
from univs.errors import UserError
from univs.inference.clips.outputs import frame_results
from univs.inference.clips.results import FrameMasks, ImageResult, PanopticFrame, SemanticFrame, VideoSegments
from univs.inference.clips.run import segment_video
from univs.inference.clips.seeds import GivenMasks
from univs.inference.clips.settings import ClipSettings, clip_settings
from univs.inference.loading import LoadedModel
from univs.structures import FrameResult
from univs.video.result_json import ObjectMetadata
from univs.video.results import ResultOptions, ResultWriter
from univs.video.source import LostFrame, VideoSource

# the task that a kind of prompt means where none is named; the first that is given counts
TASK_OF_KIND = {"mask": "vos", "text": "rvos", "category": "vis"}
# the kind that starts the objects of a task
KIND_OF_TASK = {"vos": "mask", "pvos": "mask", "rvos": "text"}
# tasks that find objects by themselves, of given categories or of all that they know
FINDING_TASKS = ("vis", "vps", "vss", "image")


class GivenPrompts:
    """Takes prompts where a session would, for a video of ``size`` (H, W); frames are those of the video."""

    def __init__(self, size: tuple[int, int], prompts: Iterable[LinePrompt]) -> None:
        self.size = size
        self.masks: dict[int, np.ndarray] = {}
        self.sentences: dict[int, str] = {}
        self.names: dict[int, str] = {}
        self.categories: list[str] = []
        self.every: int | None = None
        for prompt in prompts:
            prompt.edit(self)

    def add_id_map(self, frame: int, ids: np.ndarray) -> None:
        """Masks of objects by value [H, W], 0 for none; a later one covers an earlier one of the same frame."""
        earlier = self.masks.get(frame)
        self.masks[frame] = ids if earlier is None else np.where(ids > 0, ids, earlier)

    def add_text(self, object_id: int, text: str) -> None:
        """A sentence that describes an object."""
        self.sentences[object_id] = text

    def discover(self, names: Sequence[str], every: int | None = None) -> None:
        """Category names to look for, every so many frames."""
        self.categories, self.every = [name.strip() for name in names], every
        if not all(self.categories):
            raise UserError("There is an empty category name; write them like person,dog.")

    def rename(self, object_id: int, name: str) -> None:
        """What an object is called in the results."""
        self.names[object_id] = name

    def given_masks(self, frames: range) -> dict[int, GivenMasks]:
        """The masks by place in ``frames``."""
        outside = sorted(set(self.masks) - set(frames))
        if outside:
            raise UserError(f"There is a mask for frame {outside[0]}, and only frames {frames[0]} to {frames[-1]} run.")
        given = {}
        for frame, ids in self.masks.items():
            values = [int(value) for value in np.unique(ids) if value]
            masks = torch.from_numpy(np.stack([ids == value for value in values])) if values else torch.zeros(0)
            given[frame - frames[0]] = GivenMasks(tuple(values), masks)
        return {place: masks for place, masks in given.items() if masks.ids}


def meant_task(name: str, prompts: Sequence[LinePrompt]) -> str:
    """The task of a command line: the one that is named, else the one that its prompts mean."""
    kinds = {prompt.kind for prompt in prompts}
    return name if name != "any" else next((task for kind, task in TASK_OF_KIND.items() if kind in kinds), name)


def is_simple(name: str, prompts: Sequence[LinePrompt]) -> bool:
    """Whether a task's clips read all of these prompts."""
    task = meant_task(name, prompts)
    kinds = {prompt.kind for prompt in prompts} - {"name"}
    return task in (*KIND_OF_TASK, *FINDING_TASKS) and kinds <= {KIND_OF_TASK.get(task, "category")}


def check_configuration(configured: str, name: str, prompts: Sequence[LinePrompt]) -> None:
    """Whether the configuration's task is the one that is named, and starts from what is given.

    Raises:
        UserError: it is not, or does not.
    """
    meant = meant_task(name, prompts)
    wanted = KIND_OF_TASK.get(configured, "category")
    given = {prompt.kind for prompt in prompts} - {"name"}
    if name in (*KIND_OF_TASK, *FINDING_TASKS) and name != configured:
        asked = f"--task {name} was asked for"
    elif (given or wanted != "category") and wanted not in given:
        asked = f"starts from {wanted}, and not from {' and '.join(sorted(given)) or 'nothing'}"
    else:
        return
    raise UserError(
        f"The configuration is for the task {configured}, and {asked}; name one of configs/eval/{meant} with --config."
    )


class ClipRun:
    """One video of a command line."""

    def __init__(self, arguments: argparse.Namespace, prompts: Sequence[LinePrompt], loaded: LoadedModel) -> None:
        self.arguments, self.prompts, self.loaded = arguments, prompts, loaded
        self.task = loaded.cfg.INFERENCE.TASK

    def results(self, video: VideoSource, on_step: Callable[[int, int], None]) -> Iterator[FrameResult]:
        """The results of the video's frames, each when it is final; ``on_step`` hears how many frames were seen.

        Raises:
            UserError: what the task starts objects from was not given, or is not of this video.
        """
        given, frames = GivenPrompts(video.size, self.prompts), self._range(video)
        settings = clip_settings(self.loaded.cfg).corrected()
        if settings.result == "tokens":
            raise UserError("Semantic tokens are no masks; tools/extract_tokens.py writes them.")
        if given.every:
            settings = replace(settings, discovery_interval=given.every)
        classes = given.categories or _vocabulary(settings)
        if settings.objects not in ("masks", "sentences") and not classes:
            raise UserError(f"The task {self.task} finds objects; name --categories, or an INFERENCE.VOCABULARY.")
        results = segment_video(
            self.loaded.model,
            _decoded(video, frames, on_step),
            settings,
            given=given.given_masks(frames),
            sentences=given.sentences,
            categories=given.categories,
        )
        for result in frame_results_of(results, settings, classes):
            for item in result.objects:
                item.name = given.names.get(item.object_id) or given.sentences.get(item.object_id)
            yield FrameResult(result.index + frames[0], result.objects)

    def _range(self, video: VideoSource) -> range:
        if video.length is None:
            raise UserError(f"{video.label} has no known length; a model that sees clips needs a file or a folder.")
        first = self.arguments.start or 0
        last = video.length - 1 if self.arguments.end is None else self.arguments.end
        last = first if self.task == "image" else last
        if not 0 <= first <= last < video.length:
            raise UserError(
                f"--start {first} and --end {last}: the video has frames 0 to {video.length - 1}, and start must not "
                "be above end."
            )
        return range(first, last + 1)


class ClipRecorder:
    """Writes the frames of a run into a folder, and keeps count of the objects.

    Leaving a ``with`` block closes it, after an error, too: what was finished is kept.
    """

    def __init__(self, run: ClipRun, video: VideoSource, folder: Path, options: ResultOptions) -> None:
        settings = {"univs": __version__, "model": run.loaded.name, "task": run.task}
        self._video, self._writer = video, ResultWriter(folder, video, options, settings)
        self._objects: dict[int, ObjectMetadata] = {}
        self._frames: Counter[int] = Counter()
        self._closed: dict[str, Path] | None = None

    def write(self, result: FrameResult) -> None:
        """Write one frame."""
        for item in result.objects:
            self._objects[item.object_id] = ObjectMetadata(item.name, item.category)
            self._frames[item.object_id] += bool(item.mask.any())
        self._writer.write(self._video.frame(result.index), result)

    def close(self, complete: bool = True) -> dict[str, Path]:
        """Finish all files; returns their paths by what they are."""
        if self._closed is None:
            self._closed = self._writer.close(self._objects, complete)
        return self._closed

    def found(self) -> list[str]:
        """A line for every object: number, name, category, in how many frames it was seen."""
        lines = []
        for object_id, item in sorted(self._objects.items()):
            label = " ".join(filter(None, (str(object_id), item.name, item.category)))
            lines.append(f"{label}: seen in {counted(self._frames[object_id], 'frame')}")
        return lines

    def __enter__(self) -> ClipRecorder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close(complete=kind is None)


def _vocabulary(settings: ClipSettings) -> tuple[str, ...]:
    return read_vocabulary(settings.vocabulary).names if settings.vocabulary else ()


def _decoded(video: VideoSource, frames: range, on_step: Callable[[int, int], None]) -> Iterator[np.ndarray]:
    """The frames [H, W, 3] one by one; ``on_step`` hears of each that has been taken.

    Raises:
        UserError: a frame is damaged: the model's clips have no gaps.
    """
    for count, (index, frame) in enumerate(video.iterate(frames), 1):
        if isinstance(frame, LostFrame):
            raise UserError(f"Frame {index} cannot be decoded ({frame.reason}); run the parts before and after it.")
        yield frame
        on_step(count, len(frames))


def frame_results_of(results: Iterable[Any], settings: ClipSettings, names: Sequence[str]) -> Iterator[FrameResult]:
    """Results of a stream of clips as frames; what is only final at the end comes then. ``names`` of the classes."""
    waiting: list[PanopticFrame] = []
    for result in results:
        if isinstance(result, FrameMasks):
            answers = settings.objects == "sentences"
            yield frame_results.frame_of_answers(result) if answers else frame_results.frame_of_masks(result)
        elif isinstance(result, SemanticFrame):
            yield frame_results.frame_of_classes(result, names)
        elif isinstance(result, PanopticFrame):
            waiting.append(result)
        elif isinstance(result, VideoSegments):
            yield from (frame_results.frame_of_segments(frame, result, names) for frame in waiting)
        elif isinstance(result, ImageResult):
            panoptic = result.panoptic is not None
            make = frame_results.picture_of_segments if panoptic else frame_results.picture_of_instances
            yield make(result, names)
        else:
            yield from frame_results.frames_of_tracks(result, names)

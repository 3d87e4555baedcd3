"""Submissions in JSON: tracks of videos, objects of pictures, and the sequences of BURST with all their frames."""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from pycocotools import mask as coco_mask

from univs.errors import UserError
from univs.evaluation.submissions.video import NamedFrames, SubmissionWriter, Video, wanted_frames
from univs.structures import ObjectResult
from univs.video.files import written_whole
from univs.video.result_store import encode


class ListWriter(SubmissionWriter):
    """One JSON file with a list that grows with every video, so that memory does not.

    head, tail: what stands around the list.
    """

    head, tail = "[", "]\n"

    def __init__(self, folder: Path, categories: Mapping[str, int] | None = None, file: str = "results.json") -> None:
        super().__init__(folder, categories)
        self._stack = ExitStack()
        partial = self._stack.enter_context(written_whole(folder / file))
        self._file: TextIO = self._stack.enter_context(partial.open("w", encoding="utf-8"))
        self._file.write(self.head)
        self._written = 0

    def add(self, video: Video, frames: NamedFrames) -> None:
        """Write the records of a video."""
        for record in self.records(video, frames):
            self._file.write((",\n" if self._written else "\n") + json.dumps(record, allow_nan=False))
            self._written += 1

    @abstractmethod
    def records(self, video: Video, frames: NamedFrames) -> Iterator[dict[str, Any]]:
        """The records of a video."""

    def close(self) -> None:
        """Finish the file."""
        self._file.write("\n" + self.tail)
        self._stack.close()

    def abandon(self) -> None:
        """Remove the unfinished file."""
        abandon(self._stack)


class _AbandonedError(Exception):
    """Ends the writing of a file that is not wanted any more."""


def abandon(stack: ExitStack) -> None:
    """Leave what a stack holds as an error would, so that files written whole are not kept."""
    with suppress(_AbandonedError), stack:
        raise _AbandonedError


def code_of(item: ObjectResult) -> dict[str, Any]:
    """COCO run-length code of an object's mask, as JSON."""
    return {"size": list(item.mask.shape), "counts": encode(item.mask)}


def number_of(video: Video) -> int | str:
    """The video's id in the benchmark's lists.

    Raises:
        UserError: nobody said it.
    """
    if video.number is None:
        raise UserError(f"The benchmark's id of {video.label} is not known; give its list of videos with --truth-list.")
    return video.number


class TrackWriter(ListWriter):
    """Tracks: a run-length code for every frame of the video, null where the object is not seen, and a mean score."""

    def records(self, video: Video, frames: NamedFrames) -> Iterator[dict[str, Any]]:
        """One record per object that is seen anywhere."""
        codes: dict[int, dict[str, Any]] = {}
        scores: dict[int, list[float]] = {}
        about: dict[int, ObjectResult] = {}
        order = video.frames
        for name, result in wanted_frames(video, frames):
            order = order if video.frames else (*order, name)
            for item in result.objects:
                scores.setdefault(item.object_id, []).append(float(item.score))
                if item.mask.any():
                    codes.setdefault(item.object_id, {})[name] = code_of(item)
                    about[item.object_id] = item
        for object_id, by_frame in sorted(codes.items()):
            yield {
                "video_id": number_of(video),
                "category_id": self.category_of(about[object_id], video),
                "score": round(float(np.mean(scores[object_id])), 6),
                "segmentations": [by_frame.get(name) for name in order],
            }


class ImageObjectWriter(ListWriter):
    """Objects of pictures: one run-length code, one box and one score each."""

    def records(self, video: Video, frames: NamedFrames) -> Iterator[dict[str, Any]]:
        """One record per object that is seen."""
        for _, result in wanted_frames(video, frames):
            for item in result.objects:
                if item.mask.any():
                    code = code_of(item)
                    yield {
                        "image_id": number_of(video),
                        "category_id": self.category_of(item, video),
                        "segmentation": code,
                        "bbox": coco_mask.toBbox(code).tolist(),
                        "score": round(float(item.score), 6),
                    }


class BurstWriter(ListWriter):
    """The benchmark's own sequences with the predicted tracks; an object that is not seen has no entry in a frame.

    Without categories (tracks of given objects) each track keeps the category that the list of videos gives it, or 1.
    """

    head, tail = '{"sequences": [', "]}\n"

    def records(self, video: Video, frames: NamedFrames) -> Iterator[dict[str, Any]]:
        """One record per video."""
        by_frame: dict[str, dict[str, Any]] = {}
        tracks: dict[str, int] = {}
        given = video.entry.get("track_category_ids", {})
        for name, result in wanted_frames(video, frames):
            by_frame[name] = {}
            for item in result.objects:
                if item.object_id < 1:
                    raise UserError(f"{video.label} has the object id {item.object_id}; track ids begin at 1.")
                if item.mask.any():
                    track = str(item.object_id)
                    by_frame[name][track] = {"rle": encode(item.mask), "score": round(float(item.score), 6)}
                    tracks[track] = self.category_of(item, video) if self.categories else given.get(track, 1)
        yield self._sequence(video, by_frame, tracks)

    def _sequence(self, video: Video, by_frame: Mapping[str, Any], tracks: Mapping[str, int]) -> dict[str, Any]:
        dataset, _, name = video.name.rpartition("/")
        order = video.frames or tuple(by_frame)
        head = {"id": video.number, "seq_name": name, "dataset": dataset, "height": video.size[0]}
        head |= {"width": video.size[1], "annotated_image_paths": [f"{name}.jpg" for name in order]}
        return {
            **head,
            **video.entry,
            "neg_category_ids": [],
            "not_exhaustive_category_ids": [],
            "track_category_ids": dict(sorted(tracks.items(), key=lambda track: int(track[0]))),
            "segmentations": [by_frame[name] for name in order],
        }

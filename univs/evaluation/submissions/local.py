"""Results of benchmarks without a server: answers to sentences in single frames, and the report of a session."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from univs.errors import UserError
from univs.evaluation.annotations import member
from univs.evaluation.benchmark import BrokenSequence
from univs.evaluation.label_pictures import read_labels
from univs.evaluation.metrics.interactive_curve import COLUMNS
from univs.evaluation.metrics.region_boundary import object_scores
from univs.evaluation.submissions.lists import ListWriter, abandon, code_of, number_of
from univs.evaluation.submissions.video import NamedFrames, SubmissionWriter, Video, best_pixels, wanted_frames
from univs.structures import ObjectResult
from univs.video.files import written_whole

ONE_CATEGORY = 1
"""Of whatever is meant by a sentence."""

REPORT_HEAD = ("session_id", "sequence", "scribble_idx", "interaction", "object_id", "frame", *COLUMNS)
VOID = 255


class FrameSentenceWriter(ListWriter):
    """Candidates for the sentence about a picture: one run-length code and one score each.

    A picture without any gets an empty one: each needs an answer.
    """

    def records(self, video: Video, frames: NamedFrames) -> Iterator[dict[str, Any]]:
        """One record per object.

        Raises:
            UserError: several frames; a sentence is about one.
        """
        found = [result for _, result in wanted_frames(video, frames)]
        if len(found) != 1:
            raise UserError(f"{video.label} has {len(found)} frames; a sentence is about one frame: give that alone.")
        empty = ObjectResult(1, np.zeros(video.size, bool), 0.0)
        for item in found[0].objects or [empty]:
            about = {"image_id": number_of(video), "category_id": ONE_CATEGORY, "score": float(item.score)}
            yield {**about, "segmentation": code_of(item)}


class ReportWriter(SubmissionWriter):
    """The table of a session: J and F of each object and frame after each interaction, against the annotations.

    ``Video.entry`` says which interaction it was: ``scribble_idx`` and ``interaction`` (from 1), ``seconds`` that it
    took, and ``annotations``, the folder with the video's label pictures.
    """

    def __init__(self, folder: Path, categories: Mapping[str, int] | None = None, file: str = "report.csv") -> None:
        super().__init__(folder, categories)
        self._stack = ExitStack()
        partial = self._stack.enter_context(written_whole(folder / file))
        self._table = csv.writer(self._stack.enter_context(partial.open("w", newline="", encoding="utf-8")))
        self._table.writerow(REPORT_HEAD)

    def add(self, video: Video, frames: NamedFrames) -> None:
        """Write the rows of one interaction.

        Raises:
            UserError: the entry does not say which one, or a frame has no annotation.
        """
        where = f"The entry of {video.label}"
        step = [member(video.entry, name, int, where) for name in ("scribble_idx", "interaction")]
        seconds, folder = member(video.entry, "seconds", float, where), Path(video.entry.get("annotations", ""))
        known = _ids_in(folder)
        for place, (name, result) in enumerate(wanted_frames(video, frames)):
            truth = _annotation(folder / f"{name}.png", video)
            ids = np.array([*(item.object_id for item in result.objects), 0])
            regions, boundaries = object_scores(ids[best_pixels(result, video.size)], truth, known)
            for number, region, boundary in zip(known, regions, boundaries, strict=True):
                scores = (region, boundary, (region + boundary) / 2, seconds)
                self._table.writerow(("univs", video.name, *step, number, place, *map(float, scores)))

    def close(self) -> None:
        """Finish the file."""
        self._stack.close()

    def abandon(self) -> None:
        """Remove the unfinished file."""
        abandon(self._stack)


def _ids_in(folder: Path) -> list[int]:
    """Ids of all objects of a video; one is scored where it is hidden, too."""
    found = {number for file in sorted(folder.glob("*.png")) for number in np.unique(_annotation(file)).tolist()}
    return sorted(number for number in found if 0 < number < VOID)


def _annotation(path: Path, video: Video | None = None) -> np.ndarray:
    try:
        return read_labels(path, video.size if video else None)
    except BrokenSequence as error:
        raise UserError(str(error)) from error

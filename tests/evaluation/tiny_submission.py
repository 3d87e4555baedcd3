"""A small video with two objects, and sound submissions of it to every benchmark."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from univs.evaluation.submissions import SUBMISSIONS
from univs.evaluation.submissions.expected import Expected, ExpectedVideo
from univs.evaluation.submissions.pack import add_results
from univs.structures import FrameResult, ObjectResult

SIZE = 12, 16
FRAMES = "00000", "00005", "00010"
CATEGORIES = {"cat": 3, "sky": 7}


def box(top: int, left: int, bottom: int, right: int) -> np.ndarray:
    mask = np.zeros(SIZE, bool)
    mask[top:bottom, left:right] = True
    return mask


def results() -> list[tuple[str, FrameResult]]:
    """Two objects that overlap; the second is hidden in the last frame."""
    frames = []
    for index, name in enumerate(FRAMES):
        second = box(4, 6, 10, 12) if index < 2 else np.zeros(SIZE, bool)
        objects = [
            ObjectResult(1, box(2, 2 + index, 8, 8 + index), 0.9, "cat", "0"),
            ObjectResult(2, second, 0.5 + index / 10, "sky", "1"),
        ]
        frames.append((name, FrameResult(index, objects)))
    return frames


def expected_for(name: str, count: int = 1) -> Expected:
    """The list that a benchmark would publish for videos of these results."""
    videos = {}
    for index in range(SUBMISSIONS[name].videos or count):
        number = f"v{index}" if name == "vipseg" else index + 1
        sentences = ("0", "1") if SUBMISSIONS[name].kind == "sentences" else ()
        title = f"YFCC/v{index}" if name == "burst" else f"v{index}"
        single = SUBMISSIONS[name].videos or SUBMISSIONS[name].kind in ("panoptic pictures", "objects")
        frames = FRAMES[:1] if single else FRAMES
        entry = {"seq_name": f"v{index}", "dataset": "YFCC", "neg_category_ids": [5]} if name == "burst" else {}
        videos[title] = ExpectedVideo(title, frames, SIZE, frozenset({1, 2}), sentences, number, entry)
    return Expected(videos, CATEGORIES)


def written(name: str, folder: Path) -> tuple[Path, Expected]:
    """A sound submission in a folder, and what was expected."""
    submission, expected = SUBMISSIONS[name], expected_for(name)
    with submission.writer(folder, CATEGORIES) as writer:
        for video in expected.videos.values():
            for group in submission.groups or ("",):
                title = f"{group}/{video.name}" if group else video.name
                renamed = ExpectedVideo(**{**vars(video), "name": title})
                add_results(writer, submission, renamed, results(), SIZE)
    return folder, expected

"""Check panoptic submissions: the list of segments, the id pictures, and that the two agree."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from univs.errors import UserError
from univs.evaluation.annotations import member, read_json
from univs.evaluation.benchmark import BrokenSequence
from univs.evaluation.label_pictures import read_segment_map
from univs.evaluation.submissions import Submission
from univs.evaluation.submissions.expected import Expected, ExpectedVideo
from univs.evaluation.submissions.problems import Problem, some_of

MEND_SEGMENTS = "list exactly the segments whose ids are in the picture, each once"


def check_video_panoptic(folder: Path, submission: Submission, expected: Expected | None) -> Iterator[Problem]:
    """Problems of a list of videos with id pictures."""
    listed: dict[str, Any] = {}
    for index, entry in enumerate(_annotations(folder, submission)):
        where = f"entry {index} of {submission.file}"
        try:
            name = str(member(entry, "video_id", str, where))
            frames = member(entry, "annotations", list, where)
        except UserError as error:
            yield Problem("malformed entries", str(error), "write video_id and annotations of every video")
            continue
        if name in listed:
            yield Problem("repeated videos", name, "list each video once")
        listed[name] = frames
        video = expected.videos.get(name) if expected else None
        yield from _frame_names(name, frames, video)
        for frame in frames:
            yield from _wrong_frame(frame, folder / submission.pictures / name, f"{name}", expected, video)
    for name in sorted(set(expected.videos) - set(listed)) if expected else ():
        yield Problem("missing videos", name, "segment it, too")
    for name in sorted(set(listed) - set(expected.videos)) if expected else ():
        yield Problem("unknown videos", name, "remove it, or check its name against the list")


def _frame_names(name: str, frames: list[Any], video: ExpectedVideo | None) -> Iterator[Problem]:
    if video is None or not video.frames:
        return
    names = [Path(str(frame.get("file_name"))).stem for frame in frames if isinstance(frame, dict)]
    missing = [frame for frame in video.frames if frame not in names]
    extra = [frame for frame in names if frame not in video.frames]
    if missing or extra:
        text = f"{name}: missing {some_of(missing) or 'none'}; not in the list {some_of(extra) or 'none'}"
        yield Problem("frames", text, "list every frame of the video under its own name and no other")


def check_image_panoptic(folder: Path, submission: Submission, expected: Expected | None) -> Iterator[Problem]:
    """Problems of a list of pictures with id pictures."""
    numbers = expected.by_number() if expected else {}
    seen = set()
    for entry in _annotations(folder, submission):
        number = entry.get("image_id") if isinstance(entry, dict) else None
        picture = numbers.get(number) if isinstance(number, int | str) else None
        if numbers and picture is None:
            yield Problem("unknown pictures", f"image_id = {number!r}", "use the ids of the benchmark's own list")
        seen.add(str(number))
        yield from _wrong_frame(entry, folder / submission.pictures, f"picture {number}", expected, picture)
    for number in numbers:
        if str(number) not in seen:
            yield Problem("missing pictures", f"image_id = {number!r}", "segment it, too")


def _annotations(folder: Path, submission: Submission) -> list[Any]:
    content = read_json(folder / submission.file, dict)
    return member(content, "annotations", list, submission.file)


def _wrong_frame(
    frame: Any, pictures: Path, where: str, expected: Expected | None, video: ExpectedVideo | None
) -> Iterator[Problem]:
    """Problems of one id picture and its segments."""
    try:
        name = member(frame, "file_name", str, where)
        where = f"{where}, {name}" if name not in where else where
        segments = member(frame, "segments_info", list, where)
        ids = [member(segment, "id", int, where) for segment in segments]
        categories = [member(segment, "category_id", int, where) for segment in segments]
    except UserError as error:
        yield Problem("malformed frames", str(error), "write file_name and segments_info with id and category_id")
        return
    path = pictures / name
    try:
        colours = read_segment_map(path).astype(np.int64)
    except BrokenSequence as error:
        text = str(error).replace(str(pictures.parent) + "/", "")
        yield Problem("unusable pictures", text, "write RGB PNG files whose colours are ids, R + 256 G + 65536 B")
        return
    yield from _wrong_size(colours, video, where)
    counts = np.unique(colours @ np.array([1, 256, 65536]), return_counts=True)
    yield from _wrong_segments(dict(zip(*map(np.ndarray.tolist, counts), strict=True)), segments, ids, where)
    known = set(expected.categories.values()) if expected else set()
    wrong = sorted(set(categories) - known) if known else []
    if wrong:
        text = f"{where} has {some_of(wrong)}; known are {some_of(sorted(known))}"
        yield Problem("unknown categories", text, "the official programs stop at them; use the benchmark's own ids")


def _wrong_size(colours: np.ndarray, video: ExpectedVideo | None, where: str) -> Iterator[Problem]:
    if video is not None and video.size is not None and colours.shape[:2] != tuple(video.size):
        (height, width), (rows, columns) = colours.shape[:2], video.size
        text = f"{where} is {width}x{height} pixels; {columns}x{rows} are expected"
        yield Problem("wrong sizes", text, "write pictures in the size of the benchmark's ground truth")


def _wrong_segments(
    areas: Mapping[int, int], segments: list[dict[str, Any]], ids: list[int], where: str
) -> Iterator[Problem]:
    repeated = sorted({number for number in ids if ids.count(number) > 1})
    unlisted = sorted(set(areas) - set(ids) - {0})
    absent = sorted(set(ids) - set(areas))
    for kind, numbers in (("repeated ids", repeated), ("unlisted ids", unlisted), ("ids without pixels", absent)):
        if numbers:
            yield Problem(kind, f"{where}: {some_of(numbers)}", MEND_SEGMENTS)
    for segment in segments:
        stated, counted = segment.get("area"), areas.get(segment["id"])
        if stated is not None and counted is not None and stated != counted:
            text = f"{where}: segment {segment['id']} has {counted} pixels, its area says {stated}"
            yield Problem("wrong areas", text, "count the pixels of the picture, or leave the area out")

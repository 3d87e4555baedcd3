"""Check submissions in JSON: entries, ids, scores and run-length masks of tracks, pictures and BURST sequences."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from univs.errors import UserError
from univs.evaluation.annotations import member, read_json
from univs.evaluation.coded_masks import mask_area
from univs.evaluation.submissions import Submission
from univs.evaluation.submissions.expected import Expected, ExpectedVideo
from univs.evaluation.submissions.problems import Problem, some_of

MEND_ENTRY = "write every entry with all of its fields, ids as integers and scores as numbers"
MEND_MASK = "encode masks with pycocotools in the size of the video's frames, counts as text"


def check_tracks(folder: Path, submission: Submission, expected: Expected | None) -> Iterator[Problem]:
    """Problems of a list of tracks."""
    numbers = expected.by_number() if expected else {}
    entries = read_json(folder / submission.file, list)
    for index, entry in enumerate(entries):
        where = f"entry {index}"
        try:
            member(entry, "score", float, where)
            masks = member(entry, "segmentations", list, where)
            video = _numbered(numbers, entry.get("video_id"))
        except UserError as error:
            yield Problem("malformed entries", str(error), MEND_ENTRY)
            continue
        yield from _unknown_ids(entry, "video_id", where, numbers)
        yield from _unknown_category(entry, where, expected)
        yield from _track_masks(masks, where, video)
    if not entries:
        yield Problem("no entries", f"{submission.file} is an empty list", "the server stops at it; add what was found")


def _track_masks(masks: list[Any], where: str, video: ExpectedVideo | None) -> Iterator[Problem]:
    if video and video.frames and len(masks) != len(video.frames):
        text = f"{where} has {len(masks)} masks; video {video.number} has {len(video.frames)} frames"
        yield Problem("number of frames", text, "give one mask per frame, null where nothing is seen")
    for frame, mask in enumerate(masks):
        if mask is not None:
            yield from _wrong_mask(mask, video.size if video else None, f"{where}, frame {frame}")


def check_objects(folder: Path, submission: Submission, expected: Expected | None) -> Iterator[Problem]:
    """Problems of a list of objects of pictures."""
    numbers = expected.by_number() if expected else {}
    for index, entry in enumerate(read_json(folder / submission.file, list)):
        where = f"entry {index}"
        try:
            member(entry, "score", float, where)
            mask = member(entry, "segmentation", dict, where)
        except UserError as error:
            yield Problem("malformed entries", str(error), MEND_ENTRY)
            continue
        yield from _unknown_ids(entry, "image_id", where, numbers)
        yield from _unknown_category(entry, where, expected)
        picture = _numbered(numbers, entry.get("image_id"))
        yield from _wrong_mask(mask, picture.size if picture else None, where)


def check_burst(folder: Path, submission: Submission, expected: Expected | None) -> Iterator[Problem]:
    """Problems of a list of BURST sequences."""
    content = read_json(folder / submission.file, dict)
    sequences = member(content, "sequences", list, submission.file)
    names = []
    for index, sequence in enumerate(sequences):
        where = f"sequence {index}"
        try:
            dataset, name = member(sequence, "dataset", str, where), member(sequence, "seq_name", str, where)
            names.append(f"{dataset}/{name}")
            tracks = member(sequence, "track_category_ids", dict, where)
            frames = member(sequence, "segmentations", list, where)
        except UserError as error:
            yield Problem("malformed sequences", str(error), "write the sequences as in the benchmark's own file")
            continue
        video = expected.videos.get(names[-1]) if expected else None
        yield from _burst_frames(frames, tracks, sequence, names[-1], video)
    yield from _burst_names(names, expected)


def _burst_names(names: list[str], expected: Expected | None) -> Iterator[Problem]:
    for name, count in Counter(names).items():
        if count > 1:
            yield Problem("repeated sequences", name, "write each sequence once")
    for name in sorted(set(expected.videos) - set(names)) if expected else ():
        yield Problem("missing sequences", name, "write a sequence for each of the list, also without tracks")
    for name in sorted(set(names) - set(expected.videos)) if expected else ():
        yield Problem("unknown sequences", name, "remove it, or check its name against the list")


def _burst_frames(
    frames: list[Any], tracks: Mapping[str, Any], sequence: Mapping[str, Any], name: str, video: ExpectedVideo | None
) -> Iterator[Problem]:
    listed = sequence.get("annotated_image_paths")
    count = len(video.frames) if video and video.frames else len(listed) if isinstance(listed, list) else len(frames)
    if len(frames) != count:
        text = f"{name} has masks of {len(frames)} frames; {count} are expected"
        yield Problem("number of frames", text, "write an entry per annotated frame, {} where nothing is seen")
    size = video.size if video else None
    size = size or (sequence.get("height"), sequence.get("width"))
    for track, category in tracks.items():
        if not track.isdecimal() or int(track) < 1 or not isinstance(category, int):
            text = f"{name} has the track {track!r} of category {category!r}"
            yield Problem("track ids", text, "track ids are texts of numbers from 1, categories are integers")
    for frame, entries in enumerate(frames):
        if not isinstance(entries, dict):
            yield Problem("malformed frames", f"{name}, frame {frame}", "a frame is an object of tracks")
            continue
        for track, entry in entries.items():
            where = f"{name}, frame {frame}, track {track}"
            if track not in tracks:
                mend = "list the category of every track in track_category_ids"
                yield Problem("unlisted tracks", where, mend)
            code = entry.get("rle") if isinstance(entry, dict) else None
            yield from _wrong_mask({"size": list(size), "counts": code}, None, where, empty=False)


def _numbered(numbers: Mapping[Any, ExpectedVideo], number: Any) -> ExpectedVideo | None:
    return numbers.get(number) if isinstance(number, int | str) else None


def _unknown_ids(entry: Mapping[str, Any], key: str, where: str, numbers: Mapping[Any, object]) -> Iterator[Problem]:
    number = entry.get(key)
    if isinstance(number, bool) or not isinstance(number, int | str):
        yield Problem(f"wrong {key}", f"{where} has {key} = {number!r}", "use the id of the benchmark's own list")
    elif numbers and number not in numbers:
        text = f"{where} has {key} = {number!r}; known are {some_of(list(numbers))}"
        yield Problem(f"unknown {key}", text, "the server stops at it; use the ids of the benchmark's own list")


def _unknown_category(entry: Mapping[str, Any], where: str, expected: Expected | None) -> Iterator[Problem]:
    category, known = entry.get("category_id"), set(expected.categories.values()) if expected else set()
    if isinstance(category, bool) or not isinstance(category, int):
        yield Problem("wrong category_id", f"{where} has category_id = {category!r}", "category ids are integers")
    elif known and category not in known:
        text = f"{where} has category {category}; known are {some_of(sorted(known))}"
        yield Problem("unknown categories", text, "such an entry never counts; use the ids of the benchmark's own list")


def _wrong_mask(code: Any, size: tuple[int, int] | None, where: str, empty: bool = True) -> Iterator[Problem]:
    """Problems of a run-length code; ``empty``: one without a pixel is allowed."""
    try:
        area = mask_area(code)
    except ValueError as error:
        yield Problem("malformed masks", f"{where}: {error}", MEND_MASK)
        return
    if size is not None and list(code["size"]) != list(size):
        text = f"{where} is {code['size'][1]}x{code['size'][0]} pixels; {size[1]}x{size[0]} are expected"
        yield Problem("wrong sizes", text, MEND_MASK)
    if not area and not empty:
        yield Problem("empty masks", where, "leave out tracks in frames in which they are not seen")

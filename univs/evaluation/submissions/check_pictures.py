"""Check submissions of one picture per frame: where they lie, which there are, and what their pixels hold."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path, PurePosixPath

import numpy as np

from univs.evaluation.benchmark import BrokenSequence
from univs.evaluation.label_pictures import read_label_map, read_segment_map
from univs.evaluation.submissions import Submission
from univs.evaluation.submissions.expected import Expected, ExpectedVideo
from univs.evaluation.submissions.pictures import NO_CLASS
from univs.evaluation.submissions.problems import Problem, some_of
from univs.video.images import DAMAGE, open_picture
from univs.video.palette import mask_palette

Place = tuple[str, ...]
"""Names of the folders from the top to the pictures of a video or sentence."""


Progress = Callable[[int, int], None]
"""Called with how many are done and how many there are."""


def check_pictures(
    folder: Path, submission: Submission, expected: Expected | None, on_video: Progress | None = None
) -> Iterator[Problem]:
    """Problems of a folder of pictures. on_video: called after each folder of a video or sentence."""
    files = sorted(PurePosixPath(path.relative_to(folder).as_posix()) for path in folder.rglob("*") if path.is_file())
    misplaced = list(_misplaced(files, submission))
    yield from misplaced
    if misplaced:
        return  # everything else would be wrong for the same reason
    top = len([submission.top]) if submission.top else 0
    places: dict[Place, dict[str, Path]] = {}
    for file in files:
        places.setdefault(file.parts[top:-1], {})[file.stem] = folder / file
    yield from _missing_places(places, submission, expected)
    for done, (place, pictures) in enumerate(places.items(), 1):
        video = expected.videos.get(_video_of(place, submission)) if expected else None
        yield from _missing_frames(place, pictures, video)
        yield from _wrong_pictures(folder, pictures, submission, video)
        if on_video is not None:
            on_video(done, len(places))


def _video_of(place: Place, submission: Submission) -> str:
    return place[-1] if submission.groups else place[0]


def _pattern(submission: Submission) -> str:
    parts = [submission.top, "|".join(submission.groups), "VIDEO", "EXPRESSION" * (submission.kind == "sentences")]
    return "/".join([*filter(None, parts), "FRAME.png"])


def _misplaced(files: list[PurePosixPath], submission: Submission) -> Iterator[Problem]:
    wanted = f"arrange the files as {_pattern(submission)}"
    pictures = [file for file in files if file.suffix.lower() == ".png"]
    others = [file for file in files if file.suffix.lower() != ".png"]
    if others:
        yield Problem("files that are no PNG", some_of(others), "leave them out; masks are PNG files")
    depth = submission.depth + 1
    if not pictures:
        yield Problem("no pictures", "there is no PNG file", wanted)
        return
    tops = {file.parts[0] for file in pictures}
    lengths = {len(file.parts) for file in pictures}
    if submission.top and lengths == {depth} and tops != {submission.top}:
        text = f"the videos lie at the top ({some_of(sorted(tops))})"
        yield Problem("flat", text, f"put them into one folder {submission.top} and pack that folder")
    elif submission.top and tops != {submission.top}:
        yield Problem("another top folder", some_of(sorted(tops - {submission.top})), wanted)
    elif not submission.top and lengths == {depth + 1} and len(tops) == 1:
        text = f"everything lies in one folder {tops.pop()}"
        yield Problem("nested", text, "pack the contents of that folder without the folder itself")
    else:
        depth += bool(submission.top)
        for file in pictures:
            if len(file.parts) != depth:
                yield Problem("files in the wrong place", str(file), wanted)


def _missing_places(
    places: Mapping[Place, object], submission: Submission, expected: Expected | None
) -> Iterator[Problem]:
    videos = {_video_of(place, submission) for place in places}
    if submission.videos and len(videos) != submission.videos:
        text = f"{len(videos)} videos; the server expects {submission.videos}"
        yield Problem("number of videos", text, "give a result for each of them and for no other")
    for group in submission.groups:
        if not any(place[0] == group for place in places):
            yield Problem("missing folders", group, f"all of {', '.join(submission.groups)} are expected")
    if expected is None:
        return
    wanted = _wanted_places(submission, expected)
    for place in wanted:
        if place not in places:
            yield Problem(
                "missing videos", "/".join(place), "segment them, too; where nothing is seen, with empty masks"
            )
    for place in places:
        if place not in wanted:
            yield Problem("unknown videos", "/".join(place), "remove them, or check their names against the list")


def _wanted_places(submission: Submission, expected: Expected) -> dict[Place, ExpectedVideo]:
    wanted = {}
    for name, video in expected.videos.items():
        for group in submission.groups or ("",):
            for expression in video.expressions if submission.kind == "sentences" else ("",):
                wanted[tuple(filter(None, (group, name, expression)))] = video
    return wanted


def _missing_frames(place: Place, pictures: Mapping[str, Path], video: ExpectedVideo | None) -> Iterator[Problem]:
    if video is None or not video.frames:
        return
    where = "/".join(place)
    missing = [name for name in video.frames if name not in pictures]
    extra = sorted(set(pictures) - set(video.frames))
    if missing:
        text = f"{where}: {len(missing)} of {len(video.frames)} frames are missing: {some_of(missing)}"
        yield Problem("missing frames", text, "write every frame of the list, empty ones, too, under its own name")
    if extra:
        text = f"{where}: {len(extra)} frames are not in the list: {some_of(extra)}"
        yield Problem("unknown frames", text, "keep the names of the frames, and only those of the list")


def _wrong_pictures(
    folder: Path, pictures: Mapping[str, Path], submission: Submission, video: ExpectedVideo | None
) -> Iterator[Problem]:
    size = video.size if video else None
    for path in pictures.values():
        name = path.relative_to(folder).as_posix()
        try:
            pixels = read_segment_map(path)[..., 0] if submission.kind == "labels" else read_label_map(path)
        except BrokenSequence as error:
            text = str(error).replace(f"{path}", name)
            what = "red is the class" if submission.kind == "labels" else "pixel values are the labels"
            yield Problem("unusable pictures", text, f"write 8-bit PNG files whose {what}")
            continue
        size = size or pixels.shape
        if pixels.shape != size:
            text = f"{name} is {pixels.shape[1]}x{pixels.shape[0]} pixels; {size[1]}x{size[0]} are expected"
            yield Problem("wrong sizes", text, "write masks in the size of the video's own frames")
        yield from _wrong_values(path, name, np.flatnonzero(np.bincount(pixels.ravel())).tolist(), submission, video)


def _wrong_values(
    path: Path, name: str, values: list[int], submission: Submission, video: ExpectedVideo | None
) -> Iterator[Problem]:
    if submission.kind == "sentences":
        if not set(values) <= {0, 255}:
            mend = "write 255 where the sentence is answered and 0 elsewhere"
            yield Problem("values other than 0 and 255", f"{name} has {some_of(values)}", mend)
    elif submission.kind in ("classes", "labels"):
        nothing = NO_CLASS if submission.kind == "labels" else None
        wrong = [value for value in values if value >= submission.classes and value != nothing]
        if wrong:
            mend = f"write classes from 0 to {submission.classes - 1}; every pixel needs one"
            yield Problem("unknown classes", f"{name} has {some_of(wrong)}", mend)
    else:
        wrong = sorted(set(values) - video.ids - {0}) if video and video.ids else []
        if wrong:
            text = f"{name} has {some_of(wrong)}; known are {some_of(sorted(video.ids))}"
            yield Problem("unknown ids", text, "keep the ids of the given masks; 0 is background")
        yield from _wrong_palette(path, name, values)


def _wrong_palette(path: Path, name: str, values: list[int]) -> Iterator[Problem]:
    """Notes on how the ids are shown: a picture that was made from colours may hold other ids than it seems to."""
    mend = "write palette PNG files (mode P) in the palette of the given masks"
    try:
        with open_picture(path, ("PNG",)) as image:
            shown = np.array(image.getpalette() or [], np.uint8).reshape(-1, 3)
            mode = image.mode
    except DAMAGE:
        return  # it has been read before, and is told of where it is read
    if mode != "P":
        yield Problem("no palette", f"{name} is grey", mend, note=True)
        return
    usual = mask_palette()
    for value in values:
        if value >= len(shown) or (shown[value] != usual[value]).any():
            colour = tuple(shown[value].tolist()) if value < len(shown) else "nothing"
            text = f"{name} shows the id {value} as {colour}; published masks show it as {tuple(usual[value].tolist())}"
            yield Problem("another palette", text, mend, note=True)
            return

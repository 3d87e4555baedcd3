"""From results to a submission: of a session, or of the folders that ``univs demo`` writes, into one zip file."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatch
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from pycocotools import mask as coco_mask

from univs.errors import UserError
from univs.evaluation.annotations import member, read_json
from univs.evaluation.coded_masks import mask_area
from univs.evaluation.submissions import Submission
from univs.evaluation.submissions.expected import Expected, ExpectedVideo
from univs.evaluation.submissions.video import NamedFrames, SubmissionWriter
from univs.structures import FrameResult, ObjectResult
from univs.video.files import written_whole
from univs.video.result_json import FORMAT

if TYPE_CHECKING:
    from univs.inference.session import VideoSession


def add_results(
    writer: SubmissionWriter,
    submission: Submission,
    video: ExpectedVideo,
    frames: Iterable[tuple[str, FrameResult]],
    size: tuple[int, int],
) -> None:
    """Write the results of a video: all objects at once, or, for sentences, each object as the answer to its own.

    The sentence's id is the object's name, or its id where it has no name. size: (height, width) of the masks. Frames
    are written as they come.

    Raises:
        UserError: something the benchmark has no place for.
    """
    if submission.kind == "sentences":
        writer.add_answers(video.video(size), frames, video.expressions)
    else:
        writer.add(video.video(size), frames)


def session_frames(session: VideoSession) -> NamedFrames:
    """The finished frames of a session under the names of the video's files, for ``add_results``."""
    for result in session.result():
        yield session.source.name(result.index), result


def pack_results(
    folders: Sequence[Path],
    submission: Submission,
    path: Path,
    expected: Expected | None = None,
    categories: Mapping[str, int] | None = None,
) -> list[str]:
    """Pack result folders into a zip file; returns the names of the videos.

    A video has the name of its folder. A folder without results.json stands for all result folders in it.
    categories: numbers of the benchmark's category names. Where the server wants the list under the zip file's own name
    and ``path`` has such a name, the list gets it.

    Raises:
        UserError: no results, a video that the list does not have, or something the benchmark has no place for.
    """
    found = [result for folder in folders for result in _result_folders(folder)]
    names, own_name = [], f"{path.stem}.json"
    if submission.uploaded_as and fnmatch(own_name, submission.uploaded_as):
        submission = replace(submission, file=own_name)
    with TemporaryDirectory(prefix="univs-submission-") as scratch:
        with submission.writer(Path(scratch), categories) as writer:
            for folder in found:
                names.append(_add_folder(writer, submission, folder, expected))
        zip_folder(Path(scratch), path)
    return names


def _result_folders(folder: Path) -> list[Path]:
    if (folder / "results.json").is_file():
        return [folder]
    inside = sorted(path.parent for path in folder.glob("*/results.json"))
    if not inside:
        raise UserError(f"{folder} holds no results.json; give folders that `univs demo` wrote.")
    return inside


def _add_folder(writer: SubmissionWriter, submission: Submission, folder: Path, expected: Expected | None) -> str:
    name, content = folder.resolve().name, read_json(folder / "results.json", dict)
    if content.get("format") != FORMAT:
        raise UserError(f"{folder / 'results.json'} was not written by `univs demo`.")
    if expected is not None and name not in expected.videos:
        known = ", ".join(list(expected.videos)[:3])
        raise UserError(f"The list has no video {name!r} but {known}, ...; name result folders like the videos.")
    video = expected.videos[name] if expected else ExpectedVideo(name)
    where = str(folder / "results.json")
    about = member(content, "video", dict, where)
    size = (member(about, "height", int, where), member(about, "width", int, where))
    add_results(writer, submission, video, read_frames(content, where), size)
    return name


def read_frames(content: dict[str, Any], where: str) -> NamedFrames:
    """The frames of a results.json, one after the other.

    Raises:
        UserError: an entry is malformed.
    """
    by_frame: dict[int, list[tuple[dict[str, Any], dict[str, Any]]]] = {}
    for item in member(content, "objects", list, where):
        for entry in member(item, "frames", list, where):
            by_frame.setdefault(member(entry, "frame", int, where), []).append((item, entry))
    for frame in member(content, "frames", list, where):
        index = member(frame, "index", int, where)
        objects = [_object(item, entry, where) for item, entry in by_frame.get(index, ())]
        yield member(frame, "name", str, where), FrameResult(index, objects)


def _object(item: dict[str, Any], entry: dict[str, Any], where: str) -> ObjectResult:
    code = member(entry, "segmentation", dict, where)
    try:
        mask_area(code)
    except ValueError as error:
        raise UserError(f"{where} has a malformed mask of object {item.get('id')}: {error}.") from error
    mask = coco_mask.decode(code).astype(bool)
    number, score = member(item, "id", int, where), float(member(entry, "score", float, where))
    return ObjectResult(number, mask, score, item.get("category"), item.get("name"))


def zip_folder(folder: Path, path: Path) -> None:
    """Pack the contents of a folder, without the folder itself; the file appears when it is whole.

    Raises:
        UserError: the file cannot be written.
    """
    with written_whole(path) as partial, zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                # Pictures are compressed already.
                kind = zipfile.ZIP_STORED if file.suffix == ".png" else zipfile.ZIP_DEFLATED
                archive.write(file, file.relative_to(folder).as_posix(), kind)

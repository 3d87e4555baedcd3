"""Check a submission, packed or not, before it is uploaded."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from univs.errors import UserError
from univs.evaluation.archives import CLUTTER, opened, unpacked
from univs.evaluation.submissions import Submission
from univs.evaluation.submissions.check_lists import check_burst, check_objects, check_tracks
from univs.evaluation.submissions.check_panoptic import check_image_panoptic, check_video_panoptic
from univs.evaluation.submissions.check_pictures import Progress, check_pictures
from univs.evaluation.submissions.expected import Expected
from univs.evaluation.submissions.problems import Problem

CHECKS: dict[str, Callable[[Path, Submission, Expected | None], Iterator[Problem]]] = {
    "tracks": check_tracks,
    "objects": check_objects,
    "burst": check_burst,
    "panoptic videos": check_video_panoptic,
    "panoptic pictures": check_image_panoptic,
}
"""Kind of a submission with a list -> its check; the others are pictures only."""


def check_submission(
    path: Path, submission: Submission, expected: Expected | None = None, on_video: Progress | None = None
) -> list[Problem]:
    """Everything that is wrong with a submission (a zip file, a folder, or the JSON file alone).

    on_video: called with the number of videos (or sentences) whose pictures are checked, and of all.

    Raises:
        UserError: it is not there, or a damaged or unsafe archive.
    """
    if not path.exists():
        raise UserError(f"{path} is not there; check the path.")
    problems = list(_clutter(path))
    with unpacked(path) as content:
        folder, file = (content.parent, content) if content.is_file() else (content, content / submission.file)
        if submission.kind not in CHECKS:
            return problems + list(check_pictures(folder, submission, expected, on_video))
        if submission.uploaded_as and not (folder / submission.file).is_file():
            named = sorted(folder.glob(submission.uploaded_as))
            if len(named) == 1 and file in (named[0], folder / submission.file):
                file, submission = named[0], replace(submission, file=named[0].name)
        wrong_place = _wrong_place(file, submission, is_loose=path == content and content.is_file())
        if wrong_place is not None:
            return [*problems, wrong_place]
        try:
            return problems + list(CHECKS[submission.kind](folder, submission, expected))
        except UserError as error:
            text = str(error).replace(f"{folder}/", "")
            return [*problems, Problem("unreadable list", text, "write the list again, as whole JSON of this form")]


def _wrong_place(file: Path, submission: Submission, is_loose: bool) -> Problem | None:
    """What is wrong with the place or name of the JSON list; a loose file may have any name until it is packed."""
    if file.name == submission.file and file.is_file():
        return None
    if is_loose:
        text = f"the file is called {file.name}"
        return Problem("name of the list", text, f"call it {submission.file} and pack it, best with nothing round it")
    inside = sorted(found.relative_to(file.parent).as_posix() for found in file.parent.rglob(submission.file))
    if inside:
        return Problem(
            "nested", f"the list is {inside[0]}", "pack the contents of that folder without the folder itself"
        )
    there = sorted(found.name for found in file.parent.iterdir())[:4]
    return Problem("no list", f"there is no {submission.file}, only {', '.join(there) or 'nothing'}", "name it so")


def _clutter(path: Path) -> Iterator[Problem]:
    if path.is_file() and zipfile.is_zipfile(path):
        with opened(path) as archive:
            for name in archive.namelist():
                if CLUTTER.search(name):
                    mend = "pack without the files that file managers add"
                    yield Problem("files of a file manager", name, mend, note=True)

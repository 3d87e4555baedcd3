"""The work of ``univs submission``: check, pack, list."""

from __future__ import annotations

import argparse
from pathlib import Path

from univs.cli.progress import Progress
from univs.evaluation.submissions import SUBMISSIONS, Submission, find_submission
from univs.evaluation.submissions.check import check_submission
from univs.evaluation.submissions.expected import Expected, read_categories, read_expected
from univs.evaluation.submissions.pack import pack_results
from univs.evaluation.submissions.problems import lines_of

LAYOUTS = {
    "masks": "{top}VIDEO/FRAME.png, palette pictures of object ids",
    "sentences": "{top}VIDEO/EXPRESSION/FRAME.png, 255 where the sentence is answered, else 0",
    "classes": "{top}VIDEO/FRAME.png, grey pictures of classes from 0",
    "labels": "{top}VIDEO/FRAME.png, colours: R the class, 256 G + B the object",
    "tracks": "{file}: a list of tracks with video_id, category_id, score, segmentations",
    "objects": "{file}: a list of objects with image_id, category_id, score, segmentation, bbox",
    "burst": "{file}: the benchmark's sequences with the predicted tracks",
    "panoptic videos": "{file} and {pictures}/VIDEO/FRAME.png, id pictures",
    "panoptic pictures": "{file} and {pictures}/PICTURE.png, id pictures",
}


def check(arguments: argparse.Namespace) -> int:
    """Print what is wrong with a submission; 1 if anything is."""
    submission, expected = find_submission(arguments.benchmark), _expected(arguments)
    with Progress("Checking", "videos", leave=False) as progress:
        problems = check_submission(Path(arguments.file), submission, expected, progress)
    for line in lines_of(problems):
        print(line)
    wrong = any(not problem.note for problem in problems)
    if not wrong:
        against = "" if expected else "; without --truth-list only its form was checked"
        print(f"{arguments.file} is fit for {arguments.benchmark}{against}.")
    return int(wrong)


def pack(arguments: argparse.Namespace) -> int:
    """Pack result folders, and check what came of it; 1 if the submission is not fit yet."""
    submission, expected = find_submission(arguments.benchmark), _expected(arguments)
    path = Path(arguments.output)
    categories = dict(expected.categories) if expected else {}
    if arguments.categories:
        categories = read_categories(Path(arguments.categories))
    names = pack_results([Path(folder) for folder in arguments.folders], submission, path, expected, categories)
    print(f"Packed {len(names)} videos into {path}.")
    arguments.file = arguments.output
    return check(arguments)


def list_layouts(arguments: argparse.Namespace) -> int:
    """Print the layout of every benchmark's submissions."""
    wide = max(map(len, SUBMISSIONS))
    for name, submission in SUBMISSIONS.items():
        print(f"{name:<{wide}}  {layout_of(submission)}")
    return 0


def layout_of(submission: Submission) -> str:
    """The layout in one line."""
    folders = "".join(f"{folder}/" for folder in (submission.top, "..".join(submission.groups[::3])) if folder)
    count = f"; {submission.videos} videos" if submission.videos else ""
    return LAYOUTS[submission.kind].format(top=folders, file=submission.file, pictures=submission.pictures) + count


def _expected(arguments: argparse.Namespace) -> Expected | None:
    return read_expected(Path(arguments.truth_list)) if arguments.truth_list else None

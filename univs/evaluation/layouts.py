"""Folders of label pictures: one folder per video, one PNG per frame whose values are the ids of objects.

What cannot be scored is said in one sentence with the file, the frame and what was expected.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from univs.errors import UserError
from univs.evaluation.annotations import read_json
from univs.evaluation.benchmark import BrokenSequence
from univs.evaluation.label_pictures import read_labels

LISTED_AT_MOST = 5


def folder(path: Path, what: str) -> Path:
    """``path`` if it is a folder.

    Raises:
        UserError: it is none; ``what`` says what should be there.
    """
    if not path.is_dir():
        raise UserError(f"{path} is no folder; expected there: {what}.")
    return path


def first_folder(root: Path, candidates: Sequence[str], what: str) -> Path:
    """The first of the folders below ``root`` that is there ("" is the root itself).

    Raises:
        UserError: none of them is there.
    """
    for name in candidates:
        if (root / name).is_dir():
            return root / name
    names = " or ".join(str(root / name) for name in candidates)
    raise UserError(f"Neither {names} is a folder; expected there: {what}.")


def folders_in(root: Path) -> list[str]:
    """Names of the folders in ``root``, sorted; hidden ones are left out."""
    return sorted(entry.name for entry in root.iterdir() if entry.is_dir() and not entry.name.startswith("."))


def frames_in(video: Path) -> list[str]:
    """Names of a video's frames, sorted: its PNG files without their ending.

    Raises:
        BrokenSequence: no folder, or no PNG in it.
    """
    frames = sorted(entry.name for entry in video.glob("*.png") if not entry.name.startswith("."))
    if not frames:
        state = "holds no PNG" if video.is_dir() else "is not there"
        raise BrokenSequence(f"{video} {state}; expected one label picture per frame, FRAME.png.")
    return [name[: -len(".png")] for name in frames]


def lines_of(path: Path) -> list[str]:
    """The non-empty lines of a text file.

    Raises:
        UserError: it cannot be read.
    """
    try:
        return [line.strip() for line in path.read_text().splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read: expected a list of sequence names, one a line.") from error


def json_file(path: Path) -> dict[str, Any]:
    """Content of a JSON file that holds an object; read once and not to be changed.

    Raises:
        UserError: missing, damaged or something else inside.
    """
    try:
        changed = path.stat().st_mtime_ns
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}.") from error
    return _json_file(path, changed)


@lru_cache(maxsize=8)
def _json_file(path: Path, changed: int) -> dict[str, Any]:
    return read_json(path, dict)


def paired_labels(
    predictions: Path, truth: Path, frames: Sequence[str]
) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Frame by frame of a video: its name, the predicted and the true label picture [H, W] of one size.

    Raises:
        BrokenSequence: the video or a frame is missing, or cannot be compared.
    """
    if not predictions.is_dir():
        raise BrokenSequence(f"{predictions} is not there; expected a folder with the frames {_listed(frames)}.")
    for frame in frames:
        true = read_labels(truth / f"{frame}.png")
        yield frame, read_labels(predictions / f"{frame}.png", true.shape), true


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(f"{name}.png" for name in names[:LISTED_AT_MOST])
    return shown if len(names) <= LISTED_AT_MOST else f"{shown}, ... ({len(names)})"


def check_ids(labels: np.ndarray, highest: int, path: Path, why: str) -> None:
    """Raise BrokenSequence where a label picture holds an id above ``highest``; ``why`` says where that comes from."""
    found = int(labels.max(initial=0))
    if found > highest:
        known = f"ids 0 to {highest}" if highest else "nothing but 0"
        raise BrokenSequence(
            f"{path} (frame {path.stem}) holds the id {found}; expected {known}: {why}. If the picture was converted, "
            f"its palette may have been sorted anew{_palette_hint(path)}."
        )


def _palette_hint(path: Path) -> str:
    """A remark where a palette picture's colours are not those in which masks are published."""
    with Image.open(path) as image:
        if image.mode != "P":
            return ""
        colours = image.getpalette() or []
    return "" if colours[:6] == [0, 0, 0, 128, 0, 0] else f" (its colours begin with {colours[:6]})"

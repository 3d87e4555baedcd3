"""Panoptic results as files: a JSON list of the segments of every frame, beside a folder of id pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from univs.errors import UserError
from univs.evaluation.annotations import check_listed, frame_segments, member, unique_by
from univs.evaluation.benchmark import BrokenSequence
from univs.evaluation.label_pictures import read_segment_map
from univs.evaluation.metrics.panoptic_matching import FramePair, FrameSegments
from univs.evaluation.metrics.pixel_counts import PairCounts, pair_counts


@dataclass(frozen=True)
class ListedFrame:
    """A frame: its id picture, the entries of its segments, and the file and frame for messages."""

    picture: Path
    entries: Sequence[Any]
    where: str


@dataclass(frozen=True)
class Reading:
    """How lists of segments are understood.

    places: category id -> place. repeated: see ``frame_segments``. areas_checked: stated areas of predictions must be
    those of the picture.
    """

    places: Mapping[int, int]
    repeated: str = "add"
    areas_checked: bool = False


def find_listing(path: Path) -> tuple[Path, Path]:
    """The JSON list and the folder of pictures in ``path``, which is the folder of both or the list itself.

    Raises:
        UserError: none or several lists, or no folder that belongs to the list.
    """
    lists = [path] if path.is_file() else sorted(path.glob("*.json"))
    if len(lists) != 1:
        names = ", ".join(file.name for file in lists[:4]) or "none"
        raise UserError(f"{path} must hold one JSON list of segments beside a folder of pictures; found: {names}.")
    listing = lists[0]
    if listing.with_suffix("").is_dir():
        return listing, listing.with_suffix("")
    folders = [folder for folder in sorted(listing.parent.iterdir()) if folder.is_dir() and folder.name[0] not in "._"]
    if len(folders) != 1:
        raise UserError(
            f"{listing.parent} must hold one folder of pictures beside {listing.name}, or one named {listing.stem}; "
            f"found: {', '.join(folder.name for folder in folders[:4]) or 'none'}."
        )
    return listing, folders[0]


def listed_frame(entry: Any, folder: Path, path: Path) -> ListedFrame:
    """A frame from its entry, whose ``file_name`` is looked for in ``folder``.

    Raises:
        UserError: a malformed entry, or a file name that leads out of the folder.
    """
    name = member(entry, "file_name", str, f"An annotation of {path}")
    where = f"{path} for {name}"
    picture = folder / name
    if Path(name).is_absolute() or ".." in Path(name).parts:
        raise UserError(f"{where} has a file name that leads out of {folder}.")
    return ListedFrame(picture.with_suffix(".png"), member(entry, "segments_info", list, where), where)


def frames_by_name(entries: Sequence[Any], folder: Path, path: Path) -> dict[str, ListedFrame]:
    """Frames by the stem of their file names.

    Raises:
        UserError: a malformed or repeated entry.
    """
    frames = [listed_frame(entry, folder, path) for entry in entries]
    return unique_by(frames, lambda frame: frame.picture.stem, f"{path} for {folder.name}", "the frame")


def matching_frames(truth: Mapping[str, ListedFrame], prediction: Mapping[str, ListedFrame], path: Path) -> None:
    """See that a video is predicted in exactly the frames of its ground truth.

    Raises:
        BrokenSequence: a frame is missing or is too much.
    """
    for name, frame in truth.items():
        if name not in prediction:
            raise BrokenSequence(f"{path} has no annotation for the frame {frame.picture.parent.name}/{name}.")
    surplus = next((frame for name, frame in prediction.items() if name not in truth), None)
    if surplus is not None:
        raise BrokenSequence(f"{surplus.where} is annotated, but the ground truth has no such frame.")


def frame_pair(truth: ListedFrame, prediction: ListedFrame, reading: Reading) -> FramePair:
    """Everything that panoptic quality needs of a frame.

    Raises:
        BrokenSequence: a picture or list that is damaged, or the two do not agree.
    """
    true = read_segment_map(truth.picture)
    pairs = pair_counts(true, read_segment_map(prediction.picture, true.shape[:2]))
    segments = frame_segments(prediction.entries, reading.places, prediction.where, False, reading.repeated)
    ids, areas = pairs.total("second")
    check_listed(segments, ids, prediction.where, str(prediction.picture))
    if reading.areas_checked:
        _check_areas(segments.ids, segments.areas, dict(zip(ids.tolist(), areas.tolist(), strict=True)), prediction)
    true_segments = frame_segments(truth.entries, reading.places, truth.where, True, reading.repeated)
    return FramePair(true_segments, segments, pairs)


def _check_areas(ids: np.ndarray, stated: np.ndarray, counted: Mapping[int, int], frame: ListedFrame) -> None:
    for number, area in zip(ids.tolist(), stated.tolist(), strict=True):
        if area >= 0 and area != counted[number]:
            raise BrokenSequence(
                f"Segment {number} of {frame.where} states an area of {area}; {frame.picture} has {counted[number]} "
                "pixels of it. Leave the areas out, or count them again."
            )


def empty_prediction(truth: ListedFrame, reading: Reading) -> FramePair:
    """A frame of which nothing is predicted, from its list alone.

    Raises:
        BrokenSequence: a malformed list.
    """
    nothing = np.zeros(0, np.int64)
    segments = frame_segments(truth.entries, reading.places, truth.where, True, reading.repeated)
    none = FrameSegments(nothing, nothing, nothing.astype(bool), nothing)
    return FramePair(segments, none, PairCounts(nothing, nothing, nothing))

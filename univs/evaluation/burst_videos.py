"""Videos of tracks in the JSON layout of BURST: per annotated frame the masks of the tracks that are seen there."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from univs.errors import UserError
from univs.evaluation.annotations import coded_tracks, member, members, read_json, unique_by
from univs.evaluation.benchmark import BrokenSequence
from univs.evaluation.metrics.coded_tracks import CodedTracks


@dataclass(frozen=True)
class VideoTracks:
    """N tracks with K masks in a video of ``frames`` frames: ``categories`` and mean ``scores`` [N], ``masks``,
    ``boxes`` [K, 4] (x, y, width, height)."""

    frames: int
    categories: np.ndarray
    scores: np.ndarray
    masks: CodedTracks
    boxes: np.ndarray

    def mean_areas(self) -> np.ndarray:
        """Mean pixels [N] of each track's masks; every track has one."""
        counts = np.bincount(self.masks.rows, minlength=len(self.categories))
        return np.bincount(self.masks.rows, self.masks.areas, len(self.categories)) / np.maximum(counts, 1)

    def frame_counts(self) -> np.ndarray:
        """Numbers of masks [N] of each track."""
        return np.bincount(self.masks.rows, minlength=len(self.categories))


@dataclass(frozen=True)
class VideoFile:
    """The videos of a file by dataset/name."""

    path: Path
    split: str
    videos: Mapping[str, dict[str, Any]]
    category_names: Mapping[int, str]


def read_videos(path: Path) -> VideoFile:
    """A file of videos.

    Raises:
        UserError: it cannot be read, or is of another form.
    """
    content = read_json(path, dict)
    entries = member(content, "sequences", list, str(path))
    where = f"A sequence of {path}"
    videos = unique_by(
        entries,
        lambda entry: f"{member(entry, 'dataset', str, where)}/{member(entry, 'seq_name', str, where)}",
        str(path),
        "the video",
    )
    names = {
        member(entry, "id", int, f"A category of {path}"): str(entry.get("name", entry["id"]))
        for entry in (member(content, "categories", list, str(path)) if content.get("categories") is not None else ())
    }
    return VideoFile(path, str(content.get("split", "val")), videos, names)


def frame_names(video: Mapping[str, Any], where: str) -> list[str]:
    """Names of the annotated frames.

    Raises:
        UserError: they are missing, repeated, or not as many as there are lists of masks.
    """
    names = members(video, "annotated_image_paths", str, where)
    lists = member(video, "segmentations", list, where)
    if len(lists) != len(names):
        raise UserError(f"{where} has {len(lists)} segmentations for {len(names)} annotated_image_paths.")
    if len(set(names)) != len(names):
        raise UserError(f"{where} names a frame twice in annotated_image_paths.")
    return names


def video_tracks(video: Mapping[str, Any], frames: Sequence[str], left_out: Collection[int], where: str) -> VideoTracks:
    """The tracks of a video in the given frames, in the order in which they are first seen.

    Args:
        frames: names of the frames that are scored; all others are dropped.
        left_out: categories to leave out.

    Raises:
        BrokenSequence: a frame is missing, or something is malformed.
    """
    try:
        names = frame_names(video, where)
        categories = member(video, "track_category_ids", dict, where)
        size = [member(video, side, int, where) for side in ("height", "width")]
    except UserError as error:
        raise BrokenSequence(str(error)) from error
    by_name = dict(zip(names, video["segmentations"], strict=True))
    missing = next((name for name in frames if name not in by_name), None)
    if missing is not None:
        raise BrokenSequence(f"{where} has no annotations for the frame {missing}.")
    seen: dict[str, list[Any]] = {}
    scores: dict[str, list[float]] = {}
    for place, name in enumerate(frames):
        for track, entry in member({name: by_name[name]}, name, dict, where).items():
            if category_of(categories, track, where) not in left_out:
                masks = seen.setdefault(track, [None] * len(frames))
                masks[place] = {"size": size, "counts": entry.get("rle") if isinstance(entry, dict) else None}
                scores.setdefault(track, []).append(_score(entry, f"Track {track} of {where}, frame {name},"))
    kinds = np.array([category_of(categories, track, where) for track in seen], np.int64)
    coded = coded_tracks(list(seen.values()), [f"Track {track} of {where}" for track in seen])
    # As NumPy rounds it: equal means of different tracks must stay equal.
    means = np.array([np.mean(row) for row in scores.values()], np.float64)
    return VideoTracks(len(frames), kinds, means, coded, _boxes(coded))


def category_of(categories: Mapping[str, Any], track: str, where: str) -> int:
    """Category of a track.

    Raises:
        BrokenSequence: its id is no number, or it has no category.
    """
    if not track.isdigit():
        raise BrokenSequence(f"{where} has the track id {track!r} where a whole number is expected.")
    try:
        return member(categories, track, int, f"track_category_ids of {where}")
    except UserError as error:
        raise BrokenSequence(str(error)) from error


def _score(entry: Any, where: str) -> float:
    if not isinstance(entry, dict) or "score" not in entry:
        return 1.0
    try:
        return member(entry, "score", float, where)
    except UserError as error:
        raise BrokenSequence(str(error)) from error


def _boxes(masks: CodedTracks) -> np.ndarray:
    if not len(masks.rows):
        return np.zeros((0, 4))
    sides = zip(masks.heights.tolist(), masks.widths.tolist(), masks.codes, strict=True)
    return np.asarray(coco_mask.toBbox([{"size": [height, width], "counts": code} for height, width, code in sides]))

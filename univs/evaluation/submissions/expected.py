"""What a benchmark expects: its videos, frames, sizes, ids, sentences and categories, read from its own lists."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from univs.errors import UserError
from univs.evaluation.annotations import member, read_json
from univs.evaluation.benchmark import BrokenSequence
from univs.evaluation.label_pictures import read_label_map
from univs.evaluation.submissions.video import Video
from univs.video.images import is_picture, picture_size

FRAME_FOLDERS, MASK_FOLDERS = ("JPEGImages", "imgs", "frames"), ("Annotations",)
VOID = 255


@dataclass(frozen=True)
class ExpectedVideo:
    """A video of the list: what is not known is empty or None. size: (height, width) in pixels."""

    name: str
    frames: tuple[str, ...] = ()
    size: tuple[int, int] | None = None
    ids: frozenset[int] = frozenset()
    expressions: tuple[str, ...] = ()
    number: int | str | None = None
    entry: Mapping[str, Any] = field(default_factory=dict)

    def video(self, size: tuple[int, int], expression: str | None = None) -> Video:
        """The video as a submission writes it; ``size`` is that of its masks."""
        return Video(self.name, self.size or size, self.frames, self.number, expression, self.entry)


@dataclass(frozen=True)
class Expected:
    """All videos by name, and the numbers of the category names."""

    videos: Mapping[str, ExpectedVideo]
    categories: Mapping[str, int] = field(default_factory=dict)

    def by_number(self) -> dict[int | str, ExpectedVideo]:
        """The videos by their id in the benchmark's lists."""
        return {video.number: video for video in self.videos.values() if video.number is not None}


def read_expected(path: Path) -> Expected:
    """Read a list of videos: names in a text file, one of the usual JSON lists, or a folder of frames or masks.

    Raises:
        UserError: it is not there, empty, or of another form.
    """
    if not path.exists():
        raise UserError(f"The list {path} is not there; check the path.")
    if path.is_dir():
        found = _from_folder(path)
    elif path.suffix.lower() == ".json":
        found = _from_json(read_json(path, dict), path)
    else:
        names = [line.strip() for line in path.read_text(encoding="utf-8", errors="replace").splitlines()]
        found = Expected({name: ExpectedVideo(name) for name in names if name})
    if not found.videos:
        raise UserError(f"The list {path} names no video.")
    return found


def read_categories(path: Path) -> dict[str, int]:
    """Numbers of category names: a text file with a name per line, counted from 0, or JSON of names and numbers.

    JSON is an object of name -> number, or one with a list ``categories`` of entries with name and id.

    Raises:
        UserError: it is not there or of another form.
    """
    if path.suffix.lower() == ".json":
        content = read_json(path, dict)
        if isinstance(content.get("categories"), list):
            content = {member(entry, "name", str, str(path)): entry.get("id") for entry in content["categories"]}
        return {name: member(content, name, int, str(path)) for name in content}
    if not path.is_file():
        raise UserError(f"The list of categories {path} is not there; check the path.")
    names = [line.strip() for line in path.read_text(encoding="utf-8", errors="replace").splitlines()]
    return {name: number for number, name in enumerate(names) if name}


def _from_json(content: Mapping[str, Any], path: Path) -> Expected:
    videos = content.get("videos", content.get("sequences", content.get("images")))
    try:
        if isinstance(videos, dict):
            found = [_described(name, entry) for name, entry in videos.items()]
        elif isinstance(videos, list):
            found = [_listed(entry, str(path)) for entry in videos]
        else:
            raise UserError(f"{path} has neither videos nor sequences nor images; give the benchmark's own list.")
        categories = {entry["name"]: entry["id"] for entry in content.get("categories", ())}
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path} is no list of videos as the benchmarks have them ({error!r}).") from error
    return Expected({video.name: video for video in found}, categories)


def _described(name: str, entry: Mapping[str, Any]) -> ExpectedVideo:
    """A video of a dictionary by name: objects with the frames in which they are asked for, or sentences."""
    objects, frames = entry.get("objects", {}), entry.get("frames", ())
    if not frames:
        frames = sorted({frame for item in objects.values() for frame in item.get("frames", ())})
    return ExpectedVideo(
        name,
        tuple(map(str, frames)),
        ids=frozenset(int(number) for number in objects),
        expressions=tuple(map(str, entry.get("expressions", ()))),
    )


def _listed(entry: Mapping[str, Any], where: str) -> ExpectedVideo:
    """A video (or picture) of a list."""
    if "video_id" in entry:
        images = member(entry, "images", list, where)
        number, files = entry["video_id"], [image["file_name"] for image in images]
        return ExpectedVideo(str(number), _stems(files), _size(images[0]) if images else None, number=number)
    if "seq_name" in entry:
        files = entry["annotated_image_paths"]
        kept = {name: value for name, value in entry.items() if name != "segmentations"}
        name = f"{entry['dataset']}/{entry['seq_name']}"
        return ExpectedVideo(name, _stems(files), _size(entry), number=entry.get("id"), entry=kept)
    files = entry.get("file_names") or [entry["file_name"]]
    parent = PurePosixPath(files[0]).parent.name if "file_names" in entry else PurePosixPath(files[0]).stem
    return ExpectedVideo(parent or str(entry["id"]), _stems(files), _size(entry), number=entry["id"])


def _stems(files: list[str]) -> tuple[str, ...]:
    return tuple(PurePosixPath(file).stem for file in files)


def _size(entry: Mapping[str, Any]) -> tuple[int, int] | None:
    return (entry["height"], entry["width"]) if "height" in entry and "width" in entry else None


def _from_folder(path: Path) -> Expected:
    """Videos as folders of frames, of masks, or of both side by side."""
    frames, masks = _first_folder(path, FRAME_FOLDERS), _first_folder(path, MASK_FOLDERS)
    frames = frames or (path if masks is None else None)
    videos = {}
    for folder in sorted((frames or masks).iterdir()):
        if folder.is_dir():
            pictures = sorted(file for file in folder.iterdir() if is_picture(file))
            are_masks = all(file.suffix.lower() == ".png" for file in pictures)
            size = picture_size(pictures[0]) if pictures else None
            # Masks are often published for some frames only, so their names say nothing about what is missing.
            names = () if are_masks else tuple(file.stem for file in pictures)
            masks_here = masks / folder.name if masks else folder
            ids = _ids_of(masks_here) if masks or are_masks else frozenset()
            videos[folder.name] = ExpectedVideo(folder.name, names, size, ids)
    return Expected(videos)


def _first_folder(path: Path, names: tuple[str, ...]) -> Path | None:
    return next((path / name for name in names if (path / name).is_dir()), None)


def _ids_of(folder: Path) -> frozenset[int]:
    """Ids of all objects in a folder of masks."""
    found: set[int] = set()
    try:
        for file in sorted(folder.glob("*.png")):
            found.update(np.unique(read_label_map(file)).tolist())
    except BrokenSequence as error:
        raise UserError(str(error)) from error
    return frozenset(found - {0, VOID})

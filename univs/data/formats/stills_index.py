"""Still pictures with palette PNG masks and one ``index.json`` per source.

Layout under the root: ``stills/<source>/{images/<name>.jpg,masks/<name>.png,index.json}``. The value of a mask pixel
is the id of an object of the picture; objects of ``iscrowd`` 1 are groups and no target.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .json_files import checked_id, complete_entries, read_json


@dataclass(frozen=True)
class StillObject:
    """One object of a still: ``box`` is (x0, y0, x1, y1) with exclusive right and bottom, ``area`` in pixels."""

    object_id: int
    categories: tuple[str, ...]
    area: int
    box: tuple[int, int, int, int]
    is_thing: bool
    is_crowd: bool


@dataclass(frozen=True)
class StillPicture:
    """One annotated picture. ``partial_annotation``: there may be things in it that are not labelled."""

    name: str
    source: str
    width: int
    height: int
    image_file: Path
    mask_file: Path
    objects: tuple[StillObject, ...]
    partial_annotation: bool


def is_held_back(name: str, every: int = 10) -> bool:
    """Whether a picture belongs to the validation stills: one in ``every``, decided by the name alone.

    The same picture in two sources has the same name and so falls on the same side.
    """
    return int.from_bytes(hashlib.sha1(name.encode()).digest()[:4], "big") % every == 0


def read_stills(root: Path, split: str) -> list[StillPicture]:
    """All stills of ``split`` ("train", "val" or "all") of every source under ``root``, in a fixed order.

    Raises:
        UserError: an index is not as ``datasets/README.md`` describes it.
    """
    pictures = []
    for index_file in sorted((root / "stills").glob("*/index.json")):
        with complete_entries(index_file):
            pictures += [_picture(index_file.parent, entry) for entry in read_json(index_file)]
    return [item for item in pictures if split == "all" or is_held_back(item.name) == (split == "val")]


def _picture(folder: Path, entry: dict[str, Any]) -> StillPicture:
    breed = (entry["breed"],) if entry.get("breed") else ()
    return StillPicture(
        name=Path(entry["image"]).stem,
        source=folder.name,
        width=entry["width"],
        height=entry["height"],
        image_file=folder / entry["image"],
        mask_file=folder / entry["mask"],
        objects=tuple(_object(item, breed) for item in entry["objects"]),
        partial_annotation=bool(entry.get("partial_annotation", False)),
    )


def _object(item: dict[str, Any], breed: tuple[str, ...]) -> StillObject:
    return StillObject(
        object_id=checked_id(item["id"]),
        categories=(item["category"], *breed),
        area=item["area"],
        box=tuple(item["bbox_xyxy"]),
        is_thing=bool(item.get("isthing", 1)),
        is_crowd=bool(item.get("iscrowd", 0)),
    )

"""Videos as folders of JPEG frames beside folders of palette PNG masks.

The value of a mask pixel is the object id, 0 is the background; ids are constant over a sequence. Two layouts are
read: the one of the large benchmarks, ``<images>/<video>/*.jpg`` and ``<masks>/<video>/*.png`` with a list of videos,
and the development data's, described by ``manifest.json``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from univs.errors import UserError

from .expressions import read_expressions
from .json_files import checked_id, complete_entries, read_json


@dataclass(frozen=True)
class VideoSequence:
    """One annotated video. ``categories`` and ``expressions`` are by object id; sizes in pixels.

    ``mask_files`` has None where a frame is not annotated.
    """

    name: str
    source: str
    width: int
    height: int
    image_files: tuple[Path, ...]
    mask_files: tuple[Path | None, ...]
    categories: dict[int, tuple[str, ...]]
    expressions: dict[int, tuple[str, ...]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.image_files)


def read_sequences(root: Path, split: str) -> list[VideoSequence]:
    """All sequences of ``split`` ("train" or "val") that the manifest under ``root`` lists, sorted by name.

    Sequences named under ``validation_sequences`` belong to "val" whatever else the manifest says of them, so that
    they cannot slip into training.

    Raises:
        UserError: the manifest is missing or not as ``datasets/README.md`` describes it.
    """
    file = root / "manifest.json"
    manifest = read_json(file)
    kept_apart = set(manifest.get("validation_sequences", ()))
    expressions = read_expressions(root / "expressions.json")
    found = []
    with complete_entries(file):
        for name, entry in sorted(manifest["sequences"].items()):
            if ("val" if name in kept_apart else entry["split"]) == split:
                found.append(_sequence(root, name, entry, expressions))
    return found


def _sequence(root: Path, name: str, entry: dict[str, Any], expressions: dict) -> VideoSequence:
    folder = root / "videos" / entry["source"] / name
    stems = [f"{index:05d}" for index in range(entry["frames"])]
    return VideoSequence(
        name=name,
        source=entry["source"],
        width=entry["width"],
        height=entry["height"],
        image_files=tuple(folder / "JPEGImages" / f"{stem}.jpg" for stem in stems),
        mask_files=tuple(folder / "Annotations" / f"{stem}.png" for stem in stems),
        categories={checked_id(key): tuple(item["categories"]) for key, item in entry["objects"].items()},
        expressions=expressions.get(name, {}),
    )


def read_palette_videos(images: Path, masks: Path, names_file: Path | None = None) -> list[VideoSequence]:
    """Videos of the benchmark layout, sorted by name; ``names_file`` lists those that are wanted, one a line.

    Frames without a mask file (only some are annotated) have None in ``mask_files``. Sizes are 0, that is unknown
    until a frame is decoded; categories are unknown.

    Raises:
        UserError: a folder or the list is missing, or a listed video has no frames.
    """
    if not images.is_dir():
        raise UserError(f"The folder {images} is missing; see datasets/README.md for the layout that is expected.")
    return [_palette_video(images / name, masks / name) for name in _video_names(images, names_file)]


def _video_names(images: Path, names_file: Path | None) -> list[str]:
    if names_file is None:
        return sorted(folder.name for folder in images.iterdir() if folder.is_dir())
    if not names_file.is_file():
        raise UserError(f"{names_file}, the list of videos, is missing; see datasets/README.md for the layout.")
    return sorted(line.strip() for line in names_file.read_text(encoding="utf-8").splitlines() if line.strip())


def _palette_video(images: Path, masks: Path) -> VideoSequence:
    frames = sorted(path for path in images.glob("*") if path.suffix.lower() in (".jpg", ".jpeg", ".png"))
    if not frames:
        raise UserError(f"The video folder {images} has no frames; see datasets/README.md for the layout.")
    annotated = {path.stem: path for path in masks.glob("*.png")}
    return VideoSequence(
        name=images.name,
        source=images.parent.name,
        width=0,
        height=0,
        image_files=tuple(frames),
        mask_files=tuple(annotated.get(frame.stem) for frame in frames),
        categories={},
    )

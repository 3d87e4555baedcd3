"""Videos as folders of JPEG frames beside folders of palette PNG masks, described by one manifest.

Layout under the root:
``videos/<source>/<sequence>/{JPEGImages,Annotations}/NNNNN.{jpg,png}``, ``manifest.json``, ``expressions.json``.
The value of a mask pixel is the object id, 0 is the background; ids are constant over a sequence.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from univs.errors import UserError

from .expressions import read_expressions


@dataclass(frozen=True)
class VideoSequence:
    """One annotated video. ``categories`` and ``expressions`` are by object id; sizes in pixels."""

    name: str
    source: str
    width: int
    height: int
    image_files: tuple[Path, ...]
    mask_files: tuple[Path, ...]
    categories: dict[int, tuple[str, ...]]
    expressions: dict[int, tuple[str, ...]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.image_files)


def read_json(path: Path) -> Any:
    """Read a JSON file of a data set.

    Raises:
        UserError: the file is missing or is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path} is missing; see datasets/README.md for the layout that is expected there.") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not valid JSON ({error}); fetch or build the data set again.") from None


def read_sequences(root: Path, split: str) -> list[VideoSequence]:
    """All sequences of ``split`` ("train" or "val") that the manifest under ``root`` lists, sorted by name.

    Sequences named under ``validation_sequences`` belong to "val" whatever else the manifest says of them, so that
    they cannot slip into training.
    """
    manifest = read_json(root / "manifest.json")
    kept_apart = set(manifest.get("validation_sequences", ()))
    expressions = read_expressions(root / "expressions.json")
    found = []
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
        categories={int(key): tuple(item["categories"]) for key, item in entry["objects"].items()},
        expressions=expressions.get(name, {}),
    )

"""Tiny held-back stills in the layout of datasets/README.md: two squares each."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np

from univs.data.formats.stills_index import is_held_back
from univs.video.palette import write_palette_mask

from .data_folder import square_ids


def write_stills(root: Path, count: int) -> Path:
    """``count`` pictures that training leaves out, with a cat and a dog of 20 x 20 pixels."""
    folder = root / "stills" / "squares"
    for part in ("images", "masks"):
        (folder / part).mkdir(parents=True)
    names = [name for name in map(str, range(100)) if is_held_back(name)][:count]
    entries = []
    for name in names:
        ids = square_ids(0, 0)
        cv2.imwrite(str(folder / "images" / f"{name}.jpg"), np.stack([ids * 90] * 3, 2))
        write_palette_mask(folder / "masks" / f"{name}.png", ids)
        objects = [
            {"id": i, "category": word, "area": 400, "bbox_xyxy": [0, 0, 20, 20]}
            for i, word in ((1, "cat"), (2, "dog"))
        ]
        files = {"image": f"images/{name}.jpg", "mask": f"masks/{name}.png"}
        entries.append({**files, "width": 80, "height": 60, "objects": objects})
    (folder / "index.json").write_text(json.dumps(entries))
    return root

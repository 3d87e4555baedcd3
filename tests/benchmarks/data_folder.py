"""A tiny data folder in the layout of datasets/README.md: squares that move over noise."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np

from univs.video.palette import write_palette_mask

SIZE = (60, 80)
FRAMES = 5
SIDE = 20


def square_ids(frame: int, step: int) -> np.ndarray:
    """Ids [H, W]: a square 1 that moves ``step`` pixels to the right per frame, and a square 2 that stays."""
    ids = np.zeros(SIZE, np.uint8)
    ids[5 : 5 + SIDE, 5 + step * frame : 5 + step * frame + SIDE] = 1
    ids[35 : 35 + SIDE, 50 : 50 + SIDE] = 2
    return ids


def write_data_folder(root: Path, steps: dict[str, int]) -> Path:
    """One sequence for each name of ``steps``, moving so many pixels per frame; those named "val..." are validation."""
    manifest = {"validation_sequences": [name for name in steps if name.startswith("val")], "sequences": {}}
    for name, step in steps.items():
        folder = root / "videos" / "squares" / name
        for part in ("JPEGImages", "Annotations"):
            (folder / part).mkdir(parents=True)
        noise = np.random.default_rng(0).integers(0, 60, (*SIZE, 3), np.uint8)
        for frame in range(FRAMES):
            ids = square_ids(frame, step)
            image = noise.copy()
            image[ids == 1], image[ids == 2] = (200, 180, 40), (40, 90, 220)
            cv2.imwrite(str(folder / "JPEGImages" / f"{frame:05d}.jpg"), image)
            write_palette_mask(folder / "Annotations" / f"{frame:05d}.png", ids)
        objects = {str(i): {"categories": ["square"]} for i in (1, 2)}
        entry = {"source": "squares", "split": "train", "frames": FRAMES, "width": SIZE[1], "height": SIZE[0]}
        manifest["sequences"][name] = {**entry, "objects": objects}
    (root / "manifest.json").write_text(json.dumps(manifest))
    return root

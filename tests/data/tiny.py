"""A tiny data folder: coloured squares on noise, as video and as stills."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image

HEIGHT, WIDTH, FRAMES, SIDE = 48, 80, 6, 16
RED, GREEN = (230, 30, 30), (30, 220, 40)
STEP = 4  # pixels that the square of a video moves to the right in each frame


def make_data(root: Path, stills: int = 12) -> Path:
    """Write videos "east" and "two" (train) and "kept" (validation), and ``stills`` pictures; returns ``root``."""
    _write_json(root / "manifest.json", {"validation_sequences": ["kept"], "sequences": _videos(root)})
    sentences = [{"sequence": "east", "source": "own", "object_id": 1, "expressions": ["the red one on the left"]}]
    _write_json(root / "expressions.json", sentences)
    _write_json(root / "stills/own/index.json", [_still(root / "stills/own", number) for number in range(stills)])
    return root


def save_palette(path: Path, ids: np.ndarray) -> None:
    """Save an id map [H, W] uint8 as a palette PNG whose colours are not its values."""
    picture = Image.fromarray(ids, mode="P")
    picture.putpalette([value for key in range(256) for value in (255 - key, key, 7)])
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path)


def save_picture(path: Path, pixels: np.ndarray) -> None:
    """Save a picture [H, W, 3] uint8 as a JPEG of high quality."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, quality=97, subsampling=0)


def _videos(root: Path) -> dict:
    entries = {}
    for name, split, keys in (("east", "train", (1,)), ("two", "train", (1, 2)), ("kept", "train", (1,))):
        for frame in range(FRAMES):
            pixels, ids = _noise(frame), np.zeros((HEIGHT, WIDTH), np.uint8)
            for key in keys:
                _square(pixels, ids, 4 + STEP * frame + 34 * (key - 1), 6 + 14 * (key - 1), key)
            folder = root / "videos/own" / name
            save_picture(folder / f"JPEGImages/{frame:05d}.jpg", pixels)
            save_palette(folder / f"Annotations/{frame:05d}.png", ids)
        objects = {str(key): {"categories": ["square"]} for key in keys}
        sizes = {"frames": FRAMES, "width": WIDTH, "height": HEIGHT}
        entries[name] = {"source": "own", "split": split, "objects": objects, **sizes}
    return entries


def _still(folder: Path, number: int) -> dict:
    pixels, ids = _noise(100 + number), np.zeros((HEIGHT, WIDTH), np.uint8)
    boxes = [_square(pixels, ids, 6 + number, 8, 1), _square(pixels, ids, 50, 20, 2)]
    save_picture(folder / f"images/{number}.jpg", pixels)
    save_palette(folder / f"masks/{number}.png", ids)
    objects = [
        {"id": key, "category": name, "area": SIDE * SIDE, "bbox_xyxy": box, "isthing": 1, "iscrowd": 0}
        for key, name, box in zip((1, 2), ("square", "tile"), boxes, strict=True)
    ]
    files = {"image": f"images/{number}.jpg", "mask": f"masks/{number}.png"}
    return {**files, "width": WIDTH, "height": HEIGHT, "objects": objects, "partial_annotation": number % 2 == 1}


def _square(pixels: np.ndarray, ids: np.ndarray, x: int, y: int, key: int) -> list[int]:
    pixels[y : y + SIDE, x : x + SIDE] = RED if key == 1 else GREEN
    ids[y : y + SIDE, x : x + SIDE] = key
    return [x, y, x + SIDE, y + SIDE]


def _noise(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(60, 160, (HEIGHT, WIDTH, 3)).astype(np.uint8)


def _write_json(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))

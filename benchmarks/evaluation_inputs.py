"""Larger ground truths and predictions for timing evaluation: shapes that move by rules of whole numbers.

No random numbers and no fractions, so the files hold the same masks on every machine. A prediction is the ground truth
with every shape a little displaced and resized.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

SIZE = 480, 854
STUFF_AND_THINGS = 60, 102, 28, 9


def swing(place: int, span: int) -> int:
    """A place that goes to and fro between 0 and ``span``."""
    place %= 2 * span
    return min(place, 2 * span - place)


class MovingShape:
    """An ellipse, or every third time a box, that crosses the picture and turns round at its sides."""

    def __init__(self, number: int, size: tuple[int, int], salt: int = 0) -> None:
        self.number, self.size = number, size
        height, width = size
        mixed = number * 7919 + salt * 104729 + 13
        self.radii = height // 12 + (mixed * 31) % (height // 7), width // 16 + (mixed * 17) % (width // 8)
        self.start = (mixed * 53) % height, (mixed * 97) % width
        self.speed = 1 + (mixed * 3) % 5, 1 + (mixed * 5) % 7

    def draw(self, labels: np.ndarray, time: int, label: int, displaced: tuple[int, int, int] = (0, 0, 0)) -> None:
        """Paint ``label`` on [H, W]; ``displaced``: pixels down, to the right, and added to both radii."""
        sides = zip(self.start, self.speed, self.size, displaced, strict=False)
        centre = [swing(start + speed * time, side - 1) + shift for start, speed, side, shift in sides]
        radii = [max(radius + displaced[2], 2) for radius in self.radii]
        begin = [max(place - radius, 0) for place, radius in zip(centre, radii, strict=True)]
        end = [min(place + radius + 1, side) for place, radius, side in zip(centre, radii, self.size, strict=True)]
        if begin[0] >= end[0] or begin[1] >= end[1]:
            return
        window = labels[begin[0] : end[0], begin[1] : end[1]]
        if self.number % 3 == 2:
            window[:] = label
            return
        down = np.arange(begin[0], end[0], dtype=np.int64)[:, None] - centre[0]
        right = np.arange(begin[1], end[1], dtype=np.int64)[None] - centre[1]
        vertical, horizontal = radii[0] ** 2, radii[1] ** 2
        window[down**2 * horizontal + right**2 * vertical <= vertical * horizontal] = label


def displacement(number: int, time: int) -> tuple[int, int, int]:
    """How far the prediction of a shape is off in a frame: down, to the right, and its radii."""
    return (time * 7 + number * 3) % 9 - 4, (time * 5 + number * 11) % 13 - 6, (time * 3 + number) % 5 - 2


def label_maps(shapes: Sequence[MovingShape], time: int) -> tuple[np.ndarray, np.ndarray]:
    """True and predicted labels [H, W] of a frame: shapes 1, 2, ... over each other."""
    truth, prediction = (np.zeros(shapes[0].size, np.int64) for _ in range(2))
    for label, shape in enumerate(shapes, 1):
        shape.draw(truth, time, label)
        shape.draw(prediction, time, label, displacement(shape.number, time))
    return truth, prediction


def mark_all(labels: np.ndarray, count: int) -> None:
    """Give every object a corner of a first frame, so that none is hidden there."""
    for number in range(count):
        labels[4 * number : 4 * number + 3, :3] = number + 1


def write_palette(path: Path, labels: np.ndarray) -> None:
    """Write labels [H, W] as a palette PNG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(labels.astype(np.uint8)).convert("P")
    picture.putpalette([(label * factor) % 256 for label in range(256) for factor in (67, 131, 29)])
    picture.save(path)


def write_text(path: Path, text: str) -> None:
    """Write a text file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def write_json(path: Path, content: Any) -> None:
    """Write a JSON file."""
    write_text(path, json.dumps(content))


def write_given_objects(root: Path, size: tuple[int, int] = SIZE, frames: int = 60) -> None:
    """Four objects to be followed, in the layout of DAVIS."""
    _write_objects(root, "Annotations", size, frames, objects=4, proposals=0)


def write_found_objects(root: Path, size: tuple[int, int] = SIZE, frames: int = 20) -> None:
    """Three objects and six proposals, in the layout of DAVIS."""
    _write_objects(root, "Annotations_unsupervised", size, frames, objects=3, proposals=3)


def _write_objects(
    root: Path, annotations: str, size: tuple[int, int], frames: int, objects: int, proposals: int
) -> None:
    shapes = [MovingShape(number, size) for number in range(objects)]
    more = [MovingShape(50 + number, size) for number in range(proposals)]
    for time in range(frames):
        truth, prediction = label_maps(shapes, time)
        for label, shape in enumerate(more, objects + 1):
            behind = np.zeros_like(prediction)
            shape.draw(behind, time, label)
            prediction = np.where(prediction == 0, behind, prediction)
        if time == 0:
            mark_all(truth, objects)
        write_palette(root / "gt" / annotations / "480p" / "speed" / f"{time:05d}.png", truth)
        write_palette(root / "pred" / "speed" / f"{time:05d}.png", prediction)
    write_text(root / "gt" / "ImageSets" / "2017" / "val.txt", "speed\n")


def write_things_and_stuff(root: Path, size: tuple[int, int] = SIZE, frames: int = 20, objects: int = 12) -> None:
    """Objects of four classes, all given in the first frame, in the layout of VIPOSeg."""
    shapes = [MovingShape(number, size) for number in range(objects)]
    for time in range(frames):
        truth, prediction = label_maps(shapes, time)
        write_palette(root / "gt" / "Annotations_gt" / "1_speed" / f"{time:08d}.png", truth)
        write_palette(root / "pred" / "1_speed" / f"{time:08d}.png", prediction)
        if time == 0:
            mark_all(truth, objects)
            write_palette(root / "gt" / "Annotations" / "1_speed" / f"{time:08d}.png", truth)
    classes = {str(number + 1): STUFF_AND_THINGS[number % 4] for number in range(objects)}
    write_json(root / "gt" / "obj_class.json", {"1_speed": classes})

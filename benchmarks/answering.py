#!/usr/bin/env python3
"""How well prompts are answered on one picture: overlap (IoU) on the stills that are held back from training.

Every thing that covers at least ``--smallest`` of its picture is prompted alone: with clicks, each next one at the
innermost point of the largest error of the answer so far, with its box, and with its box and one click. "of other
things" is the share of the answer to one click that lies on other labelled things; "best of 3" takes the best of that
answer and its alternatives. What is chosen in training is chosen by these figures.

Examples:
  python benchmarks/answering.py
  python benchmarks/answering.py --weights output/univs_mini.safetensors --pictures 40 --json
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import cv2  # noqa: E402
import numpy as np  # noqa: E402

from benchmarks.following import next_click  # noqa: E402
from benchmarks.program import exit_code_of  # noqa: E402
from univs import runtime  # noqa: E402
from univs.data.catalog import development_root  # noqa: E402
from univs.data.formats.stills_index import StillPicture, read_stills  # noqa: E402
from univs.data.picture_store import PictureStore  # noqa: E402
from univs.data.prompt_drawing import tight_box  # noqa: E402
from univs.errors import UserError  # noqa: E402
from univs.inference.loading import load_segmenter  # noqa: E402
from univs.inference.segmenter import UniVSSegmenter  # noqa: E402
from univs.structures import BoxPrompt, PointPrompt, Prompt  # noqa: E402

CLICKS = (1, 2, 3, 5)


def main() -> int:
    """Entry point; exit code 2 for a user's mistake."""
    return exit_code_of(run, "answering", _parser().parse_args())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="univs_mini", help="name of a shipped model, or a config")
    parser.add_argument("--weights", help="weights instead of the shipped ones")
    parser.add_argument("--quality", default="default", help="default or high")
    parser.add_argument("--split", choices=("val", "train"), default="val")
    parser.add_argument("--pictures", type=int, default=0, help="so many pictures, evenly spread; 0: all")
    parser.add_argument("--smallest", type=float, default=0.005, help="share of the picture from which a thing counts")
    parser.add_argument("--per-picture", type=int, default=3, help="most things of a picture, the largest ones")
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line")
    runtime.add_device_argument(parser)
    return parser


def run(arguments: argparse.Namespace) -> dict[str, float]:
    """Mean overlaps by kind of prompt; prints them, and how they are for things that touch another one."""
    runtime.prepare(arguments.device, arguments.threads)
    segmenter = load_segmenter(arguments.model, arguments.weights, arguments.device, arguments.quality)
    pictures = read_stills(development_root(), arguments.split)
    if not pictures:
        raise UserError(f"There are no stills below {development_root()}; set UNIVS_DATA.")
    if arguments.pictures:
        places = np.linspace(0, len(pictures) - 1, min(arguments.pictures, len(pictures)))
        pictures = [pictures[int(i)] for i in places]
    values: dict[str, list[float]] = defaultdict(list)
    touching: dict[str, list[float]] = defaultdict(list)
    for row, touches in _rows(segmenter, pictures, arguments.smallest, arguments.per_picture):
        for name, value in row.items():
            values[name].append(value)
            if touches:
                touching[name].append(value)
    if not values:
        raise UserError(f"No thing covers {arguments.smallest} of its picture; give a smaller --smallest.")
    count = len(next(iter(values.values())))
    print(f"{count} things in {len(pictures)} pictures; in brackets the {len(touching['1 click'])} that touch another")
    for name, found in values.items():
        beside = f"  ({np.mean(touching[name]):.3f})" if touching[name] else ""
        print(f"{name:16} {np.mean(found):.3f}{beside}")
    return {name: float(np.mean(found)) for name, found in values.items()}


def _rows(
    segmenter: UniVSSegmenter, pictures: list[StillPicture], smallest: float, most: int
) -> Iterator[tuple[dict[str, float], bool]]:
    """Figures of every thing, and whether it touches another one."""
    store = PictureStore()
    for picture in pictures:
        image, ids = store.image(picture.image_file), store.mask(picture.mask_file)
        groups = [item.object_id for item in picture.objects if item.is_crowd]
        things = [item for item in picture.objects if item.is_thing and not item.is_crowd]
        things = sorted((item for item in things if item.area >= smallest * ids.size), key=lambda item: -item.area)
        if not things:
            continue
        desk = Desk(segmenter, image)
        others = np.isin(ids, [item.object_id for item in picture.objects if item.is_thing])
        known = ~np.isin(ids, groups)
        for item in things[:most]:
            mask = ids == item.object_id
            yield overlaps(desk, mask, others & ~mask, known), _touches(mask, others & ~mask)


def _touches(mask: np.ndarray, others: np.ndarray) -> bool:
    return bool((cv2.dilate(mask.astype(np.uint8), np.ones((5, 5), np.uint8)).astype(bool) & others).any())


class Desk:
    """Answers prompts on one picture."""

    def __init__(self, segmenter: UniVSSegmenter, image: np.ndarray) -> None:
        self.segmenter, self.size = segmenter, image.shape[:2]
        self.features, self.geometry = segmenter.encode(image), segmenter.geometry(self.size)

    def answers(self, *prompts: Prompt) -> list[np.ndarray]:
        """Masks [H, W], the best first; alternatives after it where the prompt is one click."""
        found = self.segmenter.answer(self.features, self.size, prompts, None, alternatives=True)
        return [self._enlarged(answer.mask_logits.numpy()) for answer in found]

    def _enlarged(self, logits: np.ndarray) -> np.ndarray:
        values, top, left = self.geometry.enlarge(logits)
        mask = np.zeros(self.size, bool)
        mask[top : top + values.shape[0], left : left + values.shape[1]] = values > 0
        return mask


def overlaps(desk: Desk, mask: np.ndarray, others: np.ndarray, known: np.ndarray) -> dict[str, float]:
    """Overlaps of the answers to all kinds of prompts with a thing ``mask`` [H, W] where the picture is ``known``."""
    row, points, labels, answer = {}, [], [], np.zeros_like(mask)
    for count in range(1, max(CLICKS) + 1):
        point, label = next_click(answer & known, mask)
        points.append(point)
        labels.append(label)
        answer, *alternatives = desk.answers(PointPrompt(tuple(points), tuple(labels)))
        if count in CLICKS:
            row[f"{count} click{'s' if count > 1 else ''}"] = _overlap(answer, mask, known)
        if count == 1:
            row["best of 3"] = max(_overlap(found, mask, known) for found in (answer, *alternatives))
            row["of other things"] = np.count_nonzero(answer & others) / max(1, np.count_nonzero(answer))
    box = BoxPrompt(tight_box(mask))
    (answer,) = desk.answers(box)
    row["box"] = _overlap(answer, mask, known)
    point, label = next_click(answer & known, mask)
    row["box and 1 click"] = _overlap(desk.answers(box, PointPrompt((point,), (label,)))[0], mask, known)
    return row


def _overlap(answer: np.ndarray, mask: np.ndarray, known: np.ndarray) -> float:
    both, either = answer & mask & known, (answer | mask) & known
    return np.count_nonzero(both) / max(1, np.count_nonzero(either))


if __name__ == "__main__":
    sys.exit(main())

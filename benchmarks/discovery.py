#!/usr/bin/env python3
"""How well objects are found by category: F1 at a mask overlap of 0.5 on the stills that are held back from training.

Each fully annotated picture is asked for the names of its own things and for some that are not there. A found mask is
right when its overlap (IoU) with a thing of the same name, not found before, is at least 0.5; better scores choose
first. ``--method queries`` finds with the learnable queries instead, in a model that has them.

Examples:
  python benchmarks/discovery.py
  python benchmarks/discovery.py --absent 0 --split train --pictures 100
  python benchmarks/discovery.py --method queries --model configs/mini/univs_mini_queries.yaml --weights FILE
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np  # noqa: E402
import torch  # noqa: E402

from benchmarks.program import exit_code_of  # noqa: E402
from univs import runtime  # noqa: E402
from univs.data.catalog import development_root  # noqa: E402
from univs.data.formats.stills_index import StillPicture, read_stills  # noqa: E402
from univs.data.picture_store import PictureStore  # noqa: E402
from univs.errors import UserError  # noqa: E402
from univs.inference.loading import load_segmenter  # noqa: E402
from univs.inference.protocol import Discovery  # noqa: E402
from univs.inference.segmenter import UniVSSegmenter  # noqa: E402

Finder = Callable[[np.ndarray, Sequence[str]], list[Discovery]]
RIGHT = 0.5  # IoU


def main() -> int:
    """Entry point; exit code 2 for a user's mistake."""
    return exit_code_of(run, "discovery", _parser().parse_args())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--method", choices=("dense", "queries"), default="dense")
    parser.add_argument("--model", default="univs_mini", help="name of a shipped model, or a config")
    parser.add_argument("--weights", help="weights instead of the shipped ones")
    parser.add_argument("--quality", default="default", help="default or high")
    parser.add_argument("--split", choices=("val", "train"), default="val")
    parser.add_argument("--pictures", type=int, default=0, help="at most so many pictures; 0: all")
    parser.add_argument("--absent", type=int, default=5, help="names asked about that are not in the picture")
    parser.add_argument("--threshold", type=float, default=0.3, help="least score of what a query finds")
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line")
    runtime.add_device_argument(parser)
    return parser


def run(arguments: argparse.Namespace) -> dict[str, float]:
    """Precision, recall and F1 over all pictures; prints them, and the counts of every frequent name."""
    runtime.prepare(arguments.device, arguments.threads)
    parts = "dense" if arguments.method == "dense" else "both"
    segmenter = load_segmenter(arguments.model, arguments.weights, arguments.device, arguments.quality, parts)
    find = dense_finder(segmenter) if parts == "dense" else query_finder(segmenter, arguments.threshold)
    pictures = annotated(read_stills(development_root(), arguments.split))[: arguments.pictures or None]
    if not pictures:
        raise UserError(f"There are no fully annotated stills below {development_root()}; set UNIVS_DATA.")
    right, found, wanted = count(pictures, find, segmenter, arguments.absent)
    for name, number in wanted.most_common(8):
        print(f"{name:16} {number:4} wanted {found[name]:4} found {right[name]:4} right")
    scores = overall(right.total(), found.total(), wanted.total())
    print("all              " + "  ".join(f"{name} {value:.3f}" for name, value in scores.items()))
    return scores


def annotated(pictures: Sequence[StillPicture]) -> list[StillPicture]:
    """Those in which every thing of the data set's categories is labelled."""
    return [item for item in pictures if not item.partial_annotation and any(o.is_thing for o in item.objects)]


def count(
    pictures: Sequence[StillPicture], find: Finder, segmenter: UniVSSegmenter, absent: int
) -> tuple[Counter, Counter, Counter]:
    """By name: masks that are right, masks found, things wanted."""
    store, totals = PictureStore(), (Counter(), Counter(), Counter())
    everything = sorted({name for item in pictures for name in _things(item).values()})
    for number, picture in enumerate(pictures):
        image, ids, things = store.image(picture.image_file), store.mask(picture.mask_file), _things(picture)
        others = [name for name in everything if name not in things.values()]
        rng = np.random.default_rng(number)
        names = sorted(set(things.values())) + rng.permutation(others)[:absent].tolist()
        geometry, found = segmenter.geometry(image.shape[:2]), find(image, names)
        masks = []
        for item in found:
            values, top, left = geometry.enlarge(item.mask_logits.numpy())
            mask = np.zeros(ids.shape, bool)
            mask[top : top + values.shape[0], left : left + values.shape[1]] = values > 0
            masks.append(mask)
        truth = [(name, ids == key) for key, name in things.items()]
        hits = matched([(item.category, item.score) for item in found], masks, truth)
        for total, seen in zip(totals, (hits, [item.category for item in found], things.values()), strict=True):
            total.update(seen)
    return totals


def _things(picture: StillPicture) -> dict[int, str]:
    """Name by id of the things of a picture, groups left out."""
    return {o.object_id: o.categories[0] for o in picture.objects if o.is_thing and not o.is_crowd}


def matched(
    found: Sequence[tuple[str, float]], masks: Sequence[np.ndarray], truth: Sequence[tuple[str, np.ndarray]]
) -> list[str]:
    """Names of the found (name, score) whose mask [H, W] is right; each true thing is found once."""
    hits, free = [], set(range(len(truth)))
    for place in sorted(range(len(found)), key=lambda i: -found[i][1]):
        name, mask = found[place][0], masks[place]
        overlaps = {i: _overlap(mask, truth[i][1]) for i in free if truth[i][0] == name}
        best = max(overlaps, key=overlaps.get, default=None)
        if best is not None and overlaps[best] >= RIGHT:
            hits.append(name)
            free.remove(best)
    return hits


def _overlap(first: np.ndarray, second: np.ndarray) -> float:
    return np.count_nonzero(first & second) / max(1, np.count_nonzero(first | second))


def overall(right: int, found: int, wanted: int) -> dict[str, float]:
    """Precision, recall and F1 of counts."""
    return {
        "precision": right / max(1, found),
        "recall": right / max(1, wanted),
        "F1": 2 * right / max(1, found + wanted),
    }


def dense_finder(segmenter: UniVSSegmenter) -> Finder:
    """What the session does."""
    return lambda image, names: segmenter.discover(segmenter.encode(image), image.shape[:2], names)


def query_finder(segmenter: UniVSSegmenter, threshold: float) -> Finder:
    """Every learnable query with its best name, where its probability is at least ``threshold``; repeats dropped."""
    model = segmenter.model

    @torch.inference_mode()
    def find(image: np.ndarray, names: Sequence[str]) -> list[Discovery]:
        texts = model.text_encoder.encode(list(names)).to(segmenter.device)
        prediction = model.mask_decoder(segmenter.encode(image), class_embeddings=texts)
        scores, best = prediction.class_logits[0].sigmoid().max(1)
        found = [
            Discovery(names[int(best[i])], float(scores[i]), prediction.mask_logits[0, i, 0])
            for i in scores.argsort(descending=True).tolist()
            if scores[i] >= threshold
        ]
        return distinct(found)

    return find


def distinct(found: Sequence[Discovery]) -> list[Discovery]:
    """Those, best first, that do not overlap a better one by half."""
    kept: list[Discovery] = []
    for item in found:
        mask = item.mask_logits.numpy() > 0
        if mask.any() and all(_overlap(mask, other.mask_logits.numpy() > 0) < RIGHT for other in kept):
            kept.append(item)
    return kept


if __name__ == "__main__":
    sys.exit(main())

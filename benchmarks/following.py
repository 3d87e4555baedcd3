#!/usr/bin/env python3
"""How well given objects are followed: J&F over whole videos from a mask, a box or clicks on the first frame.

The data are palette-PNG sequences in the layout of datasets/README.md, below $UNIVS_DATA; by default the validation
sequences named in its manifest. Every object is prompted in frame 0 from its own annotation; J and F are taken at the
annotation's size in all frames but the first and the last, averaged over objects, then over sequences.

Examples:
  python benchmarks/following.py --prompt mask
  python benchmarks/following.py --prompt clicks3 --quality high --json
  python benchmarks/following.py --method flow
  python benchmarks/following.py --split train --stride 3
  python benchmarks/following.py --split train --cut 25
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import cv2  # noqa: E402
import numpy as np  # noqa: E402
from PIL import Image  # noqa: E402

from benchmarks.program import exit_code_of  # noqa: E402
from univs import runtime  # noqa: E402
from univs.data.catalog import development_root  # noqa: E402
from univs.data.formats.palette_folders import VideoSequence, read_sequences  # noqa: E402
from univs.data.prompt_drawing import tight_box  # noqa: E402
from univs.errors import UserError  # noqa: E402
from univs.evaluation.metrics.region_boundary import boundary_accuracy, region_similarity  # noqa: E402
from univs.inference.loading import load_segmenter  # noqa: E402
from univs.inference.predictor import VideoPredictor  # noqa: E402
from univs.inference.session import VideoSession  # noqa: E402
from univs.video.palette import read_palette_mask  # noqa: E402

Masks = dict[int, np.ndarray]


def main() -> int:
    """Entry point; exit code 2 for a user's mistake."""
    return exit_code_of(run, "following", _parser().parse_args())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--method", choices=("session", "copy", "flow"), default="session")
    parser.add_argument("--prompt", choices=("mask", "box", "click", "clicks3"), default="mask")
    parser.add_argument("--model", default="univs_mini", help="name of a shipped model, or a config")
    parser.add_argument("--weights", help="weights instead of the shipped ones")
    parser.add_argument("--quality", default="default", help="default or high")
    parser.add_argument("--parts", default="dense", help="what follows: dense, queries or both (a config with queries)")
    parser.add_argument("--split", choices=("val", "train"), default="val", help="the sequences of this split")
    parser.add_argument("--sequences", nargs="*", help="names instead of a split")
    parser.add_argument("--stride", type=int, default=1, help="2: every second frame, and so on (default: 1)")
    parser.add_argument(
        "--cut",
        type=int,
        default=0,
        help="put so many frames of another sequence of the same size, which show no object, into the middle",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line")
    runtime.add_device_argument(parser)
    return parser


def run(arguments: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Scores by sequence and their mean; prints a row for each as soon as it is known."""
    runtime.prepare(arguments.device, arguments.threads)
    sequences = _sequences(arguments.split, arguments.sequences, arguments.stride, arguments.cut)
    predictor = None
    if arguments.method == "session":
        predictor = VideoPredictor(
            load_segmenter(
                arguments.model, arguments.weights, arguments.device, quality=arguments.quality, parts=arguments.parts
            )
        )
    rows = {}
    print(f"{'sequence':16} {'J&F':>6} {'J':>6} {'F':>6} {'frames/s':>9}")
    for sequence in sequences:
        rows[sequence.name] = score(sequence, _masks(sequence, arguments, predictor))
        _print(sequence.name, rows[sequence.name])
    rows["mean"] = {key: float(np.mean([row[key] for row in rows.values()])) for key in next(iter(rows.values()))}
    _print("mean", rows["mean"])
    return rows


def _print(name: str, row: dict[str, float]) -> None:
    print(f"{name:16} {row['J&F']:6.3f} {row['J']:6.3f} {row['F']:6.3f} {row['frames_per_second']:9.2f}", flush=True)


def _sequences(split: str, names: list[str] | None, stride: int, cut: int) -> list[VideoSequence]:
    if stride < 1:
        raise UserError(f"--stride {stride}: must be at least 1.")
    if cut < 0:
        raise UserError(f"--cut {cut}: must be at least 0.")
    splits = {part: read_sequences(development_root(), part) for part in ("val", "train")}
    found = [*splits["val"], *splits["train"]]
    names = names or [sequence.name for sequence in splits[split]]
    missing = set(names) - {sequence.name for sequence in found}
    if missing or not names:
        wanted = ", ".join(sorted(missing)) or f"sequences of the split {split}"
        raise UserError(f"{development_root()} has no {wanted}; set UNIVS_DATA or check --sequences.")
    strided = [
        replace(item, image_files=item.image_files[::stride], mask_files=item.mask_files[::stride]) for item in found
    ]
    chosen = [item for item in strided if item.name in names]
    if cut:
        chosen = [found for item in chosen if (found := _with_cut(item, strided, cut)) is not None]
    if not chosen:
        raise UserError(f"--cut {cut}: no sequence has another one beside it with as many frames of its size.")
    return chosen


def _with_cut(sequence: VideoSequence, others: list[VideoSequence], count: int) -> VideoSequence | None:
    """The sequence with the first frames of the next one of its size in its middle; these have no file of masks.

    None where there is no such other one.
    """
    size, place = (sequence.width, sequence.height), others.index(sequence)
    after = [*others[place + 1 :], *others[:place]]
    other = next((x for x in after if (x.width, x.height) == size and len(x) >= count), None)
    if other is None:
        return None
    middle = len(sequence) // 2
    images, masks = sequence.image_files, sequence.mask_files
    return replace(
        sequence,
        image_files=(*images[:middle], *other.image_files[:count], *images[middle:]),
        mask_files=(*masks[:middle], *[None] * count, *masks[middle:]),
    )


def score(sequence: VideoSequence, masks: Iterator[Masks]) -> dict[str, float]:
    """J and F of one sequence; ``masks`` gives the masks of every frame by object id, in order."""
    # not read_palette_mask: frames without any object are right
    first = np.array(Image.open(sequence.mask_files[0]))
    nothing = np.zeros_like(first)
    truth = [nothing if path is None else np.array(Image.open(path)) for path in sequence.mask_files]
    ids = [int(i) for i in np.unique(first) if i not in (0, 255)]
    regions: dict[int, list[float]] = {i: [] for i in ids}
    boundaries: dict[int, list[float]] = {i: [] for i in ids}
    spent, frames, start = 0.0, 0, time.perf_counter()
    for index, found in enumerate(masks):
        spent += time.perf_counter() - start
        frames += 1
        if 0 < index < len(truth) - 1:
            for i in ids:
                mask = found.get(i, nothing > 0)
                regions[i].append(region_similarity(mask, truth[index] == i))
                boundaries[i].append(boundary_accuracy(mask, truth[index] == i))
        start = time.perf_counter()
    region, boundary = (float(np.mean([np.mean(x[i]) for i in ids])) for x in (regions, boundaries))
    return {"J&F": (region + boundary) / 2, "J": region, "F": boundary, "frames_per_second": frames / spent}


def _masks(sequence: VideoSequence, arguments: argparse.Namespace, predictor: VideoPredictor | None) -> Iterator[Masks]:
    first = read_palette_mask(sequence.mask_files[0])
    if arguments.method == "copy":
        return ({int(i): first == i for i in np.unique(first) if i} for _ in sequence.image_files)
    if arguments.method == "flow":
        return _flow(sequence, first)
    session = predictor.open([str(path) for path in sequence.image_files])
    for i in (int(i) for i in np.unique(first) if i not in (0, 255)):
        prompt(session, i, first == i, arguments.prompt)
    return (result.masks for result in session.propagate())


def prompt(session: VideoSession, object_id: int, mask: np.ndarray, kind: str) -> None:
    """Prompt an object in frame 0 from its true mask [H, W]."""
    if kind == "mask":
        session.add_mask(object_id, 0, mask)
    elif kind == "box":
        session.add_box(object_id, 0, tight_box(mask))
    else:
        answer = np.zeros_like(mask)
        for _ in range(3 if kind == "clicks3" else 1):
            point, label = next_click(answer, mask)
            session.add_click(object_id, frame=0, points=[point], labels=[label])
            answer = session.preview(object_id, 0)[0].mask


def next_click(answer: np.ndarray, truth: np.ndarray) -> tuple[tuple[float, float], int]:
    """The innermost point (x, y) of the largest connected error of ``answer`` [H, W], and its label."""
    best, place, label = -1.0, (0.5, 0.5), 1
    for wrong, kind in ((truth & ~answer, 1), (answer & ~truth, 0)):
        count, pieces, statistics, _ = cv2.connectedComponentsWithStats(wrong.astype(np.uint8), connectivity=8)
        if count < 2:
            continue
        largest = 1 + int(statistics[1:, cv2.CC_STAT_AREA].argmax())
        if statistics[largest, cv2.CC_STAT_AREA] > best:
            best, label = float(statistics[largest, cv2.CC_STAT_AREA]), kind
            padded = cv2.copyMakeBorder((pieces == largest).astype(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
            depth = cv2.distanceTransform(padded, cv2.DIST_L2, 5)[1:-1, 1:-1]
            row, column = divmod(int(depth.argmax()), truth.shape[1])
            place = (column + 0.5, row + 0.5)
    return place, label


def _flow(sequence: VideoSequence, first: np.ndarray) -> Iterator[Masks]:
    """The first masks carried on by OpenCV's DIS optical flow, frame by frame."""
    flow = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    masks = {int(i): (first == i).astype(np.float32) for i in np.unique(first) if i}
    previous, grid = None, np.stack(np.meshgrid(*map(np.arange, first.shape[::-1])), 2).astype(np.float32)
    for path in sequence.image_files:
        grey = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        if previous is not None:
            back = grid + flow.calc(grey, previous, None)
            masks = {i: cv2.remap(mask, back, None, cv2.INTER_LINEAR) for i, mask in masks.items()}
        previous = grey
        yield {i: mask > 0.5 for i, mask in masks.items()}


if __name__ == "__main__":
    sys.exit(main())

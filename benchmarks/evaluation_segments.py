"""CPU seconds of the metrics of segments and tracks, beside those of the official evaluators on the same files.

    python benchmarks/evaluation_segments.py [--folder FOLDER] [--only vspw burst]

The official evaluators were measured elsewhere (one thread, reading of files included, imports excluded), in units of
a fixed piece of NumPy work that was timed in the same process. The unit is timed here too, before and after each
measurement, so the ratio does not depend on the machine.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.evaluation_inputs import INPUTS
from univs.evaluation.benchmark import Summary
from univs.evaluation.benchmarks import find_benchmark

PIXELS = (480, 854)


@dataclass(frozen=True)
class Entry:
    """One measurement.

    inputs: which of INPUTS. official_units: cost of the official evaluator. expected: its figure, as (path in our
    figures, value), which must be ours too.
    """

    inputs: str
    benchmark: str
    official_units: float
    expected: tuple[str, float]
    options: Mapping[str, Any] = field(default_factory=dict)


VPQ = 87.4391774297857
ENTRIES = {
    "AP of tracks, 50 videos of 20 frames": Entry("ytvis", "youtube-vis-2021", 1.68, ("stats/AP", 0.4782698927600562)),
    "VPQ, UniVS, 2 videos of 20 frames": Entry(
        "vipseg", "vipseg", 153.61, ("vpq_univs/final_vpq_all", VPQ), {"metrics": ["vpq"]}
    ),
    "VPQ, VIPSeg, the same": Entry(
        "vipseg",
        "vipseg",
        78.38,
        ("vpq_vipseg_original/final_vpq_all", VPQ),
        {"metrics": ["vpq"], "protocol": "original"},
    ),
    "STQ, the same": Entry("vipseg", "vipseg", 8.92, ("stq/STQ", 0.8281215533429156), {"metrics": ["stq"]}),
    "VPQ and STQ, the same, read once": Entry("vipseg", "vipseg", 162.53, ("stq/STQ", 0.8281215533429156)),
    "PQ, 40 pictures": Entry("panoptic", "coco-panoptic", 3.07, ("All/pq", 0.8289484917207263)),
    "mIoU, 30 frames": Entry("vspw", "vspw", 0.87, ("mIoU", 0.907314466873344), {"metrics": ["miou"]}),
    "mVC8 and mVC16, 30 frames": Entry("vspw", "vspw", 1.88, ("mVC8", 0.9391631272352948), {"metrics": ["vc"]}),
    "mIoU and mVC, the same, read once": Entry("vspw", "vspw", 2.75, ("mVC16", 0.9302340643646261)),
    "HOTA and track mAP, 12 videos of 20 frames": Entry(
        "burst", "burst", 2.36, ("table/HOTA/all", 57.79738409299091), {"uncommon": [2, 5]}
    ),
}


def unit_of_work() -> int:
    """Integer mixing, counting, logic on label maps and a few sums; returns a check sum."""
    numbers, total = np.arange(PIXELS[0] * PIXELS[1], dtype=np.uint64), 0
    count = np.arange(len(numbers)) + 1.0
    for turn in range(6):
        numbers = numbers * np.uint64(6364136223846793005) + np.uint64(1442695040888963407 + turn)
        first = (numbers >> np.uint64(40)).astype(np.int64) % 97
        second = (numbers >> np.uint64(33)).astype(np.int64) % 53
        key = first * 256 + second
        for _ in range(4):
            counts = np.bincount(key, minlength=97 * 256)
            total += int((counts * np.arange(counts.size)).sum() % 1000003)
            key = (key * 5 + 3) % (97 * 256)
        mask, other = (first > 30).reshape(PIXELS), (second > 20).reshape(PIXELS)
        for _ in range(10):
            right, below = np.zeros_like(mask), np.zeros_like(mask)
            right[:, :-1], below[:-1] = mask[:, 1:], mask[1:]
            edge = (mask ^ right) | (mask ^ below)
            total += int((edge & other).sum()) + int((edge | other).sum())
            mask = np.roll(mask, 1, axis=0)
        total += int((np.cumsum(first.astype(np.float64)) / count)[::1000].sum())
    return total


def cpu_seconds(work: Callable[[], Any], times: int) -> tuple[float, Any]:
    """The least CPU seconds of a few runs, and the last result."""
    best, result = float("inf"), None
    for _ in range(times):
        began = time.process_time()
        result = work()
        best = min(best, time.process_time() - began)
    return best, result


def scored(entry: Entry, folder: Path) -> Summary:
    benchmark = find_benchmark(entry.benchmark)
    scoring = benchmark.open(folder / "pred", folder / "gt", {**benchmark.options, **entry.options})
    return scoring.summarise({sequence: scoring.measure(sequence) for sequence in scoring.sequences()})


def check(entry: Entry, figures: Any) -> None:
    """See that our figure is the official one."""
    path, expected = entry.expected
    for name in path.split("/"):
        figures = figures[name]
    if abs(figures - expected) > 1e-6:
        raise SystemExit(f"{path} is {figures}, officially {expected}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="where the inputs are kept; they are made if they are not there")
    parser.add_argument("--only", nargs="*", default=list(INPUTS), choices=list(INPUTS), help="which inputs to use")
    parser.add_argument("--times", type=int, default=3, help="runs of each measurement; the fastest counts")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = arguments.folder or Path(scratch)
        print(f"{'':44}{'ours':>9}{'official':>10}{'ratio':>8}   CPU seconds")
        for name, entry in ENTRIES.items():
            if entry.inputs in arguments.only:
                inputs = folder / entry.inputs
                if not inputs.exists():
                    INPUTS[entry.inputs](inputs)
                report(name, entry, inputs, arguments.times)


def report(name: str, entry: Entry, folder: Path, times: int) -> None:
    before, _ = cpu_seconds(unit_of_work, times)
    ours, summary = cpu_seconds(lambda: scored(entry, folder), times)
    unit = min(before, cpu_seconds(unit_of_work, times)[0])
    check(entry, summary.figures)
    official = entry.official_units * unit
    print(f"{name:44}{ours:9.3f}{official:10.3f}{official / ours:8.1f}")


if __name__ == "__main__":
    main()

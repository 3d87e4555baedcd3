#!/usr/bin/env python3
"""How fast predictions are scored, against the official evaluators on the same inputs.

Every entry is scored by `univs score`'s own code in one process on one thread, files read included, imports not. The
official time is that of official_evaluators.json, carried over to this machine by a unit of CPU time that was measured
with it there and is measured between the runs of each entry here, in processes of its own; "ratio" says how many times
faster we are. Figures are compared with the official ones.

Examples:
  OMP_NUM_THREADS=1 python benchmarks/evaluation.py
  OMP_NUM_THREADS=1 python benchmarks/evaluation.py davis unsup --repeats 5 --json
"""

from __future__ import annotations

import argparse
import concurrent.futures
import json
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent
sys.path.insert(0, str(ROOT.parent))

import cv2  # noqa: E402

from benchmarks import evaluation_inputs as inputs  # noqa: E402
from benchmarks import evaluation_segment_inputs as segment_inputs  # noqa: E402
from benchmarks.cpu_unit import unit_seconds  # noqa: E402
from univs.evaluation.benchmark import Summary  # noqa: E402
from univs.evaluation.benchmarks import find_benchmark  # noqa: E402
from univs.runtime import keep_freed_memory  # noqa: E402

OFFICIAL = ROOT / "official_evaluators.json"
TOLERANCE = 1e-6


@dataclass(frozen=True)
class Entry:
    """An input and what scores it.

    write: makes ``gt`` and ``pred`` (or ``truth`` and ``predictions``) in a folder. figures: those of a summary under
    the names of official_evaluators.json.
    """

    benchmark: str
    write: Callable[[Path], None]
    figures: Callable[[Summary], dict[str, Any]]
    options: dict[str, Any] = field(default_factory=dict)
    truth: str = "gt"
    predictions: str = "pred"


def global_figures(summary: Summary) -> dict[str, Any]:
    """The figures over all objects."""
    return summary.figures["global"]


def all_figures(summary: Summary) -> dict[str, Any]:
    """The figures as they are."""
    return summary.figures


def stats(summary: Summary) -> dict[str, Any]:
    """Average precision and recall."""
    return summary.figures["stats"]


def tracking_quality(summary: Summary) -> dict[str, Any]:
    """Segmentation and tracking quality."""
    return summary.figures["stq"]


def semantic_figures(summary: Summary) -> dict[str, Any]:
    """The figures as they are; one has another name in the official program that was timed."""
    return {**summary.figures, "FWIoU": summary.figures.get("fwIoU")}


def tracking_table(summary: Summary) -> dict[str, Any]:
    """The table of tracking."""
    return summary.figures["table"]


def panoptic_quality(key: str, summary: Summary) -> dict[str, Any]:
    """Video panoptic quality of each window."""
    found = summary.figures[key]
    windows = {f"vpq_all_{name}": one["vpq_all"] for name, one in found.items() if name.startswith("window_")}
    return {**windows, "final_vpq_all": found["final_vpq_all"]}


PANOPTIC = segment_inputs.write_panoptic_videos
ENTRIES = {
    "davis": Entry("davis2017", inputs.write_given_objects, global_figures),
    "unsup": Entry("davis2017-unsupervised", inputs.write_found_objects, global_figures),
    "viposeg": Entry("viposeg", inputs.write_things_and_stuff, all_figures),
    "ytvis": Entry("youtube-vis-2021", segment_inputs.write_instance_tracks, stats),
    "vipseg_vpq": Entry("vipseg", PANOPTIC, partial(panoptic_quality, "vpq_univs"), {"metrics": ["vpq"]}),
    "vipseg_vpq_original": Entry(
        "vipseg",
        PANOPTIC,
        partial(panoptic_quality, "vpq_vipseg_original"),
        {"metrics": ["vpq"], "protocol": "original"},
    ),
    "vipseg_stq": Entry("vipseg", PANOPTIC, tracking_quality, {"metrics": ["stq"]}),
    "panoptic": Entry("coco-panoptic", segment_inputs.write_panoptic_pictures, all_figures),
    "vspw_miou": Entry("vspw", segment_inputs.write_semantic_video, semantic_figures, {"metrics": ["miou"]}),
    "vspw_vc": Entry("vspw", segment_inputs.write_semantic_video, semantic_figures, {"metrics": ["vc"]}),
    "burst": Entry("burst", segment_inputs.write_many_tracks, tracking_table, {"uncommon": [2, 5]}),
}
"""Entries by their names in official_evaluators.json."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("entries", nargs="*", metavar="ENTRY", help=f"among {', '.join(ENTRIES)}; all if none is named")
    parser.add_argument("--repeats", type=int, default=3, help="the fastest of so many runs counts")
    parser.add_argument("--json", action="store_true", help="print one JSON list")
    chosen = parser.parse_args(arguments)
    unknown = [name for name in chosen.entries if name not in ENTRIES]
    if unknown:
        parser.error(f"there is no entry {', '.join(unknown)}; there are {', '.join(ENTRIES)}")
    rows = [measured(name, chosen.repeats) for name in chosen.entries or ENTRIES]
    print(json.dumps(rows) if chosen.json else table(rows))
    return 0 if all(row["difference"] <= TOLERANCE for row in rows) else 1


def measured(name: str, repeats: int) -> dict[str, Any]:
    """CPU seconds of an entry, the official ones carried over, their ratio, and the largest difference of a figure."""
    entry, official = ENTRIES[name], json.loads(OFFICIAL.read_text())["entries"][name]
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as folder:
        entry.write(Path(folder))
        units, runs = [], []
        for _ in range(repeats):
            units.append(_in_fresh_process("spawn", unit_seconds))
            runs.append(_in_fresh_process("fork", scored, entry, Path(folder)))
    unit, seconds = min(units), min(cpu_seconds for cpu_seconds, _ in runs)
    expected = official["official_in_units"] * unit
    differences = difference(official["expected"], runs[0][1])
    return {
        "entry": name,
        "what": official["what"],
        "cpu_seconds": seconds,
        "official_cpu_seconds_here": expected,
        "ratio": expected / seconds,
        "unit_cpu_seconds": unit,
        "difference": max(differences),
    }


def _in_fresh_process(method: str, work: Callable[..., Any], *arguments: Any) -> Any:
    """Result of work in a process that ``method`` starts: nothing that an earlier run has read is still in memory."""
    context = multiprocessing.get_context(method)
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(work, *arguments).result()


def scored(entry: Entry, folder: Path) -> tuple[float, dict[str, Any]]:
    """CPU seconds of reading and scoring everything, and the figures."""
    benchmark = find_benchmark(entry.benchmark)
    keep_freed_memory()  # as ``univs score`` does
    began = time.process_time()
    options = {**benchmark.options, **entry.options}
    scoring = benchmark.open(folder / entry.predictions, folder / entry.truth, options)
    summary = scoring.summarise({sequence: scoring.measure(sequence) for sequence in scoring.sequences()})
    return time.process_time() - began, entry.figures(summary)


def difference(expected: Any, found: Any) -> Iterator[float]:
    """Absolute differences of all official figures."""
    if isinstance(expected, dict):
        for name, value in expected.items():
            yield from difference(value, found[name])
    else:
        yield abs(expected - float(found))


def table(rows: Sequence[dict[str, Any]]) -> str:
    """A Markdown table of all entries."""
    lines = ["| input | official CPU s here | ours | ratio | largest difference |", "| --- | --- | --- | --- | --- |"]
    for row in rows:
        official, ours = row["official_cpu_seconds_here"], row["cpu_seconds"]
        lines.append(
            f"| {row['entry']}: {row['what']} | {official:.2f} | {ours:.3f} | {row['ratio']:.1f} | "
            f"{row['difference']:.0e} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())

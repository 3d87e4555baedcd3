#!/usr/bin/env python3
"""What a video costs: CPU seconds per frame, in units of one ResNet-50 forward, frames/s, memory, shares of the stages.

The video is synthetic (textured shapes that move, made frame by frame; drawing them is not counted). Masks of all
objects are given in frame 0; vps also searches for categories. The published model (r50, weights made by rule) runs on
clips of 5 frames that start with every frame (vss: clips do not overlap); it starts from masks (vos, pvos), from
sentences (rvos, --objects of them) or from whatever it finds ("entities": vis, vps). Output as masks and id map at the
video's size is counted, writing files is not. The unit is one forward of Detectron2's ResNet-50 (res2 to res5) at
480x854, measured in the same process before, during and after the run. Costs carry over between machines in this unit.

Examples:
  python benchmarks/video.py --model mini --task vos --objects 1 --frames 100 --size 480x854 --json
  python benchmarks/video.py --model none --objects 16 --frames 5000
  python benchmarks/video.py --model r50 --task vos --objects 3 --frames 20 --json
  python benchmarks/video.py --model r50 --task vis --size 64x96 --frames 5000 --memory-only --json
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# Threads that wait must sleep: spinning ones would be counted as work.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch  # noqa: E402

from benchmarks.measuring import NoUnit, TimedSegmenter, Unit, peak_rss_mb  # noqa: E402
from benchmarks.shapes import MovingShapes  # noqa: E402
from benchmarks.stand_in import KnowingSegmenter  # noqa: E402
from univs import compat, runtime  # noqa: E402
from univs.config import keys_and_values  # noqa: E402
from univs.errors import SessionWarning, UserError  # noqa: E402
from univs.inference.session import VideoSession  # noqa: E402
from univs.structures import FrameResult  # noqa: E402

WARM_UP = 5
SAMPLES = 6
MODELS = {"mini": "univs_mini"}
TASKS = ("vos", "pvos", "rvos", "vis", "vss", "vps")
SESSION_TASKS = ("vos", "vps")
CATEGORIES = ("person", "car", "dog", "bicycle", "ball", "bottle", "chair", "bird", "boat", "tree")


def main() -> int:
    """Entry point; exit code 2 for a user's mistake."""
    arguments = _parser().parse_args()
    compat.apply()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SessionWarning)  # that nothing is found in moving shapes is no news
            report = run(arguments)
    except UserError as error:
        print(f"video: {error}", file=sys.stderr)
        return 2
    for name, value in report.items():
        print(f"{name:22} {value}")
    if arguments.json:
        print(json.dumps(report))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=(*MODELS, "r50", "none"), default="mini", help="none: the session alone")
    parser.add_argument("--weights", help="weights instead of the shipped ones")
    parser.add_argument("--quality", default="default", help="default or high")
    parser.add_argument("--task", choices=TASKS, default="vos", help="mini and none: vos or vps")
    parser.add_argument("--tracker", choices=("clip", "frame"), default="clip", help="r50: that of vis and vps")
    parser.add_argument(
        "--set", metavar="KEY=VALUE", action="append", default=[], help="r50: a key of the configuration"
    )
    parser.add_argument("--objects", type=int, default=1)
    parser.add_argument("--frames", type=int, default=40)
    parser.add_argument("--size", default="480x854", help="HEIGHTxWIDTH")
    parser.add_argument("--every", type=int, default=5, help="vps: frames between two searches for categories")
    parser.add_argument(
        "--memory-only", action="store_true", help="without the unit, whose memory would hide that of small frames"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line")
    runtime.add_device_argument(parser)
    return parser


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure one run; returns the report."""
    device = runtime.prepare(arguments.device, arguments.threads)
    if arguments.objects < 1 or arguments.frames <= WARM_UP + 1:
        raise UserError(f"At least 1 object and {WARM_UP + 2} frames are needed.")
    if arguments.model != "r50" and (arguments.task not in SESSION_TASKS or arguments.tracker != "clip"):
        raise UserError(f"--task {arguments.task} with --tracker {arguments.tracker} is for --model r50.")
    shapes = MovingShapes(arguments.objects, arguments.frames, _size(arguments.size))
    results, cpu_seconds = _results(arguments, str(device), shapes)
    figures = measure(results, cpu_seconds, shapes, NoUnit() if arguments.memory_only else Unit())
    if arguments.memory_only:
        figures = {name: figure for name, figure in figures.items() if "unit" not in name}
    shown = {name: getattr(arguments, name) for name in ("model", "task", "objects", "frames", "size", "quality")}
    return {**shown, "device": str(device), "threads": torch.get_num_threads(), **figures}


def measure(results: Iterator[Any], cpu_seconds: Counter[str], shapes: MovingShapes, unit: Unit) -> dict[str, Any]:
    """Go through the results of a video; the first frames warm up and are not counted.

    ``cpu_seconds``: of the stages, counted on while the results are made.
    """
    every = max(1, (shapes.length - WARM_UP) // SAMPLES)
    unit.sample()
    clock, worst, result = Clock(shapes, unit), 0.0, None
    for result in results:
        frame_cost = clock.lap()
        if result.index < WARM_UP:
            cpu_seconds.clear()
            clock.restart()
            continue
        worst = max(worst, frame_cost)
        if (result.index - WARM_UP) % every == every - 1:
            unit.sample()
    cpu, wall, frames = clock.cpu_seconds, clock.wall_seconds, shapes.length - WARM_UP
    stages = {name: seconds / cpu for name, seconds in cpu_seconds.items()}
    stages["session_and_output"] = 1 - sum(stages.values())
    entities = {"entities": result.objects} if isinstance(getattr(result, "objects", None), int) else {}
    return {
        "units_per_frame": round(cpu / frames / unit.value, 4),
        "frames_per_second": round(frames / wall, 3),
        "cpu_seconds_per_frame": round(cpu / frames, 5),
        "worst_frame_units": round(worst / unit.value, 3),
        "peak_rss_mb": round(peak_rss_mb(), 1),
        "stage_shares": {name: round(share, 4) for name, share in sorted(stages.items())},
        "unit_cpu_seconds": round(unit.value, 4),
        "unit_spread": round(unit.spread, 2),
        **entities,
    }


class Clock:
    """CPU and wall seconds without those of drawing and of the unit."""

    def __init__(self, shapes: MovingShapes, unit: Unit) -> None:
        self._shapes = shapes
        self._unit = unit
        self._drawn_wall = 0.0
        self.restart()

    def restart(self) -> None:
        """Count from here."""
        self._cpu, self._wall = self._now()
        self._lap = self._cpu

    def lap(self) -> float:
        """CPU seconds since the last lap."""
        now, _ = self._now()
        since, self._lap = now - self._lap, now
        return since

    @property
    def cpu_seconds(self) -> float:
        """CPU seconds since the start."""
        return self._now()[0] - self._cpu

    @property
    def wall_seconds(self) -> float:
        """Wall seconds since the start; drawing counts as long as it keeps one core busy."""
        return self._now()[1] - self._wall

    def _now(self) -> tuple[float, float]:
        aside = self._shapes.cpu_seconds + self._unit.cpu_seconds
        aside_wall = self._shapes.cpu_seconds + self._unit.wall_seconds
        return time.process_time() - aside, time.perf_counter() - aside_wall


def _results(arguments: argparse.Namespace, device: str, shapes: MovingShapes) -> tuple[Iterator[Any], Counter[str]]:
    """What the model says of the frames, one after the other, and the CPU seconds of its stages."""
    if arguments.model == "r50":
        from benchmarks.published import PublishedModel, PublishedRun

        options = keys_and_values(arguments.set)
        run = PublishedRun(arguments.task, shapes.size, device, arguments.weights, arguments.tracker, options)
        published = PublishedModel(run)
        return published.steps(shapes), published.stages.cpu_seconds
    segmenter = TimedSegmenter(_segmenter(arguments, device, shapes))
    session = VideoSession(segmenter, shapes)
    session.add_id_map(0, shapes.id_map(0))
    if arguments.task == "vps":
        session.discover(CATEGORIES, every=arguments.every)
    return _outputs(session, shapes), segmenter.cpu_seconds


def _outputs(session: VideoSession, shapes: MovingShapes) -> Iterator[FrameResult]:
    for result in session.propagate():
        result.palette(*shapes.size)
        yield result


def _segmenter(arguments: argparse.Namespace, device: str, shapes: MovingShapes) -> Any:
    if arguments.model == "none":
        return KnowingSegmenter(shapes)
    from univs.inference import loading

    return loading.load_segmenter(MODELS[arguments.model], arguments.weights, device, arguments.quality)


def _size(text: str) -> tuple[int, int]:
    try:
        height, width = (int(part) for part in text.split("x"))
    except ValueError:
        raise UserError(f"--size {text} is malformed; write HEIGHTxWIDTH, for example 480x854.") from None
    return height, width


if __name__ == "__main__":
    sys.exit(main())

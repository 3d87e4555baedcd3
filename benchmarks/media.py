#!/usr/bin/env python3
"""What reading a video file and writing its results cost, and that neither needs more memory for a longer video.

A video of moving shapes is written into a temporary folder, read forwards with its results (masks, overlay,
results.json) written, and read backwards. No model takes part.

Examples:
  python benchmarks/media.py --frames 100 --objects 2 --size 480x854
  python benchmarks/media.py --frames 5000 --objects 2 --size 480x854
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.measuring import peak_rss_mb  # noqa: E402
from benchmarks.shapes import MovingShapes  # noqa: E402
from univs.structures import FrameResult, ObjectResult  # noqa: E402
from univs.video import ResultWriter, VideoSource, VideoWriter, open_video  # noqa: E402


def main() -> None:
    """Measure and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=300)
    parser.add_argument("--objects", type=int, default=2)
    parser.add_argument("--size", default="480x854", help="HEIGHTxWIDTH")
    arguments = parser.parse_args()
    height, width = (int(side) for side in arguments.size.split("x"))
    shapes = MovingShapes(arguments.objects, arguments.frames, (height, width))
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps({**vars(arguments), **measure(shapes, Path(folder))}))


def measure(shapes: MovingShapes, folder: Path) -> dict[str, float]:
    """CPU milliseconds per frame of each step, and the peak memory after the forward and the backward pass."""
    video_path = write_video(shapes, folder / "shapes")
    began = time.process_time()
    video = open_video(video_path)
    opening = time.process_time() - began
    frames = len(video)
    report = {
        "open_ms": 1000 * opening,
        "read_ms_per_frame": timed(lambda: read(video, range(frames))) / frames,
        "write_ms_per_frame": timed(lambda: write_results(video, shapes, folder / "out"), shapes) / frames,
        "peak_rss_mb": peak_rss_mb(),
        "backwards_ms_per_frame": timed(lambda: read(video, range(frames - 1, -1, -1))) / frames,
        "peak_rss_mb_backwards": peak_rss_mb(),
    }
    return {name: round(value, 2) for name, value in report.items()}


def timed(work: Callable[[], None], shapes: MovingShapes | None = None) -> float:
    """CPU milliseconds of ``work``; making the shapes' masks is not counted."""
    drawn, began = shapes.cpu_seconds if shapes else 0.0, time.process_time()
    work()
    drawn = (shapes.cpu_seconds if shapes else 0.0) - drawn
    return 1000 * (time.process_time() - began - drawn)


def write_video(shapes: MovingShapes, path: Path) -> Path:
    """Write the shapes as a video file."""
    with VideoWriter(path, shapes.rate) as writer:
        for index in range(len(shapes)):
            writer.write(shapes.draw(index))
    return writer.path


def read(video: VideoSource, order: range) -> None:
    """Decode frames and forget them."""
    for _ in video.iterate(order):
        pass


def write_results(video: VideoSource, shapes: MovingShapes, folder: Path) -> None:
    """Write the true masks as a run's results; reading the frames is counted, too."""
    with ResultWriter(folder, video) as writer:
        for index, frame in video.iterate():
            began = time.process_time()
            ids = shapes.id_map(index)
            masks = {number: ids == number for number in range(1, len(shapes.radii) + 1)}
            shapes.cpu_seconds += time.process_time() - began
            items = [ObjectResult(number, mask, 0.9, category="shape") for number, mask in masks.items()]
            writer.write(frame, FrameResult(index, items))


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""J and F on the bundled clip, against the reference masks beside it: the smallest check that the model works.

Both objects, dog (1) and woman (2), are prompted in frame 0, each from its own reference mask, and followed. The first
frame counts where it was not given as a mask.

Examples:
  python benchmarks/bundled_clip.py
  python benchmarks/bundled_clip.py --prompt box click --frames 25 --json
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np  # noqa: E402

from benchmarks.following import prompt as give_prompt  # noqa: E402
from benchmarks.program import exit_code_of  # noqa: E402
from univs import runtime  # noqa: E402
from univs.evaluation.metrics.region_boundary import boundary_accuracy, region_similarity  # noqa: E402
from univs.inference.loading import load_segmenter  # noqa: E402
from univs.inference.predictor import VideoPredictor  # noqa: E402
from univs.video.palette import read_palette_mask  # noqa: E402

CLIPS = Path(__file__).resolve().parents[1] / "datasets" / "demo_clips"
NAMES = {1: "dog", 2: "woman"}
PROMPTS = ("mask", "box", "click", "clicks3")


def main() -> int:
    """Entry point; exit code 2 for a user's mistake."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prompt", nargs="+", choices=PROMPTS, default=PROMPTS)
    parser.add_argument("--weights", help="weights instead of the shipped ones")
    parser.add_argument("--quality", default="default", help="default or high")
    parser.add_argument("--frames", type=int, default=61, help="how far the objects are followed")
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line")
    runtime.add_device_argument(parser)
    return exit_code_of(run, "bundled_clip", parser.parse_args())


def run(arguments: argparse.Namespace) -> dict[str, dict[str, float]]:
    """J&F of both objects by kind of prompt."""
    runtime.prepare(arguments.device, arguments.threads)
    segmenter = load_segmenter("univs_mini", arguments.weights, arguments.device, arguments.quality)
    truth = {index: ids for index, ids in references().items() if index < arguments.frames}
    rows = {}
    for kind in arguments.prompt:
        rows[kind] = judge(VideoPredictor(segmenter), truth, kind)
        print(f"{kind:8} " + "  ".join(f"{name} {value:.3f}" for name, value in rows[kind].items()), flush=True)
    return rows


def references() -> dict[int, np.ndarray]:
    """Reference id maps [H, W] by frame."""
    return {int(file.stem): read_palette_mask(file) for file in sorted((CLIPS / "dog_walk_masks").glob("*.png"))}


def judge(predictor: VideoPredictor, truth: dict[int, np.ndarray], kind: str) -> dict[str, float]:
    """Mean J&F by object over the frames of ``truth``."""
    session = predictor.open(str(CLIPS / "dog_walk.mp4"))
    for key in NAMES:
        give_prompt(session, key, truth[0] == key, kind)
    scores: dict[int, list[float]] = {key: [] for key in NAMES}
    for result in session.propagate(start=0, end=max(truth)):
        if result.index in truth and not (result.index == 0 and kind == "mask"):
            for key, found in scores.items():
                pair = result.masks.get(key, np.zeros(truth[0].shape, bool)), truth[result.index] == key
                found.append((region_similarity(*pair) + boundary_accuracy(*pair)) / 2)
    return {NAMES[key]: float(np.mean(found)) for key, found in scores.items()}


if __name__ == "__main__":
    sys.exit(main())

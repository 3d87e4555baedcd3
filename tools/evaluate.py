#!/usr/bin/env python3
"""Run a model over a benchmark's videos and write what the benchmark takes; `univs score` then says how good it is.

  python tools/evaluate.py --config-file configs/eval/vos/univs_r50_davis17.yaml --weights univs_r50_stage2.pth \\
    --benchmark davis2017 --frames DAVIS/JPEGImages/480p --list DAVIS/ImageSets/2017/val.txt \\
    --masks DAVIS/Annotations/480p --output output/davis17 INPUT.MIN_SIZE_TEST 640

Keys of the configuration and their new values come last. docs/REPRODUCE.md has the commands of all published figures.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

# A clone works without being installed.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from univs import compat
from univs.cli import guarded
from univs.runtime import add_device_argument


def parser() -> argparse.ArgumentParser:
    """The options of the program."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--config-file", required=True, metavar="FILE", help="one of configs/eval, or the name of one")
    options.add_argument("--weights", required=True, metavar="FILE", help="checkpoint, ours or a published one")
    options.add_argument("--benchmark", required=True, metavar="NAME", help="layout to write: `univs submission list`")
    options.add_argument("--list", required=True, type=Path, metavar="PATH", help="the benchmark's list of videos")
    options.add_argument("--frames", required=True, metavar="DIR", help="folders of frames; {video} stands for a name")
    options.add_argument("--masks", type=Path, metavar="DIR", help="given masks: folders of palette PNGs")
    options.add_argument("--sentences", type=Path, metavar="FILE", help="JSON with the expressions of every video")
    options.add_argument("--classes", type=Path, metavar="FILE", help="JSON with the classes of given objects")
    options.add_argument("--output", required=True, type=Path, metavar="DIR", help="folder to write to")
    options.add_argument(
        "--resume", action="store_true", help="keep videos whose pictures an earlier run of the same model wrote"
    )
    options.add_argument(
        "--precision",
        choices=("single", "half", "bfloat16"),
        default="single",
        help="of the model; the published figures are of half on a GPU (default: single)",
    )
    add_device_argument(options)
    options.add_argument("options", nargs=argparse.REMAINDER, metavar="KEY VALUE", help="keys of the configuration")
    return options


def evaluate(arguments: argparse.Namespace) -> int:
    """Load the model and write the results of every video; returns the exit code."""
    import torch

    from univs.cli.progress import Progress
    from univs.config import change_config
    from univs.evaluation.benchmark_run import BenchmarkFiles, BenchmarkRun
    from univs.evaluation.submissions import find_submission
    from univs.evaluation.submissions.expected import read_expected
    from univs.inference.clips.settings import clip_settings
    from univs.inference.loading import load_configured
    from univs.inference.model_choice import find_config
    from univs.runtime import prepare

    submission = find_submission(arguments.benchmark)
    cfg = find_config(arguments.config_file)
    change_config(cfg, arguments.options)
    videos = read_expected(arguments.list)
    files = BenchmarkFiles(videos, arguments.frames, arguments.masks, arguments.sentences, arguments.classes)
    device = prepare(arguments.device, arguments.threads)
    loaded = load_configured(cfg, arguments.weights, str(device))
    print(loaded.report)
    precision = {"half": torch.float16, "bfloat16": torch.bfloat16}.get(arguments.precision)
    run = BenchmarkRun(loaded.model, clip_settings(cfg), submission, files, precision)
    with Progress(arguments.benchmark, "videos") as progress:
        for done, _ in enumerate(run.write(arguments.output, arguments.resume), 1):
            progress(done, len(videos.videos))
    print(f"Wrote {arguments.output}; check it, and score it where the truth is public:")
    print(
        f"  univs submission check {arguments.output} --benchmark {arguments.benchmark} --truth-list {arguments.list}"
    )
    print(f"  univs score {arguments.benchmark} --predictions {arguments.output} --truth PATH")
    return 0


def main(argv: list[str] | None = None) -> int:
    """Run the program; returns its exit code, 2 for a user's mistake."""
    compat.apply()
    arguments = parser().parse_args(argv)
    return guarded(lambda: evaluate(arguments), "evaluate")


if __name__ == "__main__":
    sys.exit(main())

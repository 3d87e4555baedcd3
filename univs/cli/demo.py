"""``univs demo``: segment one video from the command line.

Nothing heavy is imported here, so that ``--help`` answers at once; the work is done in ``segmenting.py``.
"""

from __future__ import annotations

import argparse

from univs.cli.prompts import add_prompt_arguments
from univs.inference.tasks import TASKS
from univs.runtime import add_device_argument

SUMMARY = "Segment a video: prompt objects, or name categories, and get every object's mask in every frame."
EXAMPLES = """examples:
  univs demo --video clip.mp4 --click 1:320,180@0
  univs demo --video clip.mp4 --box 1:50,60,120,200@0 --negative-click 1:60,190@0 --click 2:400,90@12 --backward
  univs demo --video clip.mp4 --text 1:"the man in the red shirt" --name 1:man
  univs demo --video clip.mp4 --categories person,dog --every 10 --tracks
  univs demo --video frames/ --mask first.png@0 --task vos --output output/frames
  univs demo --video clip.mp4 --scribble "1:300,150;330,170;350,200@5" --start 5 --end 30 --save-session clip.univs
  univs demo --session clip.univs --click 1:310,200@30 --matte png --cutout png

Coordinates are pixels of the video, frames count from 0; without @FRAME frame 0 is meant. The output folder gets
masks/<frame>.png (palette PNG, value = object id), overlay.mp4 and results.json."""

CUTOUTS = ("png", "apng", "prores", "webm")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("--video", metavar="PATH", help="video file, folder of frames, picture, or glob in quotes")
    add_prompt_arguments(parser)
    parser.add_argument("--task", default="any", metavar="TASK", help=f"one of {', '.join(TASKS)} (default: any)")
    parser.add_argument("--start", type=int, metavar="FRAME", help="first frame (default: 0)")
    parser.add_argument("--end", type=int, metavar="FRAME", help="last frame (default: the video's last)")
    parser.add_argument("--backward", action="store_true", help="also follow objects to frames before their prompts")
    parser.add_argument("--rate", type=float, metavar="N", help="frames per second of a folder of pictures")
    _add_model_arguments(parser)
    _add_output_arguments(parser)


def _add_model_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("model")
    group.add_argument(
        "--config", help="model name or config file (default: what fits --weights, without them univs_mini)"
    )
    group.add_argument(
        "--weights", metavar="PATH", help="checkpoint, ours or a published one (default: those of univs_mini)"
    )
    group.add_argument(
        "--set",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help="with --weights: change a key of the configuration, for example MODEL.UNIVS.TEXT.WEIGHTS=RN50x4.pt",
    )
    group.add_argument("--quality", choices=("default", "high"), default="default", help="high: better and slower")
    add_device_argument(group)


def _add_output_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("output")
    group.add_argument("--output", metavar="DIR", help="folder of the results (default: output/<name of the video>)")
    group.add_argument("--no-overlay", action="store_true", help="leave overlay.mp4 out")
    group.add_argument("--matte", choices=("png", "video"), help="write one matte per object")
    group.add_argument("--cutout", choices=CUTOUTS, help="write the objects with transparency")
    group.add_argument("--tracks", action="store_true", help="write tracks.json, video instance annotations")
    group.add_argument("--session", metavar="FILE", help="go on with a saved session")
    group.add_argument("--save-session", metavar="FILE", help="save the session at the end")


def run(arguments: argparse.Namespace) -> int:
    """Segment the video; returns the exit code, 130 when it was interrupted."""
    from univs.cli.segmenting import segment_video

    return segment_video(arguments)

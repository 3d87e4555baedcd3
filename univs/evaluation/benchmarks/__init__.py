"""The benchmarks by name; a benchmark's own module is imported when it is asked for."""

from __future__ import annotations

import difflib
from importlib import import_module

from univs.errors import UserError
from univs.evaluation.benchmark import Benchmark

BENCHMARKS = {
    "davis2016": "davis:Davis2016",
    "davis2017": "davis:Davis2017SemiSupervised",
    "davis2017-unsupervised": "davis:Davis2017Unsupervised",
    "davis-interactive": "davis_interactive:DavisInteractive",
    "mose": "folder_pairs:Mose",
    "lvos": "lvos:Lvos",
    "youtube-vos": "youtube_vos:YouTubeVos",
    "viposeg": "viposeg:VipoSeg",
    "ref-davis17": "davis:ReferringDavis2017",
    "ref-youtube-vos": "youtube_vos:ReferringYouTubeVos",
    "mevis": "mevis:Mevis",
    "a2d-sentences": "sentence_frames:A2dSentences",
    "jhmdb-sentences": "sentence_frames:JhmdbSentences",
    "youtube-vis-2019": "instance_tracks:YouTubeVis",
    "youtube-vis-2021": "instance_tracks:YouTubeVis",
    "youtube-vis-2022": "instance_tracks:YouTubeVis",
    "ovis": "instance_tracks:Ovis",
    "burst": "burst_tracks:Burst",
    "vspw": "semantic_videos:Vspw",
    "vipseg": "panoptic_videos:VipSeg",
    "cityscapes-vps": "panoptic_videos:CityscapesVps",
    "kitti-step": "step_videos:StepVideos",
    "coco-panoptic": "panoptic_images:PanopticImages",
    "coco-instance": "image_instances:CocoInstances",
    "lvis": "image_instances:LvisInstances",
}
"""Name of a benchmark -> ``module:class``, the module in this package."""

LIBRARIES = (
    "numpy",
    "scipy",
    "pillow",
    "opencv-python-headless",
    "opencv-python",
    "av",
    "deflate",
    "msgspec",
    "pycocotools",
    "lvis",
)
"""Packages whose versions figures may depend on."""


def benchmark_names() -> list[str]:
    """Names of all benchmarks."""
    return list(BENCHMARKS)


def find_benchmark(name: str) -> Benchmark:
    """The benchmark of a name.

    Raises:
        UserError: there is none; the message names the nearest ones.
    """
    if name not in BENCHMARKS:
        near = difflib.get_close_matches(name, BENCHMARKS, n=3) or list(BENCHMARKS)
        raise UserError(f"There is no benchmark {name!r}; did you mean: {', '.join(near)}?")
    module, _, kind = BENCHMARKS[name].partition(":")
    benchmark = getattr(import_module(f"{__name__}.{module}"), kind)()
    benchmark.name = name  # several data sets share a class
    return benchmark

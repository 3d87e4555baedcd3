"""The inputs of segments and tracks of benchmarks/evaluation.py, on a few small frames; its times are nobody's test."""

from __future__ import annotations

import functools
from pathlib import Path

import pytest

from benchmarks import evaluation
from benchmarks import evaluation_segment_inputs as inputs

SMALL = {
    "ytvis": functools.partial(inputs.write_instance_tracks, frames=2, videos=2),
    "vipseg_vpq": functools.partial(inputs.write_panoptic_videos, size=(48, 85), frames=8, videos=1),
    "vipseg_vpq_original": functools.partial(inputs.write_panoptic_videos, size=(48, 85), frames=8, videos=1),
    "vipseg_stq": functools.partial(inputs.write_panoptic_videos, size=(48, 85), frames=2, videos=1),
    "panoptic": functools.partial(inputs.write_panoptic_pictures, size=(48, 64), pictures=2),
    "vspw_miou": functools.partial(inputs.write_semantic_video, size=(48, 85), frames=2),
    "vspw_vc": functools.partial(inputs.write_semantic_video, size=(48, 85), frames=17),
    "burst": functools.partial(inputs.write_many_tracks, frames=2, videos=2),
}


@pytest.mark.parametrize("name", SMALL)
def test_small_inputs_are_scored(name: str, tmp_path: Path) -> None:
    SMALL[name](tmp_path)
    entry = evaluation.ENTRIES[name]
    _, figures = evaluation.scored(entry, tmp_path)
    # Near predictions and some of nothing: neither perfect nor empty.
    value = {
        "ytvis": lambda: figures["AP"],
        "vipseg_stq": lambda: figures["STQ"],
        "panoptic": lambda: figures["All"]["pq"],
        "vspw_miou": lambda: figures["mIoU"],
        "vspw_vc": lambda: figures["mVC8"],
        "burst": lambda: figures["HOTA"]["all"] / 100,
    }.get(name, lambda: figures["final_vpq_all"] / 100)()
    assert 0.1 < value < 1

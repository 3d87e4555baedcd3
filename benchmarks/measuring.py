"""CPU seconds by stage, the unit in which costs are given, and peak memory."""

from __future__ import annotations

import resource
import statistics
import sys
import time
from collections import Counter
from typing import Any

import torch

UNIT_SIZE = (480, 854)
STAGES = ("encode", "answer", "follow", "remember", "forget", "discover")


class TimedSegmenter:
    """A segmenter that notes the CPU seconds (user and system, all threads) of every call by its name."""

    def __init__(self, segmenter: Any) -> None:
        self._segmenter = segmenter
        self.cpu_seconds: Counter[str] = Counter()

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._segmenter, name)
        if name not in STAGES:
            return value

        def timed(*arguments: Any, **named: Any) -> Any:
            began = time.process_time()
            try:
                return value(*arguments, **named)
            finally:
                self.cpu_seconds[name] += time.process_time() - began

        return timed


class Unit:
    """The unit of cost: the CPU seconds of one forward of Detectron2's ResNet-50 at 480x854 on this machine, now."""

    def __init__(self) -> None:
        from detectron2.config import get_cfg
        from detectron2.layers import ShapeSpec
        from detectron2.modeling.backbone.resnet import build_resnet_backbone

        cfg = get_cfg()
        cfg.MODEL.RESNETS.OUT_FEATURES = ["res2", "res3", "res4", "res5"]
        cfg.MODEL.RESNETS.STRIDE_IN_1X1 = False
        self._network = build_resnet_backbone(cfg, ShapeSpec(channels=3)).eval()
        self._picture = torch.zeros(1, 3, *UNIT_SIZE)
        self._samples: list[float] = []
        self.cpu_seconds = 0.0
        self.wall_seconds = 0.0
        self._forward()  # the first one also fills caches

    def sample(self, count: int = 2) -> None:
        """Measure a few forwards."""
        wall = time.perf_counter()
        for _ in range(count):
            self._samples.append(self._forward())
            self.cpu_seconds += self._samples[-1]
        self.wall_seconds += time.perf_counter() - wall

    @property
    def value(self) -> float:
        """CPU seconds of one unit: the median of all samples."""
        return statistics.median(self._samples)

    @property
    def spread(self) -> float:
        """Largest over smallest sample: how steady the machine was."""
        return max(self._samples) / min(self._samples)

    def _forward(self) -> float:
        began = time.process_time()
        with torch.inference_mode():
            self._network(self._picture)
        return time.process_time() - began


class NoUnit:
    """Stands for the unit where only memory matters: costs are then CPU seconds."""

    cpu_seconds = wall_seconds = 0.0
    value = spread = 1.0

    def sample(self, count: int = 2) -> None:
        """Nothing is measured."""


def peak_rss_mb() -> float:
    """The most memory that this process has held so far, in megabytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1 << 20) if sys.platform == "darwin" else peak / 1024

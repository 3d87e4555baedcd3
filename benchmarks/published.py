"""The published model on a synthetic video, with weights made by rule: what it costs, not how well it segments."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch

from benchmarks.shapes import MovingShapes
from tests import rule, rule_video
from univs.config import get_config
from univs.inference.clips.outputs.frame_results import frame_of_masks
from univs.inference.clips.results import FrameMasks, PanopticFrame
from univs.inference.clips.run import input_size, resized_frame, video_seeds
from univs.inference.clips.seeds import GivenMasks
from univs.inference.clips.settings import clip_settings
from univs.inference.clips.stream import ClipStream
from univs.modeling.meta_arch import UniVS
from univs.modeling.published_names import to_published
from univs.modeling.weights import load_state, read_checkpoint
from univs.resources import config_file

TAG = "a"
# as the published program was measured: clips of 5 frames, 5 remembered frames, no padding to a square, and a score
# that some tens of the rule-made queries reach
OPTIONS = (
    *("INPUT.CLIP_FRAMES", 5, "INFERENCE.MEMORY_FRAMES", 5, "INPUT.SQUARE_TEST", 0),
    *("INFERENCE.CLASS_THRESHOLD", 0.5, "MODEL.UNIVS.TEXT.ENCODER", "NONE"),
)


@dataclass
class Stepped:
    """A frame has been taken in. index: its number. objects: how many are followed now."""

    index: int
    objects: int


class TimedStages:
    """CPU seconds (user and system, all threads) of calls by stage."""

    def __init__(self) -> None:
        self.cpu_seconds: Counter[str] = Counter()

    def watch(self, owner: Any, name: str, stage: str) -> None:
        """Note the time of every call of the method ``name`` of ``owner``."""
        setattr(owner, name, self._timed(getattr(owner, name), stage))

    def _timed(self, call: Callable[..., Any], stage: str) -> Callable[..., Any]:
        def timed(*arguments: Any, **named: Any) -> Any:
            began = time.process_time()
            try:
                return call(*arguments, **named)
            finally:
                self.cpu_seconds[stage] += time.process_time() - began

        return timed


class PublishedModel:
    """The model of a task, driven frame by frame by a stream of clips."""

    def __init__(self, task: str, size: tuple[int, int], device: str, weights: str | None = None) -> None:
        path = sorted(config_file("_base/model.yaml").parents[1].glob(f"eval/{task}/univs_r50_*.yaml"))[0]
        options = [*OPTIONS, "INPUT.MIN_SIZE_TEST", min(size), "MODEL.DEVICE", device]
        cfg = get_config(path, options)
        self.settings = clip_settings(cfg)
        self.model = UniVS(cfg).eval()
        if weights:
            load_state(self.model, read_checkpoint(weights)["model"], source=weights)
        else:
            _fill(self.model)
        self.model.to(device)
        self.stages = TimedStages()
        for name in ("backbone", "pixel_decoder", "mask_decoder"):
            self.stages.watch(getattr(self.model, name), "forward", name)
        if self.settings.vocabulary:
            rows = {name: range(first, first + count) for name, first, count in cfg.MODEL.UNIVS.TEXT.CLASS_RANGES}
            table = torch.from_numpy(rule.weight(TAG, "clip_cls_text_emb", (cfg.MODEL.UNIVS.TEXT.NUM_CLASSES, 640)))
            chosen = rows[self.settings.vocabulary]
            self.model.class_embeddings.set_embeddings(
                self.settings.vocabulary, table[chosen.start : chosen.stop].to(device)
            )

    def steps(self, shapes: MovingShapes) -> Iterator[Stepped]:
        """Run through the video; output as masks and id maps is made and thrown away."""
        given = self._given(shapes)
        seeds = video_seeds(self.model, self.settings, given)
        stream = ClipStream(self.model, self.settings, shapes.size, seeds)
        self.stages.watch(stream.prompts, "tokens", "prompt_memory")
        for name in ("begin", "follow", "take_in"):
            self.stages.watch(stream.steps, name, "objects")
        for name in ("give_out", "close"):
            self.stages.watch(stream.steps, name, "output")
        shape = input_size(shapes.size, self.settings)
        for number in range(shapes.length):
            results = stream.step(resized_frame(shapes.draw(number), shape), given.get(number))
            if number == shapes.length - 1:
                results += stream.finish()
            for result in results:
                _use(result, shapes.size)
            yield Stepped(number, 0 if stream.state is None else len(stream.state))

    def _given(self, shapes: MovingShapes) -> dict[int, GivenMasks]:
        """The masks of all shapes in the first frame, where the task begins with masks."""
        if self.settings.objects != "masks":
            return {}
        ids = torch.from_numpy(shapes.id_map(0))
        found = sorted(set(ids.unique().tolist()) - {0})
        return {0: GivenMasks(tuple(found), torch.stack([ids == number for number in found]))}


def _fill(model: UniVS) -> None:
    with torch.no_grad():
        for name, value in model.state_dict(keep_vars=True).items():
            value.copy_(torch.from_numpy(rule_video.weight(TAG, to_published(name), tuple(value.shape))))


def _use(result: Any, size: tuple[int, int]) -> None:
    if isinstance(result, FrameMasks):
        frame_of_masks(result).palette(*size)
    elif isinstance(result, PanopticFrame):
        result.ids()

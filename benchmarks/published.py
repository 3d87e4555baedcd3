"""The published model on a synthetic video, with weights made by rule: what it costs, not how well it segments."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.shapes import MovingShapes
from tests import rule, rule_video
from univs.cli.clip_segmenting import frame_results_of
from univs.config import get_config
from univs.data.vocabulary import read_vocabulary
from univs.errors import UserError
from univs.inference.clips.run import input_size, resized_frame, video_seeds
from univs.inference.clips.seeds import GivenMasks
from univs.inference.clips.settings import clip_settings
from univs.inference.clips.stream import ClipStream
from univs.modeling.meta_arch import UniVS
from univs.modeling.published_names import to_published
from univs.modeling.weights import load_state, read_checkpoint
from univs.resources import config_file

TAG = "a"
# as many words has every sentence
WORDS = 5
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


@dataclass(frozen=True)
class PublishedRun:
    """A task on frames of ``size`` (H, W), with weights of a file or made by rule.

    tracker: "clip", or "frame" for the published frame tracker of vis and vps. options: KEY, VALUE, ... of the
    configuration.
    """

    task: str
    size: tuple[int, int]
    device: str
    weights: str | None = None
    tracker: str = "clip"
    options: Sequence[str] = ()


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

    def __init__(self, run: PublishedRun) -> None:
        options = [*OPTIONS, "INPUT.MIN_SIZE_TEST", min(run.size), "MODEL.DEVICE", run.device, *run.options]
        cfg = get_config(_config(run.task, run.tracker), options)
        self.settings = clip_settings(cfg)
        self.model = UniVS(cfg).eval()
        if run.weights:
            load_state(self.model, read_checkpoint(run.weights)["model"], source=run.weights)
        else:
            _fill(self.model)
        self.model.to(run.device)
        self.model.encode_expressions = rule_sentences
        self.stages = TimedStages()
        for name in ("backbone", "pixel_decoder", "mask_decoder"):
            self.stages.watch(getattr(self.model, name), "forward", name)
        self.names: tuple[str, ...] = ()
        if self.settings.vocabulary:
            self.names = read_vocabulary(self.settings.vocabulary).names
            rows = {name: range(first, first + count) for name, first, count in cfg.MODEL.UNIVS.TEXT.CLASS_RANGES}
            table = torch.from_numpy(rule.weight(TAG, "clip_cls_text_emb", (cfg.MODEL.UNIVS.TEXT.NUM_CLASSES, 640)))
            chosen = rows[self.settings.vocabulary]
            self.model.class_embeddings.set_embeddings(
                self.settings.vocabulary, table[chosen.start : chosen.stop].to(run.device)
            )

    def steps(self, shapes: MovingShapes) -> Iterator[Stepped]:
        """Run through the video; frames of results and their id maps are made and thrown away.

        Of tracks and panoptic maps they are made behind the last frame, as they are for a user.
        """
        given, size = self._given(shapes), shapes.size
        sentences = {number: f"shape {number}" for number in range(1, shapes.count + 1)}
        by_sentence = self.settings.objects == "sentences"
        seeds = video_seeds(self.model, self.settings, given, sentences if by_sentence else None)
        stream = self._watched(ClipStream(self.model, self.settings, size, seeds))
        shape, waiting = input_size(size, self.settings), []
        for number in range(shapes.length):
            waiting += stream.step(resized_frame(shapes.draw(number), shape), given.get(number))
            if number == shapes.length - 1:
                waiting += stream.finish()
            elif self.settings.result in ("tracks", "panoptic"):
                yield Stepped(number, len(stream.state or ()))
                continue
            for frame in frame_results_of(waiting, self.settings, self.names):
                frame.palette(*size)
            waiting = []
            yield Stepped(number, len(stream.state or ()))

    def _watched(self, stream: ClipStream) -> ClipStream:
        self.stages.watch(stream.prompts, "tokens", "prompt_memory")
        for name in ("begin", "follow", "take_in"):
            self.stages.watch(stream.steps, name, "objects")
        for name in ("give_out", "close"):
            self.stages.watch(stream.steps, name, "output")
        return stream

    def _given(self, shapes: MovingShapes) -> dict[int, GivenMasks]:
        """The masks of all shapes in the first frame, where the task begins with masks; every second one is of a
        countable class."""
        if self.settings.objects != "masks":
            return {}
        ids = torch.from_numpy(shapes.id_map(0))
        found = sorted(set(ids.unique().tolist()) - {0})
        labels = tuple(_class_of(number, self.settings.vocabulary) for number in found)
        return {0: GivenMasks(tuple(found), torch.stack([ids == number for number in found]), labels)}


def _config(task: str, tracker: str) -> Path:
    """The first configuration of the task with a ResNet-50.

    Raises:
        UserError: the task has no such tracker.
    """
    folder = config_file("_base/model.yaml").parents[1] / "eval" / task
    frame = {path: "frame_tracker" in path.name for path in sorted(folder.glob("univs_r50_*.yaml"))}
    found = [path for path, is_frame in frame.items() if is_frame == (tracker == "frame")]
    if not found:
        raise UserError(f"--tracker {tracker} does not exist for --task {task}; the frame tracker is for vis and vps.")
    return found[0]


def _class_of(number: int, vocabulary: str) -> int:
    """A class of the vocabulary, things for odd numbers, stuff for even ones; -1 where there is none."""
    if not vocabulary:
        return -1
    is_thing = read_vocabulary(vocabulary).is_thing
    return is_thing.index(bool(number % 2))


def rule_sentences(sentences: Sequence[str]) -> tuple[Tensor, Tensor]:
    """Embeddings made by rule in the place of a text encoder's: words [N, L, 640] and sentences [N, 640]."""
    words = np.stack([rule.normal(f"{TAG}/{sentence}", (WORDS, 640)) for sentence in sentences]).astype(np.float32)
    return torch.from_numpy(words), torch.from_numpy(words.mean(1))


def _fill(model: UniVS) -> None:
    with torch.no_grad():
        for name, value in model.state_dict(keep_vars=True).items():
            value.copy_(torch.from_numpy(rule_video.weight(TAG, to_published(name), tuple(value.shape))))

"""Runs the stream of a stored case and keeps what the reference run kept.

The stream holds the latest frames and slots only; what it drops was final, so that the values recorded before stand for
what an unbounded state would hold.
"""

from __future__ import annotations

import contextlib
import importlib
from unittest import mock

import numpy as np
import torch
from torch import Tensor

from tests import parity, rule_video
from tests.inference.clips.video_cases import case_given, case_model, case_seeds, case_settings, memory_bits
from univs.inference.clips.arithmetic import mask_quality
from univs.inference.clips.prompt_slots import MaskMemory
from univs.inference.clips.stream import ClipStream

# modules whose similarities and assignments are recorded
OBSERVED = ("given_objects", "entities", "frame_tracking")


class History:
    """Columns (frames or slots) of arrays [N, columns, ...] by number; objects that come later were zero before."""

    def __init__(self) -> None:
        self.columns: dict[str, dict[int, np.ndarray]] = {}

    def add(self, name: str, values: Tensor, last: int) -> None:
        """Keep the columns of ``values``; the last one has the number ``last - 1``."""
        values = values.detach().cpu().numpy().copy()
        for place in range(values.shape[1]):
            self.columns.setdefault(name, {})[last - values.shape[1] + place] = values[:, place]

    def whole(self, name: str, last: int, columns: int) -> np.ndarray:
        """The ``columns`` columns before ``last``."""
        found = [self.columns[name][number] for number in range(last - columns, last)]
        rows = max(len(column) for column in found)
        padded = [np.concatenate([c, np.zeros((rows - len(c), *c.shape[1:]), c.dtype)]) for c in found]
        return np.stack(padded, 1)


class RecordedStream(ClipStream):
    """A stream that keeps, per clip, the arrays that the reference run stored."""

    def __init__(self, case, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.case = case
        self.stored = {name.removesuffix("_bits") for name in case.npz}
        self.values: dict[str, np.ndarray] = {}
        self.history = History()
        self.clips = 0
        self.slots = 0
        self._wrap("follow", "after_prompt")
        self._wrap("take_in", "after_new")
        self.bits = self.memory = None

    def _wrap(self, method: str, stage: str) -> None:
        original = getattr(self.steps, method)

        def recorded(state, clip):
            original(state, clip)
            self._record_state(stage, clip)

        setattr(self.steps, method, recorded)

    def _run(self):
        self.before = f"clip{self.clips}."
        self.memory["clip"], self.memory["stop"] = self.clips, self._next_frame
        self.bits.start(self.clips)
        results = super()._run()
        if self.settings.slots == "frame":
            self._record_state("after_write", self.clip)
        self.clips += 1
        return results

    def _keep(self, name: str, value) -> None:
        name = self.before + name
        if name in self.stored:
            self.values[name] = value.detach().cpu().numpy().copy() if isinstance(value, Tensor) else np.asarray(value)

    def _decode(self, clip) -> None:
        super()._decode(clip)
        self.slots += clip.new_frames if self.settings.slots == "frame" else 1
        if isinstance(self.prompts, MaskMemory) and self.prompts.pool.features is not None:
            self._record_pool(self.prompts.pool)
        self._keep("frame_indices", np.arange(clip.first, clip.stop))
        if clip.prediction is not None:
            self._record_prediction(clip)

    def _record_pool(self, pool) -> None:
        features, slots = pool.features, pool.num_slots
        self._keep("pool_shape", np.array([len(features), features.shape[2], slots, features.shape[3]]))
        self.history.add("nonblank", (features != 0).any(-1).sum(2), slots)
        self._keep("pool_nonblank_tokens", self.history.whole("nonblank", slots, slots))
        for name, values in (("feat", features), ("pe", pool.positions)):
            self.history.add(name, values.mean(2), slots)
            mean = self.history.whole(name, slots, slots)
            self._keep(f"pool_{name}_mean", mean)
            self._keep(f"pool_{name}_mean_norm", np.linalg.norm(mean, axis=-1))

    def _record_prediction(self, clip) -> None:
        prediction, maps = clip.prediction, clip.features.mask_features
        learnable = prediction.num_learnable
        logits = torch.einsum("ntc,tchw->nthw", prediction.mask_embeddings[0], maps)
        self._keep("n_prompts", len(logits) - learnable)
        self._keep("quality", mask_quality(logits))
        self._keep("mask_pos", (logits > 0).sum((2, 3)))
        self._keep("embd_norm", prediction.embeddings[0].norm(dim=-1))
        start, count = self.case.json["class_slice_start_count"]
        classes = prediction.class_logits[0]
        classes = classes[:, start : start + count] if classes.shape[1] > count else classes
        if classes.shape[1]:
            best = classes.sigmoid().max(1)
            self._keep("score", best.values)
            self._keep("label", best.indices)
        self._keep("pred_masks_prompt", logits[learnable : learnable + 4])
        if learnable:
            self._keep("pred_logits_learn", classes[:learnable])
            self._keep("pred_masks_learn0_3", logits[:4])

    def _record_state(self, stage: str, clip) -> None:
        # as published, frames of given objects are counted by what the state was extended by
        state, stop = self.state, self.slots if self.settings.slots == "frame" else clip.stop
        for name, value in (("ids", state.ids), ("first_appear_frame_idxs", state.first_frames)):
            self._keep(f"{stage}.{name}", value)
        self._keep(f"{stage}.labels", state.labels)
        self._keep(f"{stage}.mask_quality_scores", state.quality)
        if state.class_last.shape[1] and len(state):
            best = state.mean_scores().max(1)
            self._keep(f"{stage}.score", best.values)
            self._keep(f"{stage}.class", best.indices)
        logits = state.mask_logits
        if logits.shape[-2:] != clip.padded_size:
            logits = clip.enlarged(logits)
        self._record_columns(stage, "mask_area", (logits > 0).sum((2, 3)), stop)
        self._record_columns(stage, "mask_logit_sum", logits.double().sum((2, 3)), stop)
        self._record_columns(stage, "occurrence", state.occurrence, stop)
        self._record_columns(stage, "boxes", state.boxes, stop)
        self._record_columns(stage, "embds_norm", state.embeddings.norm(dim=-1), self.slots)

    def _record_columns(self, stage: str, name: str, values: Tensor, last: int) -> None:
        """The columns that the reference run held, the older ones as they were when they were dropped."""
        if f"{self.before}{stage}.{name}" in self.stored:
            self.history.add(name, values, last)
            columns = self.case.npz[f"{self.before}{stage}.{name}"].shape[1]
            self._keep(f"{stage}.{name}", self.history.whole(name, last, columns))

    def observe(self, module, name: str):
        """Record what a function of arithmetic gives to the steps."""
        original = getattr(module, name)

        def observed(*args, **kwargs):
            out = original(*args, **kwargs)
            if name == "assign":
                rows, columns = out
                self._keep("assign_rows", rows)
                self._keep("assign_cols", columns)
                self._keep("assign_sim", args[0][rows, columns])
            else:
                settings = self.settings
                early = settings.early_factor if self.clip.first < settings.clip_frames else 1.0
                self._keep("consistency_sim", out)
                self._keep("consistent", out > settings.consistency_threshold * early)
            return out

        return mock.patch.object(module, name, observed)


def run_case(case) -> tuple[RecordedStream, list]:
    """The stream after the whole video, and everything it gave out."""
    settings, inputs = case_settings(case), case.inputs
    model = case_model(case)
    left_out = 0 if settings.learnable else model.mask_decoder.settings.num_queries
    draws = parity.RuleDraws(case)
    stream = RecordedStream(case, model, settings, tuple(inputs["out"]), case_seeds(case), draws)
    given, results = case_given(case), []
    with contextlib.ExitStack() as stack:
        stream.bits = stack.enter_context(parity.sign_bits(case, left_out))
        stream.memory = stack.enter_context(memory_bits(case))
        for name in OBSERVED:
            with contextlib.suppress(ModuleNotFoundError):
                module = importlib.import_module(f"univs.inference.clips.{name}")
                for function in ("self_similarity", "assign"):
                    if hasattr(module, function):
                        stack.enter_context(stream.observe(module, function))
        for number, frame in enumerate(rule_video.frames(inputs)):
            results += stream.step(torch.from_numpy(frame), given.get(number))
        results += stream.finish()
    return stream, results

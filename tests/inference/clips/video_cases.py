"""Stored cases of whole videos: models, settings and frames that they describe, and the comparison with them."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import re
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from torch import Tensor

from tests import parity, rule, rule_video
from univs.config import get_config
from univs.data.vocabulary import read_vocabulary
from univs.inference.clips.seeds import GivenMasks, VideoSeeds
from univs.inference.clips.settings import ClipSettings, clip_settings
from univs.modeling import memory_pool
from univs.modeling.meta_arch import UniVS
from univs.modeling.settings import mask_decoder_settings

CONFIGS = Path(__file__).parents[3] / "configs"
# published key -> ours
KEYS = {
    "INPUT.SAMPLING_FRAME_NUM": "INPUT.CLIP_FRAMES",
    "MODEL.UniVS.VISUAL_PROMPT_PIXELS_PER_IMAGE": "MODEL.UNIVS.PROMPT_TOKENS",
    "MODEL.UniVS.MASKDEC_SELF_ATTN_MASK_TYPE": "MODEL.UNIVS.SELF_ATTENTION",
    "MODEL.UniVS.POSITION_EMBEDDING_SINE3D": "MODEL.UNIVS.TEMPORAL_POSITIONS",
    "MODEL.UniVS.TEXT_PROMPT_TO_IMAGE_ENABLE": "MODEL.UNIVS.LANGUAGE_TO_VISION",
    "MODEL.BoxVIS.TEST.CLIP_STRIDE": "INFERENCE.CLIP_STRIDE",
    "MODEL.UniVS.TEST.NUM_PREV_FRAMES_MEMORY": "INFERENCE.MEMORY_FRAMES",
    "MODEL.BoxVIS.TEST.NUM_FRAMES_WINDOW": "INFERENCE.WINDOW_FRAMES",
    "MODEL.BoxVIS.TEST.APPLY_CLS_THRES": "INFERENCE.CLASS_THRESHOLD",
    "MODEL.UniVS.TEST.BOX_NMS_THRESH": "INFERENCE.NMS_THRESHOLD",
    "MODEL.UniVS.TEST.DETECT_NEWLY_OBJECT_THRESHOLD": "INFERENCE.MATCH_THRESHOLD",
    "MODEL.UniVS.TEST.DETECT_NEWLY_INTERVAL_FRAMES": "INFERENCE.DISCOVERY_INTERVAL",
    "MODEL.UniVS.TEST.TEMPORAL_CONSISTENCY_THRESHOLD": "INFERENCE.CONSISTENCY_THRESHOLD",
    "MODEL.MASK_FORMER.TEST.OVERLAP_THRESHOLD": "INFERENCE.OVERLAP_THRESHOLD",
    "MODEL.MASK_FORMER.TEST.OVERLAP_THRESHOLD_ENTITY": "INFERENCE.OVERLAP_THRESHOLD_ENTITY",
    "MODEL.MASK_FORMER.TEST.OBJECT_MASK_THRESHOLD": "INFERENCE.OBJECT_THRESHOLD",
    "MODEL.MASK_FORMER.TEST.STABILITY_SCORE_THRESH": "INFERENCE.STABILITY_THRESHOLD",
    "TEST.DETECTIONS_PER_IMAGE": "INFERENCE.MAX_OBJECTS",
}
IMAGE_OUTPUTS = {"panoptic": "PANOPTIC_ON", "instances": "INSTANCE_ON", "semantic": "SEMANTIC_ON"}
NUM_CLASSES = 3938


@functools.cache
def _leaf(published: str) -> Path:
    """Our configuration file of a published one."""
    name = published.removeprefix("configs/univs_")
    for path in sorted(CONFIGS.glob("eval/*/*.yaml")):
        if f"(published: {name})" in path.read_text().splitlines()[0]:
            return path
    raise AssertionError(f"no configuration of ours is that of {published}")


def case_config(case):
    """The configuration of a case: ours of the same name with the values of the case."""
    values = case.json["config_values"]
    options = [part for key, ours in KEYS.items() if key in values for part in (ours, values[key])]
    outputs = [name for name, key in IMAGE_OUTPUTS.items() if values[f"MODEL.MASK_FORMER.TEST.{key}"]]
    options += ["INFERENCE.IMAGE_OUTPUTS", outputs]
    square = values["INPUT.LSJ_AUG.IMAGE_SIZE"] if values["INPUT.LSJ_AUG.SQUARE_ENABLED"] else 0
    options += ["INPUT.SQUARE_TEST", square, "MODEL.DEVICE", str(parity.DEVICE)]
    return get_config(_leaf(case.json["official_config"]), options)


def case_settings(case) -> ClipSettings:
    """The settings of the stream."""
    return clip_settings(case_config(case))


@functools.lru_cache(maxsize=1)
def _filled_model(tag: str, backbone: str) -> UniVS:
    options = ["MODEL.DEVICE", str(parity.DEVICE), "MODEL.UNIVS.TEXT.ENCODER", "NONE"]
    cfg = get_config(CONFIGS / "_base" / f"backbone_{backbone}.yaml", options)
    return parity.fill(UniVS(cfg), tag, weight=rule_video.weight).eval()


def case_model(case) -> UniVS:
    """The model of a case; cases with the same weights share it."""
    from tests.modeling.test_parity_whole_model import _text_encoder

    backbone = re.search(r"_(r50|swin[tbl])_", case.json["official_config"].lower()).group(1)
    model = _filled_model(case.tag, backbone)
    model.text_encoder = _text_encoder(case.tag) if case.json["text_encoder_used"] else None
    settings = mask_decoder_settings(case_config(case))
    model.mask_decoder.settings = settings
    model.mask_decoder.prompt_encoder.text.language_to_vision = settings.language_to_vision
    return model


@functools.cache
def _class_table(tag: str) -> Tensor:
    return parity.tensor(rule.weight(tag, "clip_cls_text_emb", (NUM_CLASSES, 640)))


def case_seeds(case) -> VideoSeeds:
    """What is known of the video beforehand."""
    inputs, settings = case.inputs, case_settings(case)
    if settings.objects == "sentences":
        return VideoSeeds(sentences=dict(zip(inputs["exp_ids"], inputs["expressions"], strict=True)))
    seen = {row for frame in rule_video.given_masks(inputs) for row, _ in frame} if "start" in inputs else set()
    ids = sorted(inputs["ids"][row] for row in seen)
    start, count = case.json["class_slice_start_count"]
    if not settings.vocabulary or not count:
        return VideoSeeds(object_ids=ids)
    is_thing = read_vocabulary(settings.vocabulary).is_thing
    things = frozenset(place for place, thing in enumerate(is_thing) if thing)
    table = _class_table(case.tag)
    return VideoSeeds(
        object_ids=ids, class_embeddings=table[start : start + count], things=things, ranking_embeddings=table
    )


def case_given(case) -> dict[int, GivenMasks]:
    """Given masks by frame."""
    if "start" not in case.inputs:
        return {}
    given = {}
    for frame, objects in enumerate(rule_video.given_masks(case.inputs)):
        if objects:
            rows = [row for row, _ in objects]
            masks = torch.from_numpy(np.stack([mask for _, mask in objects]))
            ids, labels = (tuple(case.inputs[name][row] for row in rows) for name in ("ids", "classes"))
            given[frame] = GivenMasks(ids, masks, labels)
    return given


@contextlib.contextmanager
def memory_bits(case) -> Iterator[dict[str, int]]:
    """Within this context the masks that go into the memory have the listed pixels of the reference run.

    The context's dict holds the number of the present clip and the frame after its last.
    """
    rows: dict[int, list[list[int]]] = {}
    for row in case.json.get("sign_bits", {}).get("memory", []):
        clip, *place = (int(number) for number in row.split())
        rows.setdefault(clip, []).append(place)
    place_of, original = {"clip": 0, "stop": 0}, memory_pool.masks_to_memory

    def remembered(masks: Tensor) -> Tensor:
        out = original(masks)
        for frame, item, row, column, value in rows.get(place_of["clip"], ()):
            place = frame - place_of["stop"]
            if -out.shape[1] <= place:
                out[item, place, row, column] = value
        return out

    with mock.patch.object(memory_pool, "masks_to_memory", remembered):
        yield place_of


@dataclasses.dataclass
class Comparison:
    """Compares arrays with those of a case, each with the limits of its kind.

    left_out: leading queries that the program did not run; their rows are not compared, and neither are those of prompt
    queries that come after what the program ran.
    """

    case: parity.Case
    left_out: int = 0

    BY_QUERY = ("embd_norm", "quality", "mask_pos", "score", "label")

    def reference(self, name: str) -> np.ndarray:
        """The stored array; packed bits are unpacked."""
        if f"{name}_bits" in self.case.npz:
            return rule_video.unpack(self.case.npz[f"{name}_bits"], self.case.npz[f"{name}_shape"])
        return self.case.npz[name]

    def names(self) -> list[str]:
        """Names of all stored arrays."""
        return [name.removesuffix("_bits") for name in self.case.npz]

    def check(self, name: str, value: Tensor | np.ndarray | float) -> None:
        """Assert that ``value`` agrees with the stored array ``name``."""
        value = value.detach().cpu().numpy() if isinstance(value, Tensor) else np.asarray(value)
        reference = self.reference(name)
        short = re.sub(r"^clip\d+\.", "", name)
        limits = self._limits(name, short)
        if short in self.BY_QUERY:
            reference = reference[self.left_out : self.left_out + len(value)]
        assert value.shape == reference.shape, f"{name}: {value.shape} instead of {reference.shape}"
        value, reference = np.atleast_1d(value, reference)
        value, reference = value.astype(np.float64), reference.astype(np.float64)
        size = np.maximum(np.abs(reference), self._floor(limits, reference))
        limit = self._atol(name, limits, len(value)) + limits.get("rtol", 0.0) * size
        outside = ~(np.abs(value - reference) <= limit)
        share = outside.mean((-2, -1)) if limits.get("per_frame") else outside.mean() if outside.size else 0.0
        worst = np.max(np.abs(value - reference)) if reference.size else 0.0
        allowed = limits.get("allowed_fraction_outside", 0.0)
        assert np.max(share) <= allowed, f"{name}: {np.max(share):.3%} outside, largest difference {worst:.3g}"

    def _limits(self, name: str, short: str) -> dict:
        tolerance = self.case.json["tolerance"]
        return tolerance["kinds"][tolerance["arrays"][short]]

    def _floor(self, limits: dict, reference: np.ndarray) -> float:
        floor = limits.get("floor", 0.0)
        if floor == "rms":
            return float(np.sqrt((reference**2).mean())) if reference.size else 0.0
        return float(floor)

    def _atol(self, name: str, limits: dict, rows: int) -> np.ndarray | float:
        if "atol_over_mask_pos" not in limits:
            return limits.get("atol", 0.0)
        pixels = self.case.npz[f"{name.rsplit('.', 1)[0]}.mask_pos"].sum(1)
        return limits["atol_over_mask_pos"] / np.maximum(pixels, 1)[self.left_out : self.left_out + rows]

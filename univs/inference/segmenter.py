"""UniVS as the session sees it: encode a frame, answer prompts, remember, follow, discover."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor

from univs.errors import UserError
from univs.inference import dense_discovery, dense_following, query_following
from univs.inference.dense_bank import BankSettings, DenseBank, ObjectMemory, cell_boxes
from univs.inference.geometry import MaskGeometry
from univs.inference.mask_pieces import far_pieces, near_clicks, without_far_pieces
from univs.inference.protocol import Answer, Discovery
from univs.modeling.dense_memory import DenseMaps
from univs.modeling.prompt_answer import AnswerMaps, FramePrompts
from univs.runtime import on_one_thread
from univs.structures import (
    BoxPrompt,
    FrameFeatures,
    MaskPrompt,
    PointPrompt,
    Prompt,
    ScribblePrompt,
    TextPrompt,
)

STRIDE = 4
PARTS = ("dense", "queries", "both")
CERTAIN = 0.999  # probability given to a pixel that the user's own mask covers


@dataclass(frozen=True)
class SegmenterSettings:
    """How the model looks at frames.

    area: pixels of the network input; sides are multiples of ``divisor`` in nearly the frame's own shape.
    parts: what follows objects: "dense" (the dense memory), "queries" (prompt queries), "both" (joined by the model's
    gates). bank: budget of the dense memory. discovery, sentence: what counts as found by category, by a sentence.
    """

    area: int = 352 * 640
    divisor: int = 32
    parts: str = "dense"
    bank: BankSettings = BankSettings(window=11)
    discovery: dense_discovery.DiscoverySettings = dense_discovery.DiscoverySettings()
    sentence: dense_discovery.DiscoverySettings = dense_discovery.DiscoverySettings(warm=0.15, accept=0.1, instances=3)


@dataclass
class EncodedFrame(FrameFeatures):
    """Features of one frame with the maps of the dense parts beside them."""

    dense: DenseMaps | None = None
    blank: Tensor | None = None
    answering: AnswerMaps | None = None


def network_size(size: tuple[int, int], area: int, divisor: int) -> tuple[int, int]:
    """Height and width of the network input for frames of ``size`` (H, W): multiples of ``divisor``, about ``area``."""
    scale = (area / (size[0] * size[1])) ** 0.5
    height, width = (max(divisor, round(side * scale / divisor) * divisor) for side in size)
    return height, width


class UniVSSegmenter:
    """Implements `univs.inference.protocol.Segmenter` over a `UniVS` model with a dense memory."""

    def __init__(self, model: torch.nn.Module, settings: SegmenterSettings | None = None, name: str = "univs") -> None:
        # convolutions of few channels are about twice as fast with channels last
        self.model = model.eval().to(memory_format=torch.channels_last)
        self.settings = settings or SegmenterSettings()
        self.name = name
        if self.settings.parts not in PARTS:
            raise UserError(f"Parts {self.settings.parts!r} are unknown; choose {', '.join(PARTS)}.")
        self.queries = None
        if self.settings.parts != "dense":
            self.queries = query_following.QueryFollower(self.model.mask_decoder)

    @property
    def device(self) -> torch.device:
        """Where the model runs."""
        return self.model.device

    def geometry(self, size: tuple[int, int]) -> MaskGeometry:
        """The stride-4 grid of the network input over frames of ``size`` (H, W)."""
        inside = network_size(size, self.settings.area, self.settings.divisor)
        return MaskGeometry.of_network(size, inside, inside, STRIDE)

    @torch.inference_mode()
    def encode(self, frame: np.ndarray) -> EncodedFrame:
        """Features of one uint8 RGB frame [H, W, 3]."""
        size = network_size(frame.shape[:2], self.settings.area, self.settings.divisor)
        smaller = size[0] * size[1] < frame.shape[0] * frame.shape[1]
        method = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
        image = cv2.resize(np.ascontiguousarray(frame), (size[1], size[0]), interpolation=method)
        pixels = torch.from_numpy(image).to(self.device).permute(2, 0, 1)[None].float()
        inputs = self.model.normalised_frames([{"image": pixels}])
        features = self.model.encode(
            inputs.contiguous(memory_format=torch.channels_last), queries=self.queries is not None
        )
        return EncodedFrame(**vars(features), dense=self.model.dense_memory.maps(features.backbone))

    @torch.inference_mode()
    def answer(
        self,
        features: EncodedFrame,
        size: tuple[int, int],
        prompts: Sequence[Prompt],
        base: np.ndarray | None,
        alternatives: bool = False,
    ) -> list[Answer]:
        """Masks of one object from its prompts, best first; a mask prompt alone is taken as it is."""
        masks = [p for p in prompts if isinstance(p, MaskPrompt)]
        if masks:
            base = masks[-1].to_array()
        placed = any(isinstance(p, (PointPrompt, BoxPrompt, ScribblePrompt)) for p in prompts)
        if masks and not placed:
            return [answer_of(self._shrunk(base, features).clamp(1 - CERTAIN, CERTAIN).logit())]
        if not placed and base is None:
            return self._named(features, prompts)
        drawn = self._frame_prompts(prompts, size, None if base is None else self._shrunk(base, features))
        logits, overlaps = self.model.prompt_answer.answer(self._answering(features), drawn)
        if base is None and drawn.box is None:
            clicks = drawn.points[drawn.labels == 1]
            logits = [near_clicks(x, clicks, dense_following.ABSENT) for x in logits]
        best, *others = (Answer(x, float(overlap)) for x, overlap in zip(logits, overlaps, strict=True))
        count = sum(len(p.points) for p in prompts if isinstance(p, PointPrompt))
        if not alternatives or count != 1 or len(prompts) > 1 or base is not None:
            return [best]
        return [best, *sorted(others, key=lambda a: -a.score)]

    def _named(self, features: EncodedFrame, prompts: Sequence[Prompt]) -> list[Answer]:
        """The object that a sentence alone describes; its score is how well it fits."""
        text = [p.text for p in prompts if isinstance(p, TextPrompt)][-1:]
        maps, settings = self._answering(features), self.settings.sentence
        found = dense_discovery.discover(self.model.prompt_answer, maps, text, self._embed(text), settings)
        if not found:
            height, width = features.dense.keys.shape[-2:]
            return [Answer(torch.full((2 * height, 2 * width), dense_following.ABSENT, device=self.device), 0.0)]
        return [Answer(item.mask_logits, item.score) for item in found[:1]]

    def _answering(self, features: EncodedFrame) -> AnswerMaps:
        if features.answering is None:
            features.answering = self.model.prompt_answer.maps(features.backbone, features.dense.descriptors)
        return features.answering

    def _shrunk(self, mask: np.ndarray, features: EncodedFrame) -> Tensor:
        """Share of each cell [h4, w4] that a mask [H, W] covers."""
        height, width = features.dense.keys.shape[-2:]
        small = cv2.resize(mask.astype(np.float32), (2 * width, 2 * height), interpolation=cv2.INTER_AREA)
        return torch.from_numpy(small).to(self.device)

    def _frame_prompts(self, prompts: Sequence[Prompt], size: tuple[int, int], base: Tensor | None) -> FramePrompts:
        points, labels, box, text = [], [], None, None
        for prompt in prompts:
            if isinstance(prompt, PointPrompt):
                points += prompt.points
                labels += prompt.labels
            elif isinstance(prompt, ScribblePrompt):
                for stroke, label in zip(prompt.strokes, prompt.labels, strict=True):
                    along = points_along(stroke, step=max(size) / 60)
                    points += along
                    labels += [label] * len(along)
            elif isinstance(prompt, BoxPrompt):
                box = torch.tensor(prompt.box, device=self.device) / torch.tensor(
                    [size[1], size[0], size[1], size[0]], device=self.device
                )
            elif isinstance(prompt, TextPrompt):
                text = self._embed([prompt.text])[0]
        place = torch.tensor(points, dtype=torch.float32, device=self.device).reshape(-1, 2)
        place = place / torch.tensor([size[1], size[0]], device=self.device)
        return FramePrompts(place, torch.tensor(labels, device=self.device), box, base, text)

    def _embed(self, texts: Sequence[str]) -> Tensor:
        """Unit-length embeddings [N, D] of sentences or names."""
        return self.model.text_encoder.encode(list(texts)).to(self.device)

    def start(self) -> DenseBank:
        """An empty memory."""
        return DenseBank(self.settings.bank)

    @torch.inference_mode()
    @on_one_thread()
    def remember(
        self, memory: DenseBank, frame_index: int, features: EncodedFrame, logits: dict[int, Tensor], permanent: bool
    ) -> None:
        """Store masks [h4, w4] by object id."""
        if features.blank is None:
            height, width = features.dense.keys.shape[-2:]
            empty = torch.zeros(1, 2 * height, 2 * width, device=self.device)
            features.blank = self.model.dense_memory.values(features.dense, empty)[0].permute(1, 2, 0).contiguous()
        masks = torch.stack(list(logits.values())).to(self.device)
        stored = dense_following.object_values(self.model.dense_memory, features.dense, masks)
        memory.share(frame_index, features.dense.keys[0], features.blank)
        for object_id, mask, values, box in zip(logits, masks, stored, cell_boxes(masks), strict=True):
            memory.write(frame_index, object_id, values, permanent)
            memory.place(object_id, box)
            if permanent and far_pieces(mask) is not None:
                memory.objects[object_id].scattered.add(frame_index)
            if self.queries is not None:
                memory.write_tokens(frame_index, object_id, self.queries.tokens(features, mask))

    def forget(
        self, memory: DenseBank, object_ids: Sequence[int] | None = None, frames: Sequence[int] | None = None
    ) -> None:
        """Forget objects, frames of them, or everything."""
        memory.forget(object_ids, frames)

    @torch.inference_mode()
    @on_one_thread()
    def follow(
        self, memory: DenseBank, frame_index: int, features: EncodedFrame, object_ids: Sequence[int]
    ) -> dict[int, Answer]:
        """Masks of remembered objects in this frame."""
        readings: dict[int, dense_following.DenseReading] = {}
        if self.settings.parts != "queries":
            readings = dense_following.follow(
                self.model.dense_memory, memory, features.dense, object_ids, codes=self.queries is not None
            )
        if self.queries is None:
            logits = {object_id: reading.logits for object_id, reading in readings.items()}
        else:
            logits = self.queries.follow(memory, frame_index, features, object_ids, readings)
        return answers_of({i: _whole(memory.objects[i], mask) for i, mask in logits.items()})

    @torch.inference_mode()
    def discover(self, features: EncodedFrame, size: tuple[int, int], names: Sequence[str]) -> list[Discovery]:
        """Instances of the named categories in this frame, best first."""
        maps = self._answering(features)
        return dense_discovery.discover(
            self.model.prompt_answer, maps, names, self._embed(names), self.settings.discovery
        )

    def memory_report(self, memory: DenseBank) -> dict[str, int]:
        """Frames, objects and bytes held."""
        return memory.report()


def _whole(item: ObjectMemory, logits: Tensor) -> Tensor:
    """A followed mask without far pieces, unless the user showed the object in such pieces."""
    return logits if item.scattered else without_far_pieces(logits, dense_following.ABSENT)


def answers_of(logits: dict[int, Tensor]) -> dict[int, Answer]:
    """Masks [h4, w4] by object id whose scores are their stability."""
    scores = stabilities(torch.stack(list(logits.values()))) if logits else []
    return {i: Answer(mask, score) for (i, mask), score in zip(logits.items(), scores, strict=True)}


def answer_of(logits: Tensor) -> Answer:
    """A mask [h4, w4] whose score is its stability."""
    return answers_of({0: logits})[0]


def stabilities(logits: Tensor) -> list[float]:
    """Area above logit 1 over area above logit -1 of masks [K, h4, w4]: near 1 for a decided mask, 0 for none.

    It is UniVS's quality of a mask.
    """
    masks = logits.cpu().numpy()  # counts several times faster
    areas = ((np.count_nonzero(mask > 1), np.count_nonzero(mask > -1)) for mask in masks)
    return [decided / loose if loose else 0.0 for decided, loose in areas]


def points_along(stroke: Sequence[tuple[float, float]], step: float) -> list[tuple[float, float]]:
    """Points (x, y) along a polyline, its ends included, about every ``step`` pixels."""
    path = np.asarray(stroke, np.float64).reshape(-1, 2)
    lengths = np.hypot(*np.diff(path, axis=0).T) if len(path) > 1 else np.zeros(0)
    total = np.concatenate([[0.0], np.cumsum(lengths)])
    count = max(2, int(total[-1] / step) + 1) if total[-1] > 0 else 1
    places = np.linspace(0, total[-1], count)
    return [(float(np.interp(p, total, path[:, 0])), float(np.interp(p, total, path[:, 1]))) for p in places]

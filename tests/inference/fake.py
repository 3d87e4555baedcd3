"""A small model that follows colours, and videos it can follow: the session's rules are tested without weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from univs.inference.geometry import MaskGeometry
from univs.inference.protocol import Answer, Discovery
from univs.inference.session import VideoSession
from univs.inference.settings import SessionSettings
from univs.structures import BoxPrompt, FrameFeatures, MaskPrompt, PointPrompt, Prompt, ScribblePrompt, TextPrompt
from univs.video.arrays import ArraySource

STRIDE = 4
COLOURS = {"red": (220, 40, 40), "green": (40, 200, 60), "blue": (50, 70, 230), "yellow": (230, 220, 50)}


@dataclass
class ColourMemory:
    """Per object: remembered (colour, place, permanent) by frame."""

    objects: dict[int, dict[int, tuple[Tensor, Tensor, bool]]] = field(default_factory=dict)


class ColourSegmenter:
    """Implements the protocol by colour: an object is what looks like the remembered colour near the last place."""

    name = "colours@1"

    def __init__(self) -> None:
        self.encoded: list[bytes] = []
        self.asked: list[tuple[tuple[Prompt, ...], np.ndarray | None]] = []
        self.remembered: list[tuple[int, tuple[int, ...], bool]] = []
        self.followed: list[tuple[int, tuple[int, ...]]] = []

    def geometry(self, size: tuple[int, int]) -> MaskGeometry:
        padded = tuple(-(-side // STRIDE) * STRIDE for side in size)
        return MaskGeometry.of_network(size, size, padded, STRIDE)

    def encode(self, frame: np.ndarray) -> FrameFeatures:
        self.encoded.append(frame.tobytes())
        cells = frame[STRIDE // 2 :: STRIDE, STRIDE // 2 :: STRIDE]
        height, width = (-(-side // STRIDE) for side in frame.shape[:2])
        colours = np.zeros((height, width, 3), np.float32)
        colours[: cells.shape[0], : cells.shape[1]] = cells
        maps = torch.from_numpy(colours / 255).permute(2, 0, 1)[None]
        return FrameFeatures([], maps, frame.shape[:2], (height * STRIDE, width * STRIDE))

    def answer(
        self,
        features: FrameFeatures,
        size: tuple[int, int],
        prompts: Sequence[Prompt],
        base: np.ndarray | None,
        alternatives: bool = False,
    ) -> list[Answer]:
        self.asked.append((tuple(prompts), base))
        maps = features.mask_features[0]
        positive, negative, inside = self._read(maps, size, prompts)
        logits = _likeness(maps, torch.stack(positive).mean(0)) if positive else torch.full(maps.shape[1:], -4.0)
        for colour in negative:
            logits = logits - 2 * _likeness(maps, colour).clamp(min=0)
        if inside is not None:
            logits = torch.where(inside, logits, torch.full_like(logits, -6.0))
        if base is not None:
            logits = logits + torch.from_numpy(self.geometry(size).shrink(base)).float() * (0.5 if positive else 6)
        answers = [_answer(logits)]
        if alternatives:
            answers += [_answer(logits - 1.5), _answer(logits + 1.5)]
        return answers

    def start(self) -> ColourMemory:
        return ColourMemory()

    def remember(
        self,
        memory: ColourMemory,
        frame_index: int,
        features: FrameFeatures,
        logits: dict[int, Tensor],
        permanent: bool,
    ) -> None:
        self.remembered.append((frame_index, tuple(logits), permanent))
        for object_id, mask in logits.items():
            frames = memory.objects.setdefault(object_id, {})
            inside = mask > 0
            if inside.any():
                colour = features.mask_features[0][:, inside].mean(1)
                place = torch.nonzero(inside).float().mean(0)
                frames.pop(frame_index, None)
                frames[frame_index] = (colour, place, permanent)
            evictable = [f for f, item in frames.items() if not item[2]]
            for old in evictable[:-2]:
                del frames[old]

    def forget(
        self, memory: ColourMemory, object_ids: Sequence[int] | None = None, frames: Sequence[int] | None = None
    ) -> None:
        for object_id in list(memory.objects) if object_ids is None else object_ids:
            if frames is None:
                memory.objects.pop(object_id, None)
            for frame in frames or ():
                memory.objects.get(object_id, {}).pop(frame, None)

    def follow(
        self, memory: ColourMemory, frame_index: int, features: FrameFeatures, object_ids: Sequence[int]
    ) -> dict[int, Answer]:
        self.followed.append((frame_index, tuple(object_ids)))
        return {i: self._follow(memory.objects.get(i, {}), features.mask_features[0]) for i in object_ids}

    def discover(self, features: FrameFeatures, size: tuple[int, int], names: Sequence[str]) -> list[Discovery]:
        found = []
        for name in names:
            if name in COLOURS:
                logits = _likeness(features.mask_features[0], torch.tensor(COLOURS[name]) / 255)
                if (logits > 0).any():
                    found.append(Discovery(name, 0.9 - 0.01 * len(found), logits))
        return found

    def memory_report(self, memory: ColourMemory) -> dict[str, int]:
        frames = sum(len(item) for item in memory.objects.values())
        return {"frames": frames, "objects": len(memory.objects), "bytes": 20 * frames}

    def _read(
        self, maps: Tensor, size: tuple[int, int], prompts: Sequence[Prompt]
    ) -> tuple[list[Tensor], list[Tensor], Tensor | None]:
        """Colours on the object, colours beside it, and the cells in which it must lie."""
        positive, negative, inside = [], [], None
        for prompt in prompts:
            if isinstance(prompt, PointPrompt):
                pairs = zip(prompt.points, prompt.labels, strict=True)
            elif isinstance(prompt, ScribblePrompt):
                pairs = [
                    (p, label) for stroke, label in zip(prompt.strokes, prompt.labels, strict=True) for p in stroke
                ]
            elif isinstance(prompt, TextPrompt):
                positive += [torch.tensor(COLOURS[word]) / 255 for word in prompt.text.split() if word in COLOURS]
                continue
            else:
                cells = self._cells(prompt, size)
                positive.append(maps[:, cells].mean(1) if cells.any() else torch.zeros(3))
                inside = cells
                continue
            for (x, y), label in pairs:
                column = min(int(x / STRIDE), maps.shape[2] - 1)
                row = min(int(y / STRIDE), maps.shape[1] - 1)
                (positive if label else negative).append(maps[:, row, column])
        return positive, negative, inside

    def _cells(self, prompt: Prompt, size: tuple[int, int]) -> Tensor:
        mask = np.zeros(size, bool)
        if isinstance(prompt, BoxPrompt):
            x0, y0, x1, y1 = (int(v) for v in prompt.box)
            mask[y0:y1, x0:x1] = True
        elif isinstance(prompt, MaskPrompt):
            mask = prompt.to_array()
        return torch.from_numpy(self.geometry(size).shrink(mask))

    def _follow(self, frames: dict[int, tuple[Tensor, Tensor, bool]], maps: Tensor) -> Answer:
        if not frames:
            return _answer(torch.full(maps.shape[1:], -8.0))
        weights = torch.tensor([2.0 if permanent else 1.0 for _, _, permanent in frames.values()])
        colours = torch.stack([colour for colour, _, _ in frames.values()])
        logits = torch.stack([_likeness(maps, colour) for colour in colours])
        logits = (logits * weights[:, None, None]).amax(0) / 2
        place = list(frames.values())[-1][1]
        rows, columns = torch.meshgrid(torch.arange(maps.shape[1]), torch.arange(maps.shape[2]), indexing="ij")
        return _answer(logits - 0.12 * ((rows - place[0]) ** 2 + (columns - place[1]) ** 2))


def _likeness(maps: Tensor, colour: Tensor) -> Tensor:
    return 3.0 - 12.0 * (maps - colour[:, None, None]).norm(dim=0)


def _answer(logits: Tensor) -> Answer:
    inside = logits > 0
    return Answer(logits, float(logits[inside].sigmoid().mean()) if inside.any() else 0.0)


def squares(
    count: int, size: tuple[int, int] = (48, 80), side: int = 14, appear: dict[str, range] | None = None
) -> list[np.ndarray]:
    """Frames with coloured squares that move over a grey texture; ``appear``: the frames in which each is there."""
    appear = {"red": range(count), "green": range(count)} if appear is None else appear
    texture = np.random.default_rng(0).integers(100, 140, (*size, 1)).repeat(3, 2).astype(np.uint8)
    frames = []
    for t in range(count):
        frame = texture.copy()
        frame[0, 0] = (t % 256, t // 256, 7)  # every frame differs from every other one
        for place, (colour, when) in enumerate(appear.items()):
            if t in when:
                y, x = square_at(place, t, size, side)
                frame[y : y + side, x : x + side] = COLOURS[colour]
        frames.append(frame)
    return frames


def square_at(place: int, t: int, size: tuple[int, int] = (48, 80), side: int = 14) -> tuple[int, int]:
    """Top-left corner (y, x) of the square number ``place`` in frame ``t``: each moves along its own row."""
    span = size[1] - side - 4
    along = (2 + 2 * t + 30 * place) % (2 * span)
    return min(2 + (side + 2) * place, size[0] - side), (along if along < span else 2 * span - along) + 2


def centre(place: int, t: int) -> tuple[float, float]:
    """Centre (x, y) of a square."""
    y, x = square_at(place, t)
    return x + 7.0, y + 7.0


def open_session(
    frames: Sequence[np.ndarray], segmenter: ColourSegmenter | None = None, **settings: float
) -> VideoSession:
    """A session with the colour model on frames in memory."""
    return VideoSession(segmenter or ColourSegmenter(), ArraySource(frames), SessionSettings(**settings))


def masks_of(results: Sequence) -> dict[int, dict[int, bytes]]:
    """Masks of many frames as bytes, to compare bit by bit: frame -> object id -> bytes."""
    return {
        r.index: {o.object_id: o.mask.tobytes() + bytes(f"{o.score!r}", "ascii") for o in r.objects} for r in results
    }


def propagated(session: VideoSession, **arguments: object) -> dict[int, dict[int, bytes]]:
    return masks_of(list(session.propagate(**arguments)))


def square_mask(place: int, t: int) -> np.ndarray:
    y, x = square_at(place, t)
    mask = np.zeros((48, 80), bool)
    mask[y : y + 14, x : x + 14] = True
    return mask


def iou(a: np.ndarray, b: np.ndarray) -> float:
    return (a & b).sum() / (a | b).sum()

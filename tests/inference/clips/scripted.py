"""A model whose answers are written down: things that stand somewhere in some frames, and a stream that asks it."""

from __future__ import annotations

from collections.abc import Callable, Container
from dataclasses import dataclass
from types import SimpleNamespace

import torch
from torch import Tensor

from univs.inference.clips.seeds import VideoSeeds
from univs.inference.clips.settings import ClipSettings
from univs.inference.clips.stream import ClipStream
from univs.structures import ClipPrediction, FrameFeatures

SIZE = (32, 64)
CLASSES = 4
THINGS = frozenset({0, 1})
DIM = 8
SURE = 8.0


@dataclass(frozen=True)
class Scripted:
    """A learnable query: class, class logit, and where it is (rows, columns of the 8 x 16 mask map) by frame."""

    category: int
    where: Callable[[int], tuple[slice, slice] | None]
    logit: float = 3.0

    def mask(self, frame: int) -> Tensor:
        """Logits [8, 16] in one frame."""
        logits = torch.full((SIZE[0] // 4, SIZE[1] // 4), -SURE)
        place = self.where(frame)
        if place is not None:
            logits[place] = SURE
        return logits


def still(
    category: int, rows: slice, columns: slice, frames: Container[int] = range(10**6), logit: float = 3.0
) -> Scripted:
    """A thing that does not move, there in some frames."""
    return Scripted(category, lambda frame: (rows, columns) if frame in frames else None, logit)


class ScriptedModel:
    """Stands for the whole model; frame number f is a picture whose pixels are f."""

    def __init__(self, queries: list[Scripted]) -> None:
        self.queries = queries
        self.mask_decoder = self._decode
        heads = SimpleNamespace(class_logits=lambda embeddings, classes: self._classes(range(len(queries))))
        self.mask_decoder = _Decoder(self._decode, heads)
        self.calls: list[int] = []

    def normalised_frames(self, samples: list[dict]) -> Tensor:
        return samples[0]["image"][None]

    def encode(self, images: Tensor) -> FrameFeatures:
        maps = images[:, :1, ::4, ::4].expand(-1, DIM, -1, -1)
        size = (images.shape[2], images.shape[3])
        return FrameFeatures([], maps, size, size)

    def _classes(self, rows) -> Tensor:
        logits = torch.full((1, len(rows), CLASSES), -6.0)
        for place, row in enumerate(rows):
            logits[0, place, self.queries[row].category] = self.queries[row].logit
        return logits

    def _decode(self, features: FrameFeatures, prompts, **options) -> ClipPrediction:
        frames = features.mask_features[:, 0, 0, 0].long().tolist()
        self.calls.append(len(frames))
        rows = [*range(len(self.queries)), *(prompts or [])]
        masks = torch.stack([torch.stack([self.queries[row].mask(frame) for frame in frames]) for row in rows])
        embeddings = 4 * torch.eye(DIM)[rows][:, None].expand(-1, len(frames), -1)
        return ClipPrediction(self._classes(rows), masks[None], embeddings[None], len(self.queries))


class _Decoder:
    def __init__(self, decode: Callable, heads: SimpleNamespace) -> None:
        self.decode, self.heads = decode, heads

    def __call__(self, *args, **kwargs) -> ClipPrediction:
        return self.decode(*args, **kwargs)


class _KnownQueries:
    """Prompts of the objects of the state: the query that each of them was made of."""

    def tokens(self, state, features, frames) -> list[int] | None:
        return state.embeddings.abs().sum(1).argmax(1).tolist() or None

    def meet(self, state, features, frames) -> None:
        """Nothing is remembered."""

    def keep(self, rows) -> None:
        """Nothing is forgotten."""


class ScriptedStream(ClipStream):
    """A stream over scripted things; ``held`` are the frames whose masks the state held after each clip."""

    def __init__(self, queries: list[Scripted], settings: ClipSettings, video_size: tuple[int, int] = SIZE) -> None:
        seeds = VideoSeeds(class_embeddings=torch.eye(CLASSES), things=THINGS)
        super().__init__(ScriptedModel(queries), settings, video_size, seeds)
        self.prompts = _KnownQueries()
        self.held: list[int] = []

    def _run(self) -> list:
        results = super()._run()
        self.held.append(self.state.frames)
        return results

    def play(self, frames: int) -> list:
        """All results of a video of so many frames."""
        results = []
        for number in range(frames):
            results += self.step(torch.full((3, *SIZE), float(number)))
        return results + self.finish()

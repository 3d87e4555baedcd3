"""From the prompts on one frame to the object's mask there."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from univs.errors import UserError
from univs.inference.feature_cache import FeatureCache
from univs.inference.mask_store import Entry
from univs.inference.protocol import Answer, Segmenter
from univs.inference.results import ResultBook
from univs.inference.timeline import UserFrame
from univs.structures import FrameFeatures, PointPrompt


class AnswerDesk:
    """Answers user frames, each once: an answer depends on the prompts, the base and the frame alone."""

    def __init__(self, segmenter: Segmenter, features: FeatureCache, book: ResultBook, size: tuple[int, int]) -> None:
        self._segmenter = segmenter
        self._features = features
        self._book = book
        self._size = size

    def entry(self, item: UserFrame) -> Entry:
        """The stored answer of a user frame, computed if it is not there yet."""
        entry = self._book.answers.get(item.digest)
        if entry is None:
            best = self.ask(item)[0]
            entry = self._book.write(to_array(best.mask_logits), best.score)
            self._book.answers[item.digest] = entry
        return entry

    def logits(self, item: UserFrame) -> Tensor:
        """Mask logits [h4, w4] of a user frame, as they are stored."""
        return torch.from_numpy(self._book.soft(self.entry(item)).full())

    def ask(self, item: UserFrame, alternatives: bool = False) -> list[Answer]:
        """Answers of the model to a user frame, best first."""
        prompts = item.prompts or (item.base,)
        base = item.base.to_array() if item.base is not None and item.prompts else None
        return self._segmenter.answer(self.features(item.frame), self._size, prompts, base, alternatives)

    def readable(self, frame: int) -> bool:
        """Whether the frame can be decoded."""
        return self._features.get(frame) is not None

    def features(self, frame: int) -> FrameFeatures:
        """Features of a frame that somebody prompted."""
        features = self._features.get(frame)
        if features is None:
            raise UserError(
                f"Frame {frame} of the video is damaged and cannot be read, so nothing can be prompted there; "
                "move the prompt to another frame."
            )
        return features


def ambiguous(item: UserFrame) -> bool:
    """Whether a user frame is one positive click and nothing else: a part, the whole, or a group may be meant."""
    only = item.prompts[0] if len(item.prompts) == 1 and item.base is None else None
    return isinstance(only, PointPrompt) and only.labels == (1,)


def to_array(logits: Tensor) -> np.ndarray:
    """Any tensor as float32 in NumPy."""
    return logits.detach().float().cpu().numpy()

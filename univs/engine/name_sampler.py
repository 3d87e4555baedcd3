"""Names for learning what words look like: those of a picture's objects, and others that do not fit it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor


class NameSampler:
    """Draws names per sample and keeps their embeddings.

    encode: texts to unit-length embeddings [N, D]; vocabulary: names to draw the misfits from;
    misfits: how many of them per picture.
    """

    def __init__(self, encode: Callable[[list[str]], Tensor], vocabulary: Sequence[str], misfits: int = 16) -> None:
        self.encode = encode
        self.vocabulary = list(vocabulary)
        self.misfits = misfits
        self._known: dict[str, Tensor] = {}

    def embed(self, names: Sequence[str]) -> Tensor:
        """Embeddings [N, D] of names."""
        fresh = [name for name in dict.fromkeys(names) if name not in self._known]
        if fresh:
            self._known.update(zip(fresh, self.encode(fresh), strict=True))
        return torch.stack([self._known[name] for name in names])

    def draw(self, sample: dict[str, Any]) -> list[str]:
        """One name per kind of object in the picture, then names that nothing in it bears."""
        rng = np.random.default_rng([sample["sample"], 3])
        present = [str(rng.choice(names)) for names in sample["categories"] if names]
        borne = {name for names in sample["categories"] for name in names}
        others = [name for name in self.vocabulary if name not in borne]
        misfits = rng.choice(others, min(self.misfits, len(others)), replace=False).tolist() if others else []
        return [*dict.fromkeys(present), *misfits]

    def of_object(self, sample: dict[str, Any], index: int, rng: np.random.Generator) -> str | None:
        """A sentence or name that means one object of the picture only; None if there is none."""
        sentences = sample["expressions"][index]
        if sentences and rng.random() < 0.7:
            return str(rng.choice(sentences))
        if sample["partial_annotation"]:
            return None
        elsewhere = {name for i, names in enumerate(sample["categories"]) if i != index for name in names}
        own = [name for name in sample["categories"][index] if name not in elsewhere]
        return str(rng.choice(own)) if own else None

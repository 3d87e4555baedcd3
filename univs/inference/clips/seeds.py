"""What is given of a video: masks in frames, sentences, a vocabulary."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from torch import Tensor


@dataclass(frozen=True)
class GivenMasks:
    """Masks that are given in one frame.

    ids: of the n objects. masks: bool [n, H0, W0] at the size the network works in; empty ones count as not given.
    labels: classes of the objects (0-based, places in the vocabulary), or none.
    """

    ids: tuple[int, ...]
    masks: Tensor
    labels: tuple[int, ...] = ()


@dataclass(frozen=True)
class VideoSeeds:
    """What is known of a video before its first frame.

    object_ids: ids of all objects that will be given as masks; others may be given later, but only announced ones
        have a prompt query from the first clip on, as published.
    sentences: expressions by id.
    class_embeddings: [K, D] of the vocabulary. things: places in it of the countable classes.
    ranking_embeddings: [K', D] classes by which the best queries of a first clip are chosen (as published, all classes
        that the model was trained with); None: the vocabulary.
    """

    object_ids: Sequence[int] = ()
    sentences: dict[int, str] = field(default_factory=dict)
    class_embeddings: Tensor | None = None
    things: frozenset[int] = frozenset()
    ranking_embeddings: Tensor | None = None

"""Which sample, which frames: choices that depend on a seed and a counter only, never on workers or history."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from torch.utils.data import Sampler


def sample_generator(seed: int, index: int, purpose: int = 0) -> np.random.Generator:
    """The generator of sample ``index``: the same for the same numbers, independent for different ones."""
    return np.random.default_rng(np.random.SeedSequence((seed, purpose, index)))


class CounterSampler(Sampler[int]):
    """Endless sample numbers of one process: batch by batch, so that ``world_size`` processes share each step.

    Step s of process r draws the numbers (s * world_size + r) * batch_size + 0 .. batch_size - 1. A resumed run
    passes ``first_step`` and goes on with exactly the batches that it would have had.
    """

    def __init__(self, batch_size: int, first_step: int = 0, rank: int = 0, world_size: int = 1):
        self.batch_size = batch_size
        self.first_step = first_step
        self.rank = rank
        self.world_size = world_size

    def __iter__(self) -> Iterator[int]:
        step = self.first_step
        while True:
            start = (step * self.world_size + self.rank) * self.batch_size
            yield from range(start, start + self.batch_size)
            step += 1


def following_frames(
    rng: np.random.Generator, length: int, frames: int, largest_gap: int, reverse: bool = True
) -> np.ndarray:
    """Frame numbers [frames] of a clip to follow objects through: steps of 1..largest_gap stored frames each.

    Half of the clips run backwards if ``reverse``. A video that is too short for the steps drawn gets smaller ones;
    one that has fewer frames than asked stands still at its end.
    """
    steps = rng.integers(1, largest_gap + 1, frames - 1)
    while steps.sum() >= length and steps.max(initial=0) > 1:
        steps = np.where(steps == steps.max(), steps - 1, steps)
    places = np.minimum(np.concatenate([[0], np.cumsum(steps)]), length - 1)
    places = places + rng.integers(0, length - places[-1])
    return places[::-1].copy() if reverse and rng.random() < 0.5 else places


def reference_frames(rng: np.random.Generator, length: int, frames: int, reach: int) -> np.ndarray:
    """Frame numbers [frames], ascending: a random reference frame and others within ``reach`` frames of it.

    The others are drawn with replacement, so that a short video still fills the clip (UniVS, training on videos).
    """
    reference = int(rng.integers(length))
    near = [
        place for place in range(max(0, reference - reach), min(length, reference + reach + 1)) if place != reference
    ]
    others = rng.choice(near, frames - 1) if near else np.full(frames - 1, reference)
    return np.sort(np.append(others, reference)).astype(int)


def shift_into_range(rng: np.random.Generator, places: np.ndarray, largest: int = 128) -> np.ndarray:
    """Frame numbers shifted together by a random amount so that none is over ``largest``, where one is.

    Position codes of far-away frame numbers are never trained on; the distances between the frames stay.
    """
    if places[-1] <= largest:
        return places
    low = places[-1] - largest
    return places - rng.integers(low, max(low, places[0]) + 1)

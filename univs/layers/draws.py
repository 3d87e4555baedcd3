"""One place for every random draw of training and evaluation.

Code that needs chance asks a ``Draws`` object and says what for. The default draws from a seeded generator, so equal
seeds give equal results; a test passes its own object whose answers depend on the purpose alone.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import torch
from torch import Tensor


class Draws:
    """Random numbers from one seeded CPU generator.

    The generator lives on the CPU, so that the numbers are the same on every device; callers move what they get to
    the device that they work on. ``purpose`` names the use of a draw and is ignored here; subclasses may read it.
    """

    def __init__(self, seed: int = 0) -> None:
        self.generator = torch.Generator()
        self.generator.manual_seed(seed)

    def uniform(self, purpose: str, shape: Sequence[int]) -> Tensor:
        """Uniform numbers in [0, 1), float32, of the given shape."""
        return torch.rand(tuple(shape), generator=self.generator)

    def permutation(self, purpose: str, n: int) -> Tensor:
        """A random order of 0..n-1, int64 [n]."""
        return torch.randperm(n, generator=self.generator)

    def number(self, purpose: str) -> float:
        """One uniform number in [0, 1)."""
        return float(self.uniform(purpose, (1,)))


class RepeatableDraws(Draws):
    """Draws that depend on seed, purpose and size only, not on what was drawn before.

    With them the tokens of one object's prompt stay the same whatever other objects there are and in which order
    prompts are given; inference uses them.
    """

    def __init__(self, seed: int = 0) -> None:
        super().__init__(seed)
        self.seed = seed

    def uniform(self, purpose: str, shape: Sequence[int]) -> Tensor:
        """The uniform numbers in [0, 1) of this purpose and shape."""
        self._rewind(f"{purpose}/{tuple(shape)}")
        return super().uniform(purpose, shape)

    def permutation(self, purpose: str, n: int) -> Tensor:
        """The order of 0..n-1 of this purpose, int64 [n]."""
        self._rewind(f"{purpose}/{n}")
        return super().permutation(purpose, n)

    def _rewind(self, key: str) -> None:
        self.generator.manual_seed(zlib.crc32(f"{self.seed}/{key}".encode()))

"""Convolution whose result for one sample does not depend on the other samples of the batch, to the last bit."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Sample = TypeVar("Sample")


class SampleConvolution(nn.Conv2d):
    """A convolution with stride 1 for batches whose samples are independent objects.

    PyTorch chooses among its programs by the size of the batch and the number of threads, and two of them round
    differently; here oneDNN, where there is one, always computes it. ``batches_are_exact`` says whether that is enough.
    """

    def forward(self, x: Tensor) -> Tensor:
        """[K, C, H, W] to [K, C', H', W']."""
        if torch.is_grad_enabled() or not _has_onednn(x):
            return super().forward(x)
        if self.out_channels == 1:
            return self._to_one_channel(x)
        return _onednn(x, self.weight, self.bias, self.padding)

    def _to_one_channel(self, x: Tensor) -> Tensor:
        """All products of a cell first, one channel for each place of the kernel, then their sum over the places.

        With one output channel, oneDNN uses a sixteenth of what it can; so it takes half the time.
        """
        (rows, columns), (above, left) = self.kernel_size, self.padding
        height, width = x.shape[-2] + 2 * above - rows + 1, x.shape[-1] + 2 * left - columns + 1
        products = _onednn(x, self.weight[0].flatten(1).t()[:, :, None, None].contiguous(), None, self.padding)
        out = products[:, 0, :height, :width] + (0 if self.bias is None else self.bias)
        for place in range(1, rows * columns):
            top, start = divmod(place, columns)
            out += products[:, place, top : top + height, start : start + width]
        return out[:, None]


def _onednn(x: Tensor, weight: Tensor, bias: Tensor | None, padding: Sequence[int]) -> Tensor:
    return torch.ops.aten.mkldnn_convolution(x, weight, bias, list(padding), [1, 1], [1, 1], 1)


def _has_onednn(x: Tensor) -> bool:
    return x.device.type == "cpu" and x.dtype == torch.float32 and torch.backends.mkldnn.is_available()


def exact_batches(samples: Sequence[Sample], most: int, device: torch.device) -> Iterator[list[Sample]]:
    """Samples in batches of at most ``most`` in which each gets the bits that it would get in any other.

    Where a device rounds differently in batches of another size, all have ``most`` samples: the last one repeated.
    """
    if batches_are_exact(device):
        yield from (list(samples[start : start + most]) for start in range(0, len(samples), most))
    elif device.type != "cpu" and batches_are_exact(device, most):
        for start in range(0, len(samples), most):
            batch = samples[start : start + most]
            yield [*batch, *[batch[-1]] * (most - len(batch))]
    else:
        yield from ([sample] for sample in samples)


@functools.lru_cache(maxsize=8)
def batches_are_exact(device: torch.device, size: int | None = None) -> bool:
    """Whether the device gives a sample the same bits in all batches, or in all of one ``size``.

    Tried once with small convolutions.
    """
    generator = torch.Generator().manual_seed(0)
    sizes, again = ([7], [1, 2, 4]) if size is None else ([size, size], [size, size])
    with torch.inference_mode():
        for inputs, outputs, side in ((36, 64, 16), (64, 64, 8), (24, 24, 32), (24, 1, 32)):
            convolution = SampleConvolution(inputs, outputs, 3, padding=1)
            convolution.weight.data = torch.randn(convolution.weight.shape, generator=generator)
            convolution = convolution.to(device)
            samples = torch.randn(sum(sizes), inputs, side, side, generator=generator).to(device)
            order = torch.randperm(len(samples), generator=generator).to(device)
            whole, parts = _in_parts(convolution, samples, sizes), _in_parts(convolution, samples[order], again)
            if not torch.equal(whole[order], parts):
                return False
    return True


def _in_parts(convolution: nn.Module, samples: Tensor, sizes: Sequence[int]) -> Tensor:
    parts = samples.contiguous(memory_format=torch.channels_last).split(sizes)
    return torch.cat([F.relu(convolution(part)) for part in parts])

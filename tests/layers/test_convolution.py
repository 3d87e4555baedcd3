"""The convolution of independent samples."""

import pytest
import torch
import torch.nn.functional as F

from univs.layers import convolution as module
from univs.layers.convolution import SampleConvolution, batches_are_exact, exact_batches


@pytest.mark.parametrize(
    "outputs, kernel, padding, bias", [(7, 3, 1, True), (1, 3, 1, True), (1, (3, 5), (0, 2), False)]
)
def test_it_is_a_convolution_with_and_without_gradients(outputs, kernel, padding, bias) -> None:
    convolution = SampleConvolution(5, outputs, kernel, padding=padding, bias=bias)
    x = torch.randn(3, 5, 6, 9)
    expected = F.conv2d(x, convolution.weight, convolution.bias, padding=padding)
    torch.testing.assert_close(convolution(x), expected)
    with torch.inference_mode():
        torch.testing.assert_close(convolution(x), expected.detach(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("outputs", [1, 40])
def test_samples_are_independent_where_the_device_says_so(outputs) -> None:
    convolution = SampleConvolution(24, outputs, 3, padding=1)
    x = torch.randn(16, 24, 12, 20).contiguous(memory_format=torch.channels_last)
    with torch.inference_mode():
        together, alone = convolution(x), torch.cat([convolution(part) for part in x.split(1)])
    assert torch.equal(together, alone) or not batches_are_exact(x.device)


@pytest.mark.parametrize(
    ("device", "exact", "batches"),
    [
        ("cpu", {None, 3}, [[0, 1, 2], [3, 4, 5], [6]]),
        ("cuda", {3}, [[0, 1, 2], [3, 4, 5], [6, 6, 6]]),
        ("cpu", {3}, [[number] for number in range(7)]),  # a full batch for one sample is too dear there
        ("cuda", set(), [[number] for number in range(7)]),
    ],
)
def test_batches_are_such_as_the_device_computes_exactly(device, exact, batches, monkeypatch) -> None:
    monkeypatch.setattr(module, "batches_are_exact", lambda device, size=None: size in exact)
    assert list(exact_batches(range(7), 3, torch.device(device))) == batches


def test_equal_batches_are_exact_where_all_are() -> None:
    device = torch.device("cpu")
    assert batches_are_exact(device, 4) or not batches_are_exact(device)

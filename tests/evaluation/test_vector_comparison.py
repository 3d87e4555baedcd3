"""The comparison with stored numbers finds what differs."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from tests.evaluation.vectors import differences
from univs.evaluation.metrics.scratch import scratch

NAN = float("nan")


@pytest.mark.parametrize(
    ("expected", "result"),
    [
        ({"a": 1.0}, {"a": 1.00001}),
        ({"a": 1.0}, {"b": 1.0}),
        ({"a": 1.0}, [1.0]),
        ({"a": 1.0}, {"a": NAN}),
        ({"a": None}, {"a": 0.0}),
        ([1, 2], [1, 2, 3]),
        ({"a": 1}, {"a": True}),
        ({"a": "x"}, {"a": "y"}),
        ([[0.5]], np.array([[0.6]])),
    ],
)
def test_differences_are_found(expected: object, result: object) -> None:
    assert list(differences(expected, result))


@pytest.mark.parametrize(
    ("expected", "result"),
    [
        ({"a": 1.0}, {"a": 1.0 + 1e-7, "more": 2}),
        ({"1": None}, {1: NAN}),
        ([[0.5, 1]], np.array([[0.5, 1]])),
        ({"a": float("inf")}, {"a": np.float64("inf")}),
    ],
)
def test_equal_values_are_passed(expected: object, result: object) -> None:
    assert not list(differences(expected, result))


def test_every_thread_has_its_own_scratch() -> None:
    own = scratch("test", 8)
    assert np.shares_memory(own, scratch("test", 4))
    others: list[np.ndarray] = []
    thread = threading.Thread(target=lambda: others.append(scratch("test", 8)))
    thread.start()
    thread.join()
    assert len(others) == 1 and not np.shares_memory(own, others[0])

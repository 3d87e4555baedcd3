"""A unit of CPU time that does not depend on the machine: a fixed piece of array work.

benchmarks/official_evaluators.json holds the same unit, measured in the process that timed each official evaluator, so
what an evaluator would take here is its time in units times the unit here. The work has no random numbers, no sorting
and no linear algebra, whose speed changes between versions of NumPy: mixing of integers, counting, boolean algebra
over label maps and a few sums. One thread: set OMP_NUM_THREADS=1 before Python starts.
"""

from __future__ import annotations

import time

import numpy as np

SIZE = 480, 854
CHECKSUM = 42598064
MULTIPLIER, INCREMENT = np.uint64(6364136223846793005), 1442695040888963407
LABELS, OTHER_LABELS, STRIDE = 97, 53, 256
ROUNDS, COUNTS, SHIFTS = 6, 4, 10


def unit_seconds(repeats: int = 3) -> float:
    """CPU seconds of the work, the least of some repeats after one that fills caches.

    Raises:
        ArithmeticError: the work came out differently, so its time would mean nothing.
    """
    if _work() != CHECKSUM:
        raise ArithmeticError("The work that the unit of CPU time stands for came out differently on this machine.")
    return min(_seconds() for _ in range(repeats))


def _seconds() -> float:
    began = time.process_time()
    _work()
    return time.process_time() - began


def _work() -> int:
    total = 0
    mixed = np.arange(SIZE[0] * SIZE[1], dtype=np.uint64)
    for number in range(ROUNDS):
        mixed = mixed * MULTIPLIER + np.uint64(INCREMENT + number)
        labels = (mixed >> np.uint64(40)).astype(np.int64) % LABELS
        others = (mixed >> np.uint64(33)).astype(np.int64) % OTHER_LABELS
        total += _counted(labels * STRIDE + others)
        total += _edges((labels > 30).reshape(SIZE), (others > 20).reshape(SIZE))
        means = np.cumsum(labels.astype(np.float64)) / (np.arange(len(labels)) + 1.0)
        total += int(means[::1000].sum())
    return total


def _counted(keys: np.ndarray) -> int:
    total = 0
    for _ in range(COUNTS):
        counts = np.bincount(keys, minlength=LABELS * STRIDE)
        total += int((counts * np.arange(counts.size)).sum() % 1000003)
        keys = (keys * 5 + 3) % (LABELS * STRIDE)
    return total


def _edges(mask: np.ndarray, other: np.ndarray) -> int:
    total = 0
    for _ in range(SHIFTS):
        right = np.zeros_like(mask)
        right[:, :-1] = mask[:, 1:]
        below = np.zeros_like(mask)
        below[:-1] = mask[1:]
        edge = (mask ^ right) | (mask ^ below)
        total += int((edge & other).sum()) + int((edge | other).sum())
        mask = np.roll(mask, 1, axis=0)
    return total

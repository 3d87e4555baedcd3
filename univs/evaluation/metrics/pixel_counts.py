"""How often pairs of values meet at the same pixel of two pictures: what panoptic and semantic metrics are made of.

Label maps are piecewise constant, so they are cut into runs first; sorting some thousand runs is much cheaper than
sorting all pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

MAX_VALUE = 1 << 31


@dataclass(frozen=True)
class PairCounts:
    """Distinct pairs of values in the order of (first, second), and their numbers of pixels; all [K] int64."""

    first: np.ndarray
    second: np.ndarray
    counts: np.ndarray

    def total(self, which: str) -> tuple[np.ndarray, np.ndarray]:
        """Distinct values of ``first`` or ``second``, sorted, and their numbers of pixels."""
        return _summed(getattr(self, which), self.counts)

    def relabelled(self, first: np.ndarray, second: np.ndarray) -> PairCounts:
        """The counts after each pair got the values ``first`` [K] and ``second`` [K] instead."""
        return counted_pairs(first, second, self.counts)


def run_starts(*pictures: np.ndarray) -> np.ndarray:
    """Places, in row-major order, where a run begins in which every picture [H, W] or [H, W, C] stays the same."""
    changes: dict[int, np.ndarray] = {}
    for picture in pictures:
        channels = picture.shape[2] if picture.ndim == 3 else 1
        flat = picture.reshape(-1)
        changed = flat[channels:] != flat[:-channels]
        known = changes.get(channels)
        changes[channels] = changed if known is None else np.logical_or(known, changed, out=known)
    found = [np.flatnonzero(changed) // channels + 1 for channels, changed in changes.items()]
    places = np.concatenate([np.zeros(1, np.int64), *found])
    if len(found) > 1:
        places.sort()
    return places[np.concatenate(([True], places[1:] != places[:-1]))]


def values_at(picture: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Values [N] int64 of [H, W], or R + 256 G + 65536 B of [H, W, 3] uint8, at row-major places [N]."""
    if picture.ndim == 2:
        return picture.reshape(-1)[places].astype(np.int64)
    red, green, blue = picture.reshape(-1, 3)[places].astype(np.int64).T
    return red + 256 * green + 65536 * blue


def pair_counts(first: np.ndarray, second: np.ndarray) -> PairCounts:
    """Pairs of values of two pictures of one size: [H, W] integers from 0 to 2^31 - 1, or [H, W, 3] uint8 id colours.

    Raises:
        ValueError: pictures of different sizes.
    """
    if first.shape[:2] != second.shape[:2]:
        raise ValueError(f"pictures of {first.shape[:2]} and {second.shape[:2]} pixels cannot be compared")
    if not first.size:
        return counted_pairs(*np.zeros((3, 0), np.int64))
    starts = run_starts(first, second)
    lengths = np.diff(starts, append=first.shape[0] * first.shape[1])
    return counted_pairs(values_at(first, starts), values_at(second, starts), lengths)


def label_pair_table(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Numbers of pixels [256, 256] int64 by the values of two pictures [H, W] uint8 of one size.

    Raises:
        ValueError: pictures of different sizes.
    """
    if first.shape != second.shape:
        raise ValueError(f"pictures of {first.shape} and {second.shape} pixels cannot be compared")
    pairs = first.astype(np.uint16) << 8
    pairs |= second
    pairs = pairs.reshape(-1)
    starts = np.concatenate((np.zeros(min(len(pairs), 1), np.int64), np.flatnonzero(pairs[1:] != pairs[:-1]) + 1))
    lengths = np.diff(starts, append=len(pairs))
    return np.bincount(pairs[starts], lengths, 1 << 16).astype(np.int64).reshape(256, 256)


def counted_pairs(first: np.ndarray, second: np.ndarray, counts: np.ndarray) -> PairCounts:
    """The pairs (first, second) [N], values from 0 to 2^31 - 1, with the counts [N] of equal ones added up."""
    keys, sums = _summed(first.astype(np.int64) * MAX_VALUE + second, counts)
    return PairCounts(keys // MAX_VALUE, keys % MAX_VALUE, sums)


def joined_pairs(parts: list[PairCounts]) -> PairCounts:
    """Counts over several pictures."""
    if len(parts) == 1:
        return parts[0]
    columns = ([getattr(part, name) for part in parts] for name in ("first", "second", "counts"))
    return counted_pairs(*(np.concatenate(column) if column else np.zeros(0, np.int64) for column in columns))


def _summed(values: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if not len(values):
        return values.astype(np.int64), counts.astype(np.int64)
    order = np.argsort(values)
    values = values[order]
    firsts = np.concatenate(([0], np.flatnonzero(values[1:] != values[:-1]) + 1))
    return values[firsts], np.add.reduceat(counts[order], firsts)

"""Compressed run-length codes of masks, as COCO writes them: how many pixels they hold and whether they are whole.

A mask is the lengths of its runs of background and object in turn, column by column. From the fourth on, a number is
the difference to the number before the last. A letter holds 5 bits of a number, the lowest first, and whether it goes
on; the highest bit of its last letter is the sign.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

ZERO = 48
"""The letter that stands for 0."""

GOES_ON = 32
SIGN = 16


def decoded_pixels(codes: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Pixels of the object, and of object and background together, of each code, [N] int32 both.

    The latter is -1 where a code has letters of no code, or ends in the middle of a number.
    """
    lengths = np.fromiter(map(len, codes), np.int64, len(codes))
    letters = np.frombuffer("".join(codes).encode("ascii", "replace"), np.uint8) - np.uint8(ZERO)
    ends = np.cumsum(lengths)
    final = letters < GOES_ON
    if not lengths.all() or letters.max(initial=0) >= 2 * GOES_ON or not final[ends - 1].all():
        return _decoded_with_faults(codes)
    going_on = np.flatnonzero(~final)
    numbers = _numbers(letters, final, going_on)
    stops = ends - np.searchsorted(going_on, ends)
    starts = np.concatenate(([0], stops[:-1]))
    counts = stops - starts
    # A number counts once for itself and once for every second one after it, which is a difference to it; the very
    # first number of a code counts for itself only. Sums that wrap around come out right: pictures are smaller.
    from_end = np.repeat((stops + 1).astype(np.int32), counts)
    from_end -= np.arange(len(numbers), dtype=np.int32)
    first = numbers[starts]
    numbers[starts] = 0
    numbers *= from_end >> 1
    total = np.add.reduceat(numbers, starts, dtype=np.int32) + first
    from_end &= 1
    numbers *= from_end
    every_second = np.add.reduceat(numbers, starts, dtype=np.int32)
    return np.where(counts % 2 == 1, every_second, total - first - every_second), total


def _numbers(letters: np.ndarray, final: np.ndarray, going_on: np.ndarray) -> np.ndarray:
    """The numbers of all codes in a row; ``final``: letters that end a number, ``going_on``: places of the others."""
    numbers = ((letters ^ np.uint8(SIGN)) - np.uint8(SIGN)).view(np.int8)[final].astype(np.int32)
    if not len(going_on):
        return numbers
    owner = going_on - np.arange(len(going_on))
    edges = np.concatenate(([0], np.flatnonzero(owner[1:] != owner[:-1]) + 1))
    counts = np.diff(edges, append=len(owner))
    low = (letters[going_on] & np.uint8(GOES_ON - 1)).astype(np.int32)
    if len(edges) < len(owner):
        low <<= np.minimum(5 * (np.arange(len(owner)) - np.repeat(edges, counts)), 30).astype(np.int32)
        low = np.add.reduceat(low, edges, dtype=np.int32)
    numbers[owner[edges]] = (numbers[owner[edges]] << np.minimum(5 * counts, 30).astype(np.int32)) + low
    return numbers


def _decoded_with_faults(codes: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    good = [place for place, code in enumerate(codes) if _is_whole(code.encode("ascii", "replace"))]
    areas, totals = np.zeros(len(codes), np.int32), np.full(len(codes), -1, np.int32)
    if good:
        areas[good], totals[good] = decoded_pixels([codes[place] for place in good])
    return areas, totals


def _is_whole(text: bytes) -> bool:
    inside = all(ZERO <= letter < ZERO + 2 * GOES_ON for letter in text)
    return bool(text) and inside and text[-1] < ZERO + GOES_ON

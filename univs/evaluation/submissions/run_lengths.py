"""COCO's run-length codes as text, read with care: a wrong one must not reach the C code that decodes masks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

LETTERS = range(48, 112)
CONTINUES, NEGATIVE = 32, 16
LONGEST = 13
"""Letters of a number of 64 bits."""


def mask_area(code: Any) -> int:
    """Pixels of a mask from its compressed or plain run-length code.

    Raises:
        ValueError: it is malformed; the message says how.
    """
    if not isinstance(code, Mapping) or not {"size", "counts"} <= set(code):
        raise ValueError("a mask has size and counts")
    size, counts = code["size"], code["counts"]
    whole = isinstance(size, list | tuple) and len(size) == 2 and all(type(side) is int and side > 0 for side in size)
    if not whole:
        raise ValueError(f"its size is {size!r}, not [height, width]")
    if isinstance(counts, str):
        runs = list(_runs(counts))
    elif isinstance(counts, list) and all(type(run) is int for run in counts):
        runs = counts
    else:
        raise ValueError("its counts are neither text nor a list of integers")
    if min(runs, default=0) < 0 or sum(runs) != size[0] * size[1]:
        raise ValueError(f"its runs cover {sum(runs)} pixels of {size[0] * size[1]}")
    return sum(runs[1::2])


def _runs(counts: str) -> Iterator[int]:
    """Run lengths: numbers of 5 bits a letter, from the third on as differences to the one before the last."""
    earlier = [0, 0]
    value = shift = place = 0
    for letter in counts:
        if ord(letter) not in LETTERS:
            raise ValueError(f"its counts hold the letter {letter!r}")
        bits = ord(letter) - 48
        value |= (bits & 31) << shift
        shift += 5
        if bits & CONTINUES:
            if shift >= 5 * LONGEST:
                raise ValueError("its counts hold a number without an end")
            continue
        if bits & NEGATIVE:
            value -= 1 << shift
        run = value + (earlier[place % 2] if place > 2 else 0)
        yield run
        earlier[place % 2] = run
        value, shift, place = 0, 0, place + 1
    if shift:
        raise ValueError("its counts end within a number")

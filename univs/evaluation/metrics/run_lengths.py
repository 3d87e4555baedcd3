"""Compressed run-length codes of masks, as COCO writes them, decoded by the thousand.

A mask is the lengths of its runs of background and object in turn, column by column. From the fourth on, a number is
the difference to the number before the last. A letter holds 5 bits of a number, the lowest first, and whether it goes
on; the highest bit of its last letter is the sign.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

ZERO, BEHIND = "0", "p"
"""The letter of the number 0, and the one behind the last that occurs in a code."""

MOST_PIXELS = 1 << 30
"""Of a picture, so that places in it and one row more are numbers of 32 bits."""

GOES_ON = 32
SIGN = 16
LONGEST = 7
"""Letters of a number of 32 bits."""

ENDLESS = re.compile(f"[{chr(ord(ZERO) + GOES_ON)}-{chr(ord(BEHIND) - 1)}]{{{LONGEST}}}")


class MalformedCode(ValueError):
    """What is wrong with the code at ``place``."""

    def __init__(self, place: int, problem: str) -> None:
        super().__init__(problem)
        self.place = place


@dataclass(frozen=True)
class Runs:
    """The runs of K masks, one mask behind the other.

    starts, ends: first pixel of each run of object pixels and the first one behind it, counted column by column, [R]
    int32; runs may be empty. firsts: place of each mask's first run, counts: number of its runs (at least 1), areas:
    its pixels, [K] each.
    """

    starts: np.ndarray
    ends: np.ndarray
    firsts: np.ndarray
    counts: np.ndarray
    areas: np.ndarray

    def part(self, masks: slice) -> Runs:
        """Those of some of the masks."""
        return Runs(self.starts, self.ends, self.firsts[masks], self.counts[masks], self.areas[masks])

    def of(self, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Starts and ends of all runs of the masks at some places, [R'] both."""
        counts = self.counts[places]
        behind = np.cumsum(counts)
        index = np.repeat(self.firsts[places] - behind + counts, counts)
        index += np.arange(len(index))
        return self.starts.take(index), self.ends.take(index)


def decoded_runs(codes: Sequence[str], pixels: np.ndarray) -> Runs:
    """The runs of codes whose pictures have so many ``pixels`` [K].

    Raises:
        MalformedCode: a code that is none, has runs of negative length, or does not fill its picture.
    """
    if not codes:
        return Runs(*np.zeros((2, 0), np.int32), *np.zeros((3, 0), np.int64))
    if pixels.max() > MOST_PIXELS:
        raise MalformedCode(int(pixels.argmax()), f"its picture has {pixels.max()} pixels")
    letters, final, going_on, stops = _letters(codes)
    before = np.searchsorted(going_on, stops)
    numbers_of = np.diff(stops - before, prepend=-1) - 1
    odd = numbers_of & 1 == 1
    final[stops] = odd
    counts = (numbers_of + odd) // 2
    firsts = np.cumsum(counts) - counts
    left_out = np.repeat(np.cumsum(~odd) - ~odd, np.diff(before, prepend=0))
    numbers = _numbers(letters, final, going_on, left_out)
    background, inside = numbers[::2].copy(), numbers[1::2].copy()
    background[firsts[counts > 1] + 1] -= background[firsts[counts > 1]]  # now a difference as well
    _undo_differences(background, firsts)
    _undo_differences(inside, firsts)
    inside[(firsts + counts - 1)[odd]] = 0
    for lengths in (background, inside):
        _check_lengths(lengths, firsts, int(pixels.max()))
    areas = np.add.reduceat(inside, firsts, dtype=np.int32).astype(np.int64)
    ends = _ends(background + inside, firsts, pixels)
    return Runs(ends - inside, ends, firsts, counts, areas)


def _letters(codes: Sequence[str]) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The letters of all codes, which of them end a number, and the places of the others and of those behind codes.

    One letter more is behind each code: where its numbers are odd, it makes the last pair whole.
    """
    text = f"{BEHIND.join(codes)}{BEHIND}"
    letters = np.frombuffer(text.encode("ascii", "replace"), np.uint8) - np.uint8(ord(ZERO))
    stops = np.flatnonzero(letters == ord(BEHIND) - ord(ZERO))
    final = (letters & GOES_ON) == 0
    going_on = np.flatnonzero(~final)
    later = going_on[LONGEST - 1 :]
    whole = text.isascii() and len(stops) == len(codes) and letters.max() <= ord(BEHIND) - ord(ZERO)
    whole = whole and np.diff(stops, prepend=-1).min() > 1 and final[stops - 1].all()
    if not whole or (later - going_on[: len(later)] == LONGEST - 1).any():
        raise next(MalformedCode(place, fault) for place, code in enumerate(codes) if (fault := _fault_of(code)))
    return letters, final, going_on, stops


def _numbers(letters: np.ndarray, final: np.ndarray, going_on: np.ndarray, left_out: np.ndarray) -> np.ndarray:
    """The numbers that end at the letters ``final``, in a row.

    going_on: places of the letters before the last one of a number; left_out: how many letters before each of them are
    in no number.
    """
    numbers = ((letters ^ np.uint8(SIGN)) - np.uint8(SIGN)).view(np.int8)[final].astype(np.int32)
    if not len(going_on):
        return numbers
    owner = going_on - np.arange(len(going_on)) - left_out
    edges = np.concatenate(([0], np.flatnonzero(owner[1:] != owner[:-1]) + 1))
    counts = np.diff(edges, append=len(owner))
    low = (letters[going_on] & np.uint8(GOES_ON - 1)).astype(np.int32)
    if len(edges) < len(owner):
        low <<= np.minimum(5 * (np.arange(len(owner)) - np.repeat(edges, counts)), 30).astype(np.int32)
        low = np.add.reduceat(low, edges, dtype=np.int32)
    numbers[owner[edges]] = (numbers[owner[edges]] << np.minimum(5 * counts, 30).astype(np.int32)) + low
    return numbers


def _undo_differences(numbers: np.ndarray, firsts: np.ndarray) -> None:
    """Add to every number [R] those before it of the same mask, in place."""
    sums = np.add.reduceat(numbers, firsts, dtype=np.int32)
    numbers[firsts[1:]] -= sums[:-1]  # what has come together at the end of a mask
    np.cumsum(numbers, out=numbers, dtype=np.int32)


def _check_lengths(lengths: np.ndarray, firsts: np.ndarray, longest: int) -> None:
    if lengths.min() < 0 or lengths.max() > longest:
        wrong = np.flatnonzero((lengths < 0) | (lengths > longest))[0]
        raise MalformedCode(
            int(np.searchsorted(firsts, wrong, "right")) - 1, f"it has a run of {lengths[wrong]} pixels"
        )


def _ends(lengths: np.ndarray, firsts: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    """Where runs of so many pixels [R] end in their pictures."""
    lengths[firsts[1:]] -= pixels[:-1].astype(np.int32)
    ends = np.cumsum(lengths, out=lengths, dtype=np.int32)
    totals = ends[np.append(firsts[1:], len(ends)) - 1]
    if (totals != pixels).any():
        place = int(np.flatnonzero(totals != pixels)[0])
        raise MalformedCode(place, f"its runs cover {totals[place]} pixels of {pixels[place]}")
    if ends.min() < 0:
        place = int(np.searchsorted(firsts, ends.argmin(), "right")) - 1
        raise MalformedCode(place, "its runs cover more pixels than can be counted")
    return ends


def _fault_of(code: str) -> str | None:
    wrong = next((letter for letter in code if not 0 <= ord(letter) - ord(ZERO) < 2 * GOES_ON), None)
    if wrong is not None:
        return f"its counts hold the letter {wrong!r}"
    if not code:
        return "its counts are empty"
    if ENDLESS.search(code):
        return "its counts hold a number without an end"
    return "its counts end within a number" if ord(code[-1]) - ord(ZERO) >= GOES_ON else None

"""A set of frame numbers kept as ranges, so that a long video costs no more than a short one."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator


class FrameRanges:
    """Frames as sorted, disjoint, inclusive ranges that do not touch."""

    def __init__(self, ranges: Iterable[tuple[int, int]] = ()) -> None:
        self.ranges: list[tuple[int, int]] = []
        for low, high in ranges:
            self.add(low, high)

    def add(self, low: int, high: int | None = None) -> None:
        """Add the frames low..high, or one frame."""
        high = low if high is None else high
        near = [r for r in self.ranges if r[0] <= high + 1 and r[1] >= low - 1]
        far = [r for r in self.ranges if r not in near]
        self.ranges = sorted([*far, (min([low, *(r[0] for r in near)]), max([high, *(r[1] for r in near)]))])

    def __contains__(self, frame: int) -> bool:
        place = bisect_right(self.ranges, (frame, float("inf"))) - 1
        return place >= 0 and frame <= self.ranges[place][1]

    def __iter__(self) -> Iterator[int]:
        for low, high in self.ranges:
            yield from range(low, high + 1)

    def __len__(self) -> int:
        return sum(high - low + 1 for low, high in self.ranges)

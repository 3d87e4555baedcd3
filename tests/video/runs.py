"""A run whose results are known, for the tests of the result folder."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from tests.video.media import SIZE
from univs.structures import FrameResult, ObjectResult, PointPrompt
from univs.video import ResultOptions, ResultWriter, VideoSource

FRAMES = 8


def result_of(index: int, ids: tuple[int, ...] = (1, 2)) -> FrameResult:
    """Object n is a block in row n that moves with the frames; object 2 is hidden in frame 3."""
    items = []
    for object_id in ids:
        mask = np.zeros(SIZE, bool)
        if (object_id, index) != (2, 3):
            mask[4 * object_id : 4 * object_id + 6, 2 * index : 2 * index + 10] = True
        for other in items:
            mask &= ~other.mask
        items.append(ObjectResult(object_id, mask, 1 - index / 100, category="dog" if object_id == 1 else None))
    return FrameResult(index, items)


CLICK = (1, PointPrompt(((9.5, 9.5),), (1,)))


def run(
    folder: Path, video: VideoSource, options: ResultOptions | None = None, order: Iterable[int] = range(FRAMES)
) -> dict[str, Path]:
    with ResultWriter(folder, video, options or ResultOptions(), {"task": "vos"}) as writer:
        for index in order:
            writer.write(video.frame(index), result_of(index), [CLICK] if index == 0 else ())
        return writer.close()

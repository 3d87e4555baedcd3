"""Panoptic submissions: id pictures, R + 256 G + 65536 B, and a JSON list of the segments of every frame."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from univs.errors import UserError
from univs.evaluation.submissions.lists import ListWriter, number_of
from univs.evaluation.submissions.video import NamedFrames, Video, best_pixels, wanted_frames
from univs.structures import FrameResult
from univs.video.files import safe_name, written_whole

MOST_ID = 0xFFFFFF


class PanopticWriter(ListWriter):
    """``<file>`` and, in the folder ``pictures``, the id pictures; pixels without an object are void, 0."""

    head, tail = '{"annotations": [', "]}\n"

    def __init__(
        self, folder: Path, categories: Mapping[str, int] | None = None, file: str = "pred.json", pictures: str = ""
    ) -> None:
        super().__init__(folder, categories, file)
        self._pictures = folder / (pictures or Path(file).stem)

    def frame_record(self, video: Video, name: str, result: FrameResult, path: Path) -> dict[str, Any]:
        """Write the id picture of a frame to ``path`` and describe it.

        Raises:
            UserError: an id that a picture cannot hold, or an unknown category.
        """
        for item in result.objects:
            if not 1 <= item.object_id <= MOST_ID:
                raise UserError(f"Frame {name} of {video.label} has the object id {item.object_id}; ids begin at 1.")
        ids = np.array([*(item.object_id for item in result.objects), 0], np.uint32)
        owner = best_pixels(result, video.size)
        areas = np.bincount(owner[owner >= 0].ravel(), minlength=len(result.objects))
        write_id_picture(path, ids[owner])
        segments = [
            {"id": item.object_id, "category_id": self.category_of(item, video), "area": int(area)}
            for item, area in zip(result.objects, areas, strict=True)
            if area
        ]
        return {"segments_info": segments, "file_name": path.name}


class VideoPanopticWriter(PanopticWriter):
    """``pred.json`` with a list per video, and ``pan_pred/<video>/<frame>.png``."""

    def records(self, video: Video, frames: NamedFrames) -> Iterator[dict[str, Any]]:
        """One record per video."""
        folder = self._pictures / safe_name(video.name)
        records = {}
        for name, result in wanted_frames(video, frames):
            record = self.frame_record(video, name, result, folder / f"{safe_name(name)}.png")
            records[name] = record | {"image_id": name}
        yield {"video_id": video.name, "annotations": [records[name] for name in video.frames or records]}


class ImagePanopticWriter(PanopticWriter):
    """One list of pictures, beside a folder of the same name."""

    def records(self, video: Video, frames: NamedFrames) -> Iterator[dict[str, Any]]:
        """One record per picture."""
        for name, result in wanted_frames(video, frames):
            record = self.frame_record(video, name, result, self._pictures / f"{safe_name(name)}.png")
            yield record | {"image_id": number_of(video)}


def write_id_picture(path: Path, ids: np.ndarray) -> None:
    """Write ids [H, W] as an RGB picture.

    Raises:
        UserError: the file cannot be written.
    """
    colours = np.stack([ids & 255, (ids >> 8) & 255, (ids >> 16) & 255], axis=2).astype(np.uint8)
    with written_whole(path) as partial:
        Image.fromarray(colours).save(partial, format="PNG", compress_level=3)

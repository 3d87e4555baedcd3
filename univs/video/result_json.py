"""The JSON files of a result folder (docs/RESULTS_FORMAT.md), written one object after the other."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, TextIO

from pycocotools import mask as coco_mask

from univs.structures import MaskPrompt, Prompt
from univs.video.files import written_whole
from univs.video.result_store import ObjectFrame, ResultStore
from univs.video.source import VideoSource

FORMAT = "univs-results"
VERSION = 1


@dataclass(frozen=True)
class ObjectMetadata:
    """What is known of an object beside its masks: its name, category, and the prompts as (frame, prompt)."""

    name: str | None = None
    category: str | None = None
    prompts: Sequence[tuple[int, Prompt]] = field(default_factory=tuple)


def prompt_record(frame: int, prompt: Prompt) -> dict[str, Any]:
    """A prompt as JSON: its frame, its kind and its own fields (a mask as COCO run-length code)."""
    record: dict[str, Any] = {"frame": frame, "kind": prompt.kind}
    if isinstance(prompt, MaskPrompt):
        record["segmentation"] = {"size": list(prompt.size), "counts": prompt.counts.decode()}
    else:
        record.update({item.name: getattr(prompt, item.name) for item in fields(prompt)})
    return record


@dataclass(frozen=True)
class ResultReport:
    """Everything that the JSON files say: where the masks lie, the video, the objects' metadata, the run's settings."""

    store: ResultStore
    source: VideoSource
    objects: Mapping[int, ObjectMetadata]
    settings: Mapping[str, Any]
    complete: bool

    def write_results(self, path: Path) -> None:
        """Write results.json.

        Raises:
            UserError: the file cannot be written.
        """
        with written_whole(path) as partial, partial.open("w", encoding="utf-8") as file:
            file.write("{\n")
            for key, value in self._header().items():
                file.write(f"{_json(key)}: {_json(value)},\n")
            file.write('"frames": ')
            _write_list(file, self._frame_records())
            file.write(',\n"objects": [')
            for place, object_id in enumerate(self._object_ids()):
                file.write(",\n" if place else "\n")
                self._write_object(file, object_id)
            file.write("\n]\n}\n")

    def write_tracks(self, path: Path) -> None:
        """Write tracks.json: the objects in the form of video instance annotations, with a score each.

        Raises:
            UserError: the file cannot be written.
        """
        names = self._category_numbers()
        with written_whole(path) as partial, partial.open("w", encoding="utf-8") as file:
            categories = [{"id": number, "name": name} for name, number in names.items()]
            file.write(f'{{\n"videos": [{_json(self._track_video())}],\n"categories": {_json(categories)},\n')
            file.write('"annotations": ')
            _write_list(file, (self._track(object_id, names) for object_id in self.store.object_ids()))
            file.write("\n}\n")

    def _header(self) -> dict[str, Any]:
        height, width = self.source.size
        video = {
            "name": Path(self.source.label).name,
            "height": height,
            "width": width,
            "rate": round(self.source.rate, 6),
            "frames": self.source.length,
        }
        return {
            "format": FORMAT,
            "version": VERSION,
            "complete": self.complete,
            "video": video,
            "settings": dict(self.settings),
            "lost_frames": self.store.frames(lost=True),
        }

    def _frame_records(self) -> Iterator[dict[str, Any]]:
        for index in self.store.frames():
            yield {"index": index, "name": self.source.name(index), "time": round(self.source.time(index), 6)}

    def _object_ids(self) -> list[int]:
        return sorted({*self.store.object_ids(), *self.objects})

    def _described(self, object_id: int) -> ObjectMetadata:
        """The object's metadata, with the name and category of its last frame where nobody gave one."""
        given = self.objects.get(object_id, ObjectMetadata())
        name, category = given.name, given.category
        if name is None or category is None:
            for item in self.store.object_frames(object_id):
                name, category = item.name or name, item.category or category
        return ObjectMetadata(given.name or name, given.category or category, given.prompts)

    def _write_object(self, file: TextIO, object_id: int) -> None:
        about = self._described(object_id)
        prompts = [prompt_record(frame, prompt) for frame, prompt in about.prompts]
        head = {"id": object_id, "name": about.name, "category": about.category, "prompts": prompts}
        file.write(_json(head)[:-1] + ', "frames": ')
        _write_list(file, map(self._object_frame_record, self.store.object_frames(object_id)))
        file.write("}")

    def _object_frame_record(self, item: ObjectFrame) -> dict[str, Any]:
        code = self._code(item)
        x, y, width, height = coco_mask.toBbox(code).tolist()
        area = int(coco_mask.area(code))
        return {
            "frame": item.frame,
            "score": round(item.score, 6),
            "area": area,
            "box": [int(x), int(y), int(x + width), int(y + height)] if area else None,
            "segmentation": code,
        }

    def _code(self, item: ObjectFrame) -> dict[str, Any]:
        return {"size": list(self.source.size), "counts": item.counts}

    def _track_length(self) -> int:
        return self.source.length or 1 + max([*self.store.frames(), *self.store.frames(lost=True)], default=-1)

    def _track_video(self) -> dict[str, Any]:
        height, width = self.source.size
        names = [self.source.name(index) for index in range(self._track_length())]
        return {"id": 1, "height": height, "width": width, "length": len(names), "file_names": names}

    def _category_numbers(self) -> dict[str, int]:
        names = {self._label(object_id) for object_id in self.store.object_ids()}
        return {name: number for number, name in enumerate(sorted(names), 1)}

    def _label(self, object_id: int) -> str:
        about = self._described(object_id)
        return about.category or about.name or "object"

    def _track(self, object_id: int, categories: Mapping[str, int]) -> dict[str, Any]:
        length = self._track_length()
        track: dict[str, list] = {key: [None] * length for key in ("segmentations", "bboxes", "areas")}
        scores = []
        for item in self.store.object_frames(object_id):
            code = self._code(item)
            area = int(coco_mask.area(code))
            scores.append(item.score)
            if area:
                track["segmentations"][item.frame] = code
                track["bboxes"][item.frame] = coco_mask.toBbox(code).tolist()
                track["areas"][item.frame] = area
        category = categories[self._label(object_id)]
        score = round(sum(scores) / len(scores), 6)
        return {"id": object_id, "video_id": 1, "category_id": category, "iscrowd": 0, "score": score, **track}


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def _write_list(file: TextIO, records: Iterator[dict[str, Any]]) -> None:
    """Write a JSON list with one record to a line."""
    file.write("[")
    for place, record in enumerate(records):
        file.write((",\n" if place else "\n") + _json(record))
    file.write("]")

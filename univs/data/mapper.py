"""From a record to a training sample: choose frames, augment, gather objects, draw prompts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from detectron2.structures import Instances

from univs.errors import UserError

from .formats.expressions import mirror_words
from .formats.records import FrameObject, frame_objects
from .instances import frame_instances
from .picture_store import PictureStore
from .prompt_drawing import PromptShares, draw_prompt
from .sampling import reference_frames, shift_into_range
from .scale_jitter import ClipViews, JitterSettings, draw_views, look, look_at_mask


@dataclass(frozen=True)
class MapperSettings:
    """frames: F of a sample. reach: the frames lie within so many frames of a random one."""

    frames: int = 2
    reach: int = 20
    jitter: JitterSettings = field(default_factory=JitterSettings)
    prompts: PromptShares = field(default_factory=PromptShares)


class TrainingMapper:
    """Makes a sample of a record with random numbers from the generator that it is given, and from nothing else.

    A sample is a dict of Detectron2's form: ``image`` list of F uint8 tensors [3, H, W] RGB; ``instances`` list of F
    Instances over the same n objects (``gt_masks`` BitMasks, ``gt_boxes`` in pixels, ``gt_classes`` from 1, ``gt_ids``
    0..n-1; class and id are -1 in frames where the object is not visible); ``frame_indices`` list of F; ``expressions``
    one sentence per object ("" where there is none); ``prompts`` one dict per object visible in the key frame:
    ``object`` 0..n-1, ``frame`` 0..F-1, ``prompt``; ``height``, ``width``, ``task``, ``dataset_name``, ``name``.
    """

    def __init__(self, settings: MapperSettings | None = None, store: PictureStore | None = None):
        self.settings = settings or MapperSettings()
        self.store = store or PictureStore(limit_bytes=256 << 20)

    def __call__(self, record: Mapping[str, Any], rng: np.random.Generator) -> dict[str, Any] | None:
        """Sample of ``record``, or None if none of its objects is visible in the frames that were drawn.

        Raises:
            UserError: a file is missing or broken, or a mask and its picture differ in size.
        """
        places, stamps = self._frames(rng, len(record["file_names"]))
        images = [self.store.image(Path(record["file_names"][place])) for place in places]
        views = draw_views(rng, images[0].shape[:2], len(places), self.settings.jitter)
        found = [frame_objects(record, place, self.store) for place in places]
        for image, objects, place in zip(images, found, places, strict=True):
            _check_sizes(record["file_names"][place], image, objects)
        masks = _visible_masks(found, views)
        if not masks:
            return None
        described = {key: next(objects[key] for objects in found if key in objects) for key in masks}
        return {
            "image": [
                torch.from_numpy(np.ascontiguousarray(look(image, matrix, views.size).transpose(2, 0, 1)))
                for image, matrix in zip(images, views.matrices, strict=True)
            ],
            "instances": _instances(masks, [item.category_id for item in described.values()]),
            "frame_indices": [int(stamp) for stamp in stamps],
            "expressions": [_one_sentence(rng, item.expressions, views.flipped) for item in described.values()],
            "prompts": self._prompts(rng, list(masks.values())),
            "height": views.size[0],
            "width": views.size[1],
            "task": record["task"],
            "dataset_name": record["dataset_name"],
            "name": str(record["video_id"]),
        }

    def _frames(self, rng: np.random.Generator, length: int) -> tuple[np.ndarray, np.ndarray]:
        """Places in the record and frame numbers for the model. A picture stands for a video that stands still."""
        frames = self.settings.frames
        if length == 1:
            stamps = reference_frames(rng, 3 * frames, frames, reach=2 * frames)
            return np.zeros(frames, int), stamps
        places = reference_frames(rng, length, frames, self.settings.reach)
        return places, shift_into_range(rng, places)

    def _prompts(self, rng: np.random.Generator, masks: list[np.ndarray]) -> list[dict[str, Any]]:
        """One prompt per object that is visible in a random key frame; ``masks``: n arrays [F, H, W]."""
        key = int(rng.integers(self.settings.frames))
        return [
            {"object": number, "frame": key, "prompt": draw_prompt(rng, mask[key], self.settings.prompts)}
            for number, mask in enumerate(masks)
            if mask[key].any()
        ]


def _check_sizes(file_name: str, image: np.ndarray, objects: Mapping[int, FrameObject]) -> None:
    for item in objects.values():
        if item.mask.shape != image.shape[:2]:
            raise UserError(
                f"{file_name} is {image.shape[1]}x{image.shape[0]} pixels but its annotation is "
                f"{item.mask.shape[1]}x{item.mask.shape[0]}; use pictures and annotations of one resolution."
            )


def _visible_masks(found: list[dict[int, FrameObject]], views: ClipViews) -> dict[int, np.ndarray]:
    """Augmented masks [F, H, W] bool by id, in the order of the ids; objects that are never visible are left out."""
    masks = {}
    for key in sorted(set().union(*found)):
        frames = [
            look_at_mask(objects[key].mask, matrix, views.size) if key in objects else np.zeros(views.size, bool)
            for objects, matrix in zip(found, views.matrices, strict=True)
        ]
        if any(frame.any() for frame in frames):
            masks[key] = np.stack(frames)
    return masks


def _instances(masks: dict[int, np.ndarray], categories: list[int]) -> list[Instances]:
    classes = torch.tensor(categories, dtype=torch.long)
    by_frame = np.stack(list(masks.values()), axis=1)  # [F, n, H, W]
    return [frame_instances(torch.from_numpy(frame), classes) for frame in by_frame]


def _one_sentence(rng: np.random.Generator, sentences: tuple[str, ...], flipped: bool) -> str:
    if not sentences:
        return ""
    sentence = sentences[rng.integers(len(sentences))]
    return mirror_words(sentence) if flipped else sentence

"""Single pictures for learning prompts and categories: every object of a crop, not only those that are followed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch.utils.data import Dataset

from univs.errors import UserError

from .augmentation import IGNORE, clamp_centre, colour_change, crop_matrix, recolour, warp
from .formats.expressions import mirror_words
from .formats.palette_folders import VideoSequence, read_sequences
from .formats.stills_index import StillPicture, read_stills
from .picture_store import PictureStore
from .sampling import sample_generator
from .training_clips import decode_all

_ATTEMPTS = 30
_FULLY_LABELLED = 0.9
"""A picture with labelled surfaces counts as fully annotated if at least this part of it has a label."""


@dataclass(frozen=True)
class StillSettings:
    """What a training still looks like.

    sizes: (H, W) to choose from, drawn anew for each group of ``group`` samples. zoom: scale relative to the one at
    which the crop just lies inside the picture (under 1: the rest is unknown ground). turn_degrees: standard
    deviation. near_object: share of the crops that are set on an object instead of anywhere. least_pixels: of an
    object in the crop, as a fraction of it; smaller ones become unknown ground. video_share: share of single frames
    of annotated video. flip: mirror half of the pictures. colour: strength of the colour change.
    """

    sizes: tuple[tuple[int, int], ...] = ((256, 448), (320, 320))
    group: int = 1
    zoom: tuple[float, float] = (0.8, 2.0)
    turn_degrees: float = 4.0
    near_object: float = 0.6
    least_pixels: float = 0.0005
    video_share: float = 0.15
    flip: bool = True
    colour: float = 1.2


@dataclass
class _Scene:
    """One annotated picture, be it a still or a frame: ``targets`` are raw ids with (names, is thing, sentences)."""

    image: np.ndarray
    ids: np.ndarray
    targets: dict[int, tuple[tuple[str, ...], bool, tuple[str, ...]]]
    unknown: list[int]
    name: str
    source: str
    partial: bool


class TrainingStills(Dataset):
    """Endless pictures; sample ``index`` is always the same one, in any process and in any order.

    The sample dict is that of ``TrainingClips`` with T = 1 and all objects of the crop, and besides ``is_thing``, a
    list of n booleans. ``partial_annotation`` is False only where everything in the picture that has one of the data
    set's categories is labelled, so that what has no label may serve as a negative.
    """

    task = "detection"

    def __init__(
        self,
        sequences: list[VideoSequence],
        stills: list[StillPicture],
        settings: StillSettings | None = None,
        seed: int = 0,
        store: PictureStore | None = None,
    ):
        self.sequences = sequences
        self.stills = stills
        self.settings = settings or StillSettings()
        self.seed = seed
        self.store = store or PictureStore()
        if not stills:
            raise UserError("There are no stills to train on; see datasets/README.md for the layout that is expected.")

    @classmethod
    def from_folder(
        cls, root: str | Path, settings: StillSettings | None = None, seed: int = 0, store: PictureStore | None = None
    ) -> TrainingStills:
        """The training part of a data folder. ``store``: that of the clips, to decode every picture only once.

        Raises:
            UserError: the folder has not the layout that ``datasets/README.md`` describes.
        """
        root = Path(root)
        return cls(read_sequences(root, "train"), read_stills(root, "train"), settings, seed, store)

    def preload(self) -> None:
        """Decode everything now, before loader workers are forked, so that they share it."""
        decode_all(self.store, self.sequences, self.stills)

    def __len__(self) -> int:
        return 1 << 40

    def __getitem__(self, index: int) -> dict[str, Any]:
        rng = sample_generator(self.seed, index, purpose=2)
        size = self.size_of(index)
        for _ in range(_ATTEMPTS):
            scene = self._scene(rng)
            sample = self._crop(rng, scene, size)
            if sample["categories"]:
                return {**sample, "task": self.task, "sample": index}
        raise UserError(f"Sample {index}: no object is visible in {_ATTEMPTS} random crops; check the masks.")

    def size_of(self, index: int) -> tuple[int, int]:
        """(H, W) of sample ``index``: the same for the whole group that it belongs to."""
        rng = sample_generator(self.seed, index // self.settings.group, purpose=3)
        return self.settings.sizes[rng.integers(len(self.settings.sizes))]

    def _scene(self, rng: np.random.Generator) -> _Scene:
        if self.sequences and rng.random() < self.settings.video_share:
            return self._frame_scene(rng, self.sequences[rng.integers(len(self.sequences))])
        return self._still_scene(self.stills[rng.integers(len(self.stills))])

    def _still_scene(self, picture: StillPicture) -> _Scene:
        share = sum(item.area for item in picture.objects) / (picture.width * picture.height)
        has_surfaces = any(not item.is_thing for item in picture.objects)
        return _Scene(
            image=self.store.image(picture.image_file),
            ids=self.store.mask(picture.mask_file),
            targets={
                item.object_id: (item.categories, item.is_thing, ()) for item in picture.objects if not item.is_crowd
            },
            unknown=[item.object_id for item in picture.objects if item.is_crowd],
            name=picture.name,
            source=picture.source,
            partial=picture.partial_annotation or (has_surfaces and share < _FULLY_LABELLED),
        )

    def _frame_scene(self, rng: np.random.Generator, sequence: VideoSequence) -> _Scene:
        place = int(rng.integers(len(sequence)))
        return _Scene(
            image=self.store.image(sequence.image_files[place]),
            ids=self.store.mask(sequence.mask_files[place]),
            targets={
                key: (names, True, sequence.expressions.get(key, ())) for key, names in sequence.categories.items()
            },
            unknown=[],
            name=sequence.name,
            source=sequence.source,
            partial=True,
        )

    def _crop(self, rng: np.random.Generator, scene: _Scene, size: tuple[int, int]) -> dict[str, Any]:
        flip = bool(self.settings.flip and rng.random() < 0.5)
        image, ids = warp(scene.image, scene.ids, self._view(rng, scene, size, flip), size)
        image = recolour(image, colour_change(rng, 1, self.settings.colour)[0])
        counts = np.bincount(ids.reshape(-1), minlength=256)
        least = max(1, round(self.settings.least_pixels * ids.size))
        kept = [key for key in scene.targets if counts[key] >= least]
        table = np.zeros(256, np.uint8)
        table[[*scene.targets, *scene.unknown, IGNORE]] = IGNORE
        table[kept] = np.arange(1, len(kept) + 1)
        swap = mirror_words if flip else str
        return {
            "image": [torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))],
            "id_map": torch.from_numpy(cv2.LUT(ids, table)[None]),
            "categories": [list(scene.targets[key][0]) for key in kept],
            "is_thing": [scene.targets[key][1] for key in kept],
            "expressions": [[swap(text) for text in scene.targets[key][2]] for key in kept],
            "partial_annotation": scene.partial,
            "frame_indices": [0],
            "height": size[0],
            "width": size[1],
            "dataset_name": scene.source,
            "name": scene.name,
        }

    def _view(self, rng: np.random.Generator, scene: _Scene, size: tuple[int, int], flip: bool) -> np.ndarray:
        rows, columns = scene.ids.shape
        low, high = self.settings.zoom
        scale = max(size[0] / rows, size[1] / columns) * np.exp(rng.uniform(np.log(low), np.log(high)))
        centre = rng.random(2) * (columns, rows)
        if rng.random() < self.settings.near_object and scene.targets:
            # The object at a random labelled pixel would nearly always be a large one; every id has the same chance.
            key = list(scene.targets)[rng.integers(len(scene.targets))]
            x, y, width, height = cv2.boundingRect((scene.ids == key).view(np.uint8))
            if width:
                centre = np.array([x + rng.random() * width, y + rng.random() * height])
        centre = clamp_centre(centre, scale, size, (rows, columns))
        return crop_matrix(tuple(centre), scale, size, flip, rng.normal(0.0, self.settings.turn_degrees))

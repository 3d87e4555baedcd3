"""Clips for learning to follow objects: half annotated video, half pseudo-video made of stills."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from torch.utils.data import DataLoader, Dataset

from univs.errors import UserError

from .augmentation import colour_change, recolour
from .clip_makers import ClipMaker, RawClip
from .clip_objects import choose_objects, clip_sample
from .clip_settings import ClipSettings
from .cut_outs import CutOutShelf
from .formats.palette_folders import VideoSequence, read_sequences
from .formats.stills_index import StillPicture, read_stills
from .picture_store import PictureStore
from .sampling import CounterSampler, sample_generator

_ATTEMPTS = 30


class TrainingClips(Dataset):
    """Endless clips; sample ``index`` is always the same clip, in any process and in any order.

    A sample is a dict: ``image`` list of T uint8 tensors [3, H, W] RGB; ``id_map`` uint8 [T, H, W] with 0 the
    background, 1..n the objects and 255 unknown; every object is visible in the first frame; ``categories`` and
    ``expressions``: a list of strings per object; ``partial_annotation``: there may be things that have no id;
    ``frame_indices``: ascending list of T, from 0; ``height``, ``width``, ``task``, ``dataset_name`` (the source),
    ``name`` (of the sequence or still), ``sample`` (the index).
    """

    task = "sot"

    def __init__(
        self,
        sequences: list[VideoSequence],
        stills: list[StillPicture],
        settings: ClipSettings | None = None,
        seed: int = 0,
        store: PictureStore | None = None,
    ):
        self.sequences = sequences
        self.stills = stills
        self.settings = settings or ClipSettings()
        self.seed = seed
        self.store = store or PictureStore()
        self._shelf = CutOutShelf(stills, self.store)
        self._still_shares = _still_shares(stills)
        if not sequences and not stills:
            raise UserError("There is neither an annotated video nor a still to make training clips of.")

    @classmethod
    def from_folder(
        cls, root: str | Path, settings: ClipSettings | None = None, seed: int = 0, store: PictureStore | None = None
    ) -> TrainingClips:
        """The training part of a data folder: its train sequences and nine tenths of its stills.

        ``store``: shared with other data sets of the same pictures, to decode each only once.

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
        rng = sample_generator(self.seed, index)
        maker = ClipMaker(self.settings, self.frames_of(index), self.store, self._shelf)
        kind = self._kind(rng)
        least = round(self.settings.least_pixels * self.settings.size[0] * self.settings.size[1])
        for _ in range(_ATTEMPTS):
            clip = self._make(rng, maker, kind, index)
            chosen = choose_objects(rng, clip, self.settings.max_objects, least) if clip is not None else []
            if chosen:
                colours = colour_change(rng, maker.frames, self.settings.colour)
                images = [recolour(image, colour) for image, colour in zip(clip.images, colours, strict=True)]
                return {**clip_sample(clip, chosen, images), "task": self.task, "sample": index}
        raise UserError(
            f"No clip with a visible object was found in {_ATTEMPTS} attempts (sample {index}); check masks."
        )

    def frames_of(self, index: int) -> int:
        """Number of frames of sample ``index``: the same for the whole group that it belongs to."""
        frames = self.settings.frames
        if isinstance(frames, int):
            return frames
        rng = sample_generator(self.seed, index // self.settings.group, purpose=1)
        return int(rng.integers(frames[0], frames[1] + 1))

    def _kind(self, rng: np.random.Generator) -> str:
        draw, draw_still = rng.random(2)
        if self.sequences and (draw < self.settings.video_share or not self.stills):
            return "real"
        return "still" if draw_still < self.settings.still_share else "cut_outs"

    def _make(self, rng: np.random.Generator, maker: ClipMaker, kind: str, index: int) -> RawClip | None:
        if kind == "real":
            sequence = self.sequences[rng.integers(len(self.sequences))]
            return maker.real(rng, sequence, self.settings.largest_gap(index))
        picture = self.stills[int(np.searchsorted(self._still_shares, rng.random()))]
        return maker.moving_still(rng, picture) if kind == "still" else maker.moving_cut_outs(rng, picture)


def decode_all(store: PictureStore, sequences: list[VideoSequence], stills: list[StillPicture]) -> None:
    """Let ``store`` decode every frame, picture and mask."""
    images = [path for item in sequences for path in item.image_files] + [item.image_file for item in stills]
    masks = [path for item in sequences for path in item.mask_files if path is not None]
    store.preload(images, masks + [item.mask_file for item in stills])


def _still_shares(stills: list[StillPicture]) -> np.ndarray:
    """Cumulative shares of the stills: a picture with several objects teaches more than one with a single one."""
    weights = np.array([min(len(item.objects), 4) ** 0.5 for item in stills])
    return np.cumsum(weights) / weights.sum() if len(weights) else weights


def clip_loader(
    dataset: Dataset,
    batch_size: int,
    first_step: int = 0,
    num_workers: int = 0,
    rank: int = 0,
    world_size: int = 1,
) -> DataLoader:
    """Endless batches (lists of samples). Batch s is the same whatever the number of workers or the first step."""
    return DataLoader(
        dataset,
        batch_size=batch_size,
        sampler=CounterSampler(batch_size, first_step, rank, world_size),
        num_workers=num_workers,
        collate_fn=list,
        worker_init_fn=_one_thread,
        persistent_workers=num_workers > 0,
    )


def _one_thread(_: int) -> None:
    # OpenCV's own threads and the forked workers would compete for the same cores.
    cv2.setNumThreads(0)

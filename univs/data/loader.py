"""From a configuration to the endless, reproducible stream of training batches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from detectron2.config import CfgNode
from torch.utils.data import DataLoader, Dataset

from univs.errors import UserError

from . import catalog
from .clip_settings import ClipSettings
from .mapper import MapperSettings, TrainingMapper
from .picture_store import PictureStore
from .sampling import sample_generator
from .scale_jitter import JitterSettings
from .training_clips import TrainingClips, clip_loader
from .training_stills import StillSettings, TrainingStills

_ATTEMPTS = 50


class MappedRecords(Dataset):
    """Endless samples of records: sample ``index`` is a random record, mapped with random numbers of its own."""

    def __init__(self, records: Sequence[dict[str, Any]], mapper: TrainingMapper, seed: int = 0):
        if not records:
            raise UserError("A training data set has no videos; check its folder and its list of videos.")
        self.records = records
        self.mapper = mapper
        self.seed = seed

    def __len__(self) -> int:
        return 1 << 40

    def __getitem__(self, index: int) -> dict[str, Any]:
        rng = sample_generator(self.seed, index, purpose=4)
        for _ in range(_ATTEMPTS):
            sample = self.mapper(self.records[rng.integers(len(self.records))], rng)
            if sample is not None:
                return {**sample, "sample": index}
        raise UserError(f"Sample {index}: no object is visible in {_ATTEMPTS} random clips; check the annotations.")


class MixedDataSets(Dataset):
    """Several endless data sets as one; which one a sample comes from is drawn by ``ratios``.

    The draw is one per ``group`` successive samples: with the batch size of a process as the group, a batch comes from
    one data set.
    """

    def __init__(self, datasets: Sequence[Dataset], ratios: Sequence[float], group: int, seed: int = 0):
        if len(ratios) != len(datasets) or min(ratios, default=0) < 0 or not sum(ratios) > 0:
            raise UserError(
                f"DATASETS.TRAIN_RATIO {list(ratios)} must have one non-negative number for each of the "
                f"{len(datasets)} data sets of DATASETS.TRAIN, not all zero."
            )
        self.datasets = datasets
        self.group = group
        self.seed = seed
        self._shares = np.cumsum(ratios) / np.sum(ratios)

    def __len__(self) -> int:
        return 1 << 40

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.datasets[self.choice(index)][index]

    def choice(self, index: int) -> int:
        """Which data set sample ``index`` comes from."""
        draw = sample_generator(self.seed, index // self.group, purpose=5).random()
        return int(np.searchsorted(self._shares, draw, side="right"))


def build_train_loader(cfg: CfgNode, first_step: int = 0, rank: int = 0, world_size: int = 1) -> DataLoader:
    """Training batches of a configuration for one of ``world_size`` processes, from step ``first_step`` on.

    Raises:
        UserError: settings contradict each other, a data set is unknown or its files are missing.
    """
    if cfg.SOLVER.IMS_PER_BATCH % world_size:
        raise UserError(
            f"SOLVER.IMS_PER_BATCH {cfg.SOLVER.IMS_PER_BATCH} cannot be shared by {world_size} processes; "
            "choose a multiple of their number."
        )
    if cfg.INPUT.FORMAT != "RGB":
        raise UserError(f"INPUT.FORMAT is '{cfg.INPUT.FORMAT}', but samples are RGB; set it to RGB.")
    batch_size = cfg.SOLVER.IMS_PER_BATCH // world_size
    return clip_loader(
        build_train_dataset(cfg, batch_size), batch_size, first_step, cfg.DATALOADER.NUM_WORKERS, rank, world_size
    )


def build_train_dataset(cfg: CfgNode, batch_size: int) -> MixedDataSets:
    """The data sets of DATASETS.TRAIN, mixed by DATASETS.TRAIN_RATIO.

    Raises:
        UserError: see ``build_train_loader``.
    """
    names = list(cfg.DATASETS.TRAIN)
    if not names:
        raise UserError("DATASETS.TRAIN is empty; name at least one data set to train on.")
    if cfg.DATALOADER.MIXING not in ("batch", "sample"):
        raise UserError(f"DATALOADER.MIXING is '{cfg.DATALOADER.MIXING}'; it must be 'batch' or 'sample'.")
    store = PictureStore()
    datasets = [_BUILDERS[row.kind](cfg, row, batch_size, store) for row in map(catalog.find, names)]
    group = batch_size if cfg.DATALOADER.MIXING == "batch" else 1
    return MixedDataSets(datasets, list(cfg.DATASETS.TRAIN_RATIO) or [1.0] * len(datasets), group, cfg.SEED)


def _records(cfg: CfgNode, row: catalog.DataSet, batch_size: int, store: PictureStore) -> MappedRecords:
    frames = max(cfg.INPUT.CLIP_FRAMES, cfg.INPUT.VIDEO_FRAMES)
    reach = {
        "near": 2 * frames,
        "video": cfg.INPUT.SAMPLING_RANGE,
        "tracking": cfg.INPUT.SAMPLING_RANGE_TRACKING,
    }[row.reach]
    return MappedRecords(
        catalog.load_records(row), TrainingMapper(MapperSettings(frames, reach, jitter_settings(cfg))), cfg.SEED
    )


def _clips(cfg: CfgNode, row: catalog.DataSet, batch_size: int, store: PictureStore) -> TrainingClips:
    settings = clip_settings(cfg, batch_size)
    return _ready(cfg, TrainingClips.from_folder(catalog.development_root(), settings, cfg.SEED, store))


def _stills(cfg: CfgNode, row: catalog.DataSet, batch_size: int, store: PictureStore) -> TrainingStills:
    settings = StillSettings(sizes=tuple(map(tuple, cfg.INPUT.STILLS.SIZES)), group=batch_size)
    return _ready(cfg, TrainingStills.from_folder(catalog.development_root(), settings, cfg.SEED, store))


def _ready(cfg: CfgNode, dataset: TrainingClips | TrainingStills) -> TrainingClips | TrainingStills:
    """Decoded already if several workers would else each keep their own copy of all pictures."""
    if cfg.DATALOADER.NUM_WORKERS > 1:
        dataset.preload()
    return dataset


_BUILDERS: dict[str, Callable[[CfgNode, catalog.DataSet, int, PictureStore], Dataset]] = {
    "records": _records,
    "clips": _clips,
    "stills": _stills,
}


def clip_settings(cfg: CfgNode, batch_size: int) -> ClipSettings:
    """Settings of made-up clips; the keys are documented at INPUT.CLIPS."""
    keys = cfg.INPUT.CLIPS
    least, most = keys.FRAMES
    return ClipSettings(
        frames=least if least == most else (least, most),
        group=batch_size,
        size=tuple(keys.SIZE),
        scale_width=keys.SCALE_WIDTH,
        zoom=tuple(keys.ZOOM),
        video_share=keys.VIDEO_SHARE,
        distractor_share=keys.DISTRACTOR_SHARE,
        gaps=tuple(keys.GAPS),
        gap_samples=keys.GAP_STEPS * cfg.SOLVER.IMS_PER_BATCH,
        max_objects=keys.MAX_OBJECTS,
    )


def jitter_settings(cfg: CfgNode) -> JitterSettings:
    """Settings of the large scale jitter; the keys are documented at INPUT.AUGMENTATION."""
    keys = cfg.INPUT.AUGMENTATION
    sides = cfg.INPUT.MIN_SIZE_TRAIN
    if cfg.INPUT.MIN_SIZE_TRAIN_SAMPLING == "range":
        sides = range(min(sides), max(sides) + 1)
    return JitterSettings(
        image_size=keys.IMAGE_SIZE,
        min_scale=keys.MIN_SCALE,
        max_scale=keys.MAX_SCALE,
        square=keys.SQUARE,
        rotation=keys.ROTATION,
        flip=cfg.INPUT.RANDOM_FLIP == "horizontal",
        short_sides=tuple(sides),
        longest_side=cfg.INPUT.MAX_SIZE_TRAIN,
    )

"""The one table of data sets, and their registration into Detectron2's catalogs.

Paths are below ``$DETECTRON2_DATASETS`` (default ``datasets``), in the layouts of ``datasets/README.md``; those of the
development data are below ``$UNIVS_DATA`` (default ``$DETECTRON2_DATASETS/univs_mini``).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from detectron2.data import DatasetCatalog, MetadataCatalog

from univs.errors import UserError

from .formats.palette_folders import VideoSequence, read_palette_videos, read_sequences
from .formats.records import sequence_record


@dataclass(frozen=True)
class DataSet:
    """One row. A new data set is one more of these.

    name: registered name. kind: "records" (read through the mapper), "clips" or "stills" (made up on the fly).
    layout: key of ``LAYOUTS``. where: the layout's paths below the root. task: "detection", "sot" or "grounding".
    short_name: selects the range of classes. reach: how far apart the frames of a training sample may lie: "near"
    (twice the clip's length), "video" or "tracking" (lengths of the configuration). evaluator: how results are judged.
    """

    name: str
    layout: str
    where: tuple[str, ...]
    task: str
    short_name: str
    kind: str = "records"
    reach: str = "tracking"
    evaluator: str = "none"


TABLE: tuple[DataSet, ...] = (
    # the development data: made-up clips and stills for training, whole sequences for evaluation
    DataSet("univs_mini_clips_train", "development", ("train",), "sot", "sot_univs_mini", kind="clips"),
    DataSet("univs_mini_stills_train", "development", ("train",), "detection", "univs_mini", kind="stills"),
    DataSet("univs_mini_video_train", "development", ("train",), "sot", "sot_univs_mini"),
    DataSet("univs_mini_video_val", "development", ("val",), "sot", "sot_univs_mini", evaluator="davis"),
    # benchmarks of annotated folders: pictures, masks, list of videos
    DataSet(
        "sot_davis16_train",
        "palette",
        ("DAVIS/JPEGImages/480p", "DAVIS/Annotations/480p", "DAVIS/ImageSets/2016/train.txt"),
        "sot",
        "sot_davis16_train",
    ),
    DataSet(
        "sot_davis16_val",
        "palette",
        ("DAVIS/JPEGImages/480p", "DAVIS/Annotations/480p", "DAVIS/ImageSets/2016/val.txt"),
        "sot",
        "sot_davis16_val",
        evaluator="davis",
    ),
    DataSet(
        "sot_davis17_train",
        "palette",
        ("DAVIS/JPEGImages/480p", "DAVIS/Annotations/480p", "DAVIS/ImageSets/2017/train.txt"),
        "sot",
        "sot_davis17_train",
    ),
    DataSet(
        "sot_davis17_val",
        "palette",
        ("DAVIS/JPEGImages/480p", "DAVIS/Annotations/480p", "DAVIS/ImageSets/2017/val.txt"),
        "sot",
        "sot_davis17_val",
        evaluator="davis",
    ),
    DataSet(
        "sot_ytbvos18_train",
        "palette",
        ("ytbvos/train/JPEGImages", "ytbvos/train/Annotations"),
        "sot",
        "sot_ytbvos18_train",
    ),
    DataSet(
        "sot_ytbvos18_val",
        "palette",
        ("ytbvos/valid/JPEGImages", "ytbvos/valid/Annotations"),
        "sot",
        "sot_ytbvos18_val",
        evaluator="vos",
    ),
    DataSet(
        "mots_mose_train", "palette", ("mose/train/JPEGImages", "mose/train/Annotations"), "sot", "sot_mots_mose_train"
    ),
    DataSet(
        "mots_mose_val",
        "palette",
        ("mose/valid/JPEGImages", "mose/valid/Annotations"),
        "sot",
        "sot_mots_mose_val",
        evaluator="vos",
    ),
)


def _read_development(where: tuple[str, ...]) -> list[VideoSequence]:
    return read_sequences(development_root(), where[0])


def _read_palette(where: tuple[str, ...]) -> list[VideoSequence]:
    return read_palette_videos(*(data_root() / path for path in where))


LAYOUTS: dict[str, Callable[[tuple[str, ...]], list[VideoSequence]]] = {
    "development": _read_development,
    "palette": _read_palette,
}


def data_root() -> Path:
    """Folder of all data sets."""
    return Path(os.environ.get("DETECTRON2_DATASETS", "datasets")).expanduser()


def development_root() -> Path:
    """Folder of the development data."""
    path = os.environ.get("UNIVS_DATA")
    return Path(path).expanduser() if path else data_root() / "univs_mini"


def find(name: str) -> DataSet:
    """The row of a registered name.

    Raises:
        UserError: there is no such row; the message lists those that there are.
    """
    for row in TABLE:
        if row.name == name:
            return row
    raise UserError(f"There is no data set '{name}'; the table in univs/data/catalog.py has {[r.name for r in TABLE]}.")


def load_records(row: DataSet) -> list[dict[str, Any]]:
    """Records of a data set, read now.

    Raises:
        UserError: files are missing or not in the layout that ``datasets/README.md`` describes.
    """
    return [sequence_record(item, row.task, row.short_name) for item in LAYOUTS[row.layout](row.where)]


def register_datasets() -> None:
    """Put every row into Detectron2's DatasetCatalog and MetadataCatalog; what is there already stays."""
    for row in TABLE:
        if row.name not in DatasetCatalog.list():
            DatasetCatalog.register(row.name, lambda row=row: load_records(row))
            MetadataCatalog.get(row.name).set(
                task=row.task, short_name=row.short_name, evaluator_type=row.evaluator, kind=row.kind
            )

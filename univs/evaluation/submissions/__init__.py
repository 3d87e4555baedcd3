"""What the benchmarks' servers and programs take, by name of the benchmark, and who writes it."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from univs.errors import UserError

if TYPE_CHECKING:
    from univs.evaluation.submissions.video import SubmissionWriter


@dataclass(frozen=True)
class Submission:
    """The layout of a benchmark's submissions.

    kind: "masks" (object ids), "sentences" (black and white), "classes" (semantic), "labels" (class and object id),
    "tracks", "objects", "burst", "panoptic videos" or "panoptic pictures"; of benchmarks without a server also "frame
    sentences" or "report". top: the folder that holds the videos, or none. file: the list. uploaded_as: a pattern of
    other names of the list, under which the server takes it. pictures: the folder of id pictures. videos: their number
    where the server counts them. classes: number of classes. groups: folders between ``top`` and the videos, each with
    all videos.
    """

    kind: str
    top: str = ""
    file: str = "results.json"
    pictures: str = ""
    uploaded_as: str = ""
    videos: int | None = None
    classes: int | None = None
    groups: tuple[str, ...] = ()

    @property
    def depth(self) -> int:
        """Folders from ``top`` to the pictures."""
        return 1 + bool(self.groups) + (self.kind == "sentences")

    def writer(self, folder: Path, categories: Mapping[str, int] | None = None) -> SubmissionWriter:
        """A writer of this layout into ``folder``. categories: numbers of the benchmark's category names."""
        module, name, settings = WRITERS[self.kind]
        keywords: dict[str, Any] = {setting: getattr(self, setting) for setting in settings}
        return getattr(import_module(f"univs.evaluation.submissions.{module}"), name)(folder, categories, **keywords)


WRITERS = {
    "masks": ("pictures", "PaletteWriter", ("top",)),
    "sentences": ("pictures", "SentenceWriter", ("top",)),
    "classes": ("pictures", "ClassWriter", ("top",)),
    "labels": ("pictures", "StepWriter", ("top",)),
    "frame sentences": ("local", "FrameSentenceWriter", ("file",)),
    "report": ("local", "ReportWriter", ("file",)),
    "tracks": ("lists", "TrackWriter", ("file",)),
    "objects": ("lists", "ImageObjectWriter", ("file",)),
    "burst": ("lists", "BurstWriter", ("file",)),
    "panoptic videos": ("panoptic", "VideoPanopticWriter", ("file", "pictures")),
    "panoptic pictures": ("panoptic", "ImagePanopticWriter", ("file", "pictures")),
}
"""Kind -> module, class, and the fields of Submission that it takes."""

SUBMISSIONS = {
    "davis2016": Submission("masks"),
    "davis2017": Submission("masks"),
    "davis2017-unsupervised": Submission("masks"),
    "ref-davis17": Submission("masks", groups=("anno_0", "anno_1", "anno_2", "anno_3")),
    "mose": Submission("masks"),
    "lvos": Submission("masks"),
    "viposeg": Submission("masks"),
    "youtube-vos": Submission("masks", top="Annotations"),
    "ref-youtube-vos": Submission("sentences", top="Annotations", videos=202),
    "mevis": Submission("sentences"),
    "vspw": Submission("classes", classes=124),
    "youtube-vis-2019": Submission("tracks"),
    "youtube-vis-2021": Submission("tracks"),
    "youtube-vis-2022": Submission("tracks"),
    "ovis": Submission("tracks"),
    "burst": Submission("burst"),
    "vipseg": Submission("panoptic videos", file="pred.json", pictures="pan_pred"),
    "cityscapes-vps": Submission("panoptic pictures", file="pred.json", pictures="pan_pred"),
    "kitti-step": Submission("labels", classes=19),
    "coco-instance": Submission("objects", uploaded_as="detections_*_results.json"),
    "lvis": Submission("objects"),
    "coco-panoptic": Submission("panoptic pictures", file="panoptic.json", pictures="panoptic"),
}
"""Name of the benchmark -> layout."""

LOCAL = {
    "a2d-sentences": Submission("frame sentences", file="predictions.json"),
    "jhmdb-sentences": Submission("frame sentences", file="predictions.json"),
    "davis-interactive": Submission("report", file="report.csv"),
}
"""Layouts of results that no server takes."""


def find_layout(name: str) -> Submission:
    """The layout of a benchmark's results, whether a server takes them or not.

    Raises:
        UserError: as ``find_submission``.
    """
    return LOCAL[name] if name in LOCAL else find_submission(name)


def find_submission(name: str) -> Submission:
    """The layout of a benchmark's submissions.

    Raises:
        UserError: there is none of this name; the message names the nearest ones.
    """
    if name not in SUBMISSIONS:
        near = difflib.get_close_matches(name, SUBMISSIONS, n=3) or list(SUBMISSIONS)
        raise UserError(f"Submissions for {name!r} are not known; did you mean: {', '.join(near)}?")
    return SUBMISSIONS[name]

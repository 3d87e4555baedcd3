"""VIPOSeg: given things and stuff, of seen and unseen classes, with the quality of their rims."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from univs.evaluation.benchmark import Benchmark, BrokenSequence, Parts, Scoring, Summary
from univs.evaluation.label_pictures import read_labels
from univs.evaluation.layouts import folder, folders_in, frames_in, json_file, paired_labels
from univs.evaluation.metrics.boundary_iou import GroupedBoundaryIoU, region_rim_scores
from univs.evaluation.metrics.label_outlines import LabelMap
from univs.evaluation.metrics.object_series import mean

GROUPS = ("thing_seen", "thing_unseen", "stuff_seen", "stuff_unseen")
THINGS_UNSEEN = frozenset((46, 47, 55, 61, 64, 72, 86, 95, 96, 97, 99, 100, 101, 102, 109, 116, 118))
STUFF_UNSEEN = frozenset((5, 6, 9, 17, 20, 25, 26, 34, 38, 57, 58, 71, 81, 94, 112, 113, 120))
THINGS_SEEN = frozenset(
    (2, 4, 8, 10, 41, 43, 44, 48, 49, 50, 51, 52, 54, 56, 60, 62, 63, 65, 74, 76, 77, 78, 79, 82, 83, 84, 85, 87, 88)
    + (89, 90, 91, 92, 106, 107, 108, 114, 115, 117, 122, 123)
)
STUFF_SEEN = frozenset(
    (0, 1, 3, 7, 11, 12, 13, 14, 15, 16, 18, 19, 21, 22, 23, 24, 27, 28, 29, 30, 31, 32, 33, 35, 36, 37, 39, 40, 42)
    + (45, 53, 59, 66, 67, 68, 69, 70, 73, 75, 80, 93, 98, 103, 104, 105, 110, 111, 119, 121)
)
OTHER_MACHINE = 98
UNSEEN_MACHINES = frozenset(
    """187_WUZUSD4477I 319_l1Dz12fxQzQ 320_nhKXemkIvh4 517_AWvYuplla_s 532_QmZyJuLlEec 774_devdFjIpDcc
    1016_HG0AsTOxI5g 1017_IAU0WGB9VPw 1020_TgCIv6bp3XM 1021_cPOxAMo28yk 1022_emSaDd2ddj0 1033_sh81AwYuihg
    1065_d2sHRyAHKqI 1067_fk3jhxBi1pA 1068_gxnZkf0LQfk 1069_jFHRbZxswz8 1070_uTJB31tuYes 1072_zvNEdUk5k0Q
    1230_AGY-gQ_3O8Y 1333__iprMPKLdOQ 1334_qlmfvYA3_rk 2004_1btxeVbyojs 2005_83KrhWajwfw""".split()
)
"""Videos whose "other machines" are of an unseen kind."""


def group_of(category: int, video: str) -> str:
    """Group of a class in a video; "" for a class that does not count."""
    if category == OTHER_MACHINE:
        return "stuff_unseen" if video in UNSEEN_MACHINES else "stuff_seen"
    members = dict(zip(GROUPS, (THINGS_SEEN, THINGS_UNSEEN, STUFF_SEEN, STUFF_UNSEEN), strict=True))
    return next((group for group, classes in members.items() if category in classes), "")


class PanopticObjects(Scoring):
    """An object is scored from the frame after the one whose reference annotation introduces it."""

    def __init__(self, predictions: Path, truth: Path) -> None:
        self.predictions, self.root = predictions, truth
        self.truth = folder(truth / "Annotations_gt", "one folder of annotations per video")
        self.references = folder(truth / "Annotations", "one folder of reference annotations per video")
        json_file(truth / "obj_class.json")

    def sequences(self) -> list[str]:
        """The folders of the ground truth."""
        return folders_in(self.truth)

    def own_files(self, sequence: str) -> Sequence[Path]:
        return self.predictions / sequence, self.truth / sequence, self.references / sequence

    def measure(self, sequence: str) -> Parts:
        """Object-frames [K]: the object, its group, how many objects there were, mask and boundary IoU.

        Raises:
            BrokenSequence: files that cannot be compared, or an object without a class.
        """
        frames, references = frames_in(self.truth / sequence), set(frames_in(self.references / sequence))
        introduced: list[int] = []
        found: list[tuple[int, int, float, float]] = []
        for frame, prediction, truth in paired_labels(self.predictions / sequence, self.truth / sequence, frames):
            if introduced:
                unlike = list(dict.fromkeys(introduced))
                scores = region_rim_scores(*(_eight_bits(labels) for labels in (prediction, truth)), unlike)
                by_object = dict(zip(unlike, zip(*scores, strict=True), strict=True))
                # an object that two reference frames introduce counts twice, as in the official program
                found += [(number, len(introduced), *by_object[number]) for number in introduced]
            if frame in references:
                labels = LabelMap(_eight_bits(read_labels(self.references / sequence / f"{frame}.png")))
                introduced += [number for number in labels.present if number]
        objects, counts, masks, boundaries = zip(*found, strict=True) if found else ((), (), (), ())
        groups = {number: self._group(sequence, number) for number in set(objects)}
        return {
            "objects": list(objects),
            "groups": [groups[number] for number in objects],
            "counts": list(counts),
            "miou": np.array(masks),
            "biou": np.array(boundaries),
        }

    def _group(self, sequence: str, number: int) -> str:
        path = self.root / "obj_class.json"
        try:
            return group_of(int(json_file(path)[sequence][str(number)]), sequence)
        except (KeyError, TypeError, ValueError) as error:
            raise BrokenSequence(f"{path} has no class of object {number} in {sequence}; expected one.") from error

    def summarise(self, measured: Mapping[str, Parts]) -> Summary:
        """Means of the four groups, their overall mean, and the decay with the number of objects."""
        metric = GroupedBoundaryIoU(GROUPS)
        rows = []
        for sequence in self.sequences():
            if sequence in measured:
                parts = measured[sequence]
                metric.update(sequence, *(parts[name] for name in ("groups", "counts", "miou", "biou")))
                rows += _rows(sequence, parts)
        figures = metric.compute()
        table = [(name, figures[name]) for name in ("overall_iou", *(f"{group}_iou" for group in GROUPS), "decay")]
        return Summary(figures, table, objects=rows)


def _eight_bits(labels: np.ndarray) -> np.ndarray:
    """Labels in 8 bits, as the official program reads them."""
    return labels if labels.dtype == np.uint8 else labels.astype(np.uint8)


def _rows(sequence: str, parts: Parts) -> list[dict[str, Any]]:
    objects = np.array(parts["objects"], int)
    groups = dict(zip(parts["objects"], parts["groups"], strict=True))
    return [
        {"sequence": sequence, "object": number, "group": group}
        | {name: mean(parts[name][objects == number]) for name in ("miou", "biou")}
        for number, group in groups.items()
    ]


class VipoSeg(Benchmark):
    """Things and stuff given by their masks when they first appear."""

    name = "viposeg"
    summary = "VIPOSeg: mask and boundary IoU of given things and stuff, seen and unseen, and decay with their number"
    predictions_layout = "VIDEO/FRAME.png, palette or grey, values = object ids"
    truth_layout = "Annotations_gt/VIDEO/FRAME.png, Annotations/VIDEO/FRAME.png (reference frames), obj_class.json"
    official = "yoxu515/VIPOSeg-Benchmark (0f4f5e5)"

    def open(self, predictions: Path, truth: Path, options: Mapping[str, Any]) -> PanopticObjects:
        """A scoring of these folders. Raises UserError where one is missing."""
        return PanopticObjects(folder(predictions, self.predictions_layout), truth)

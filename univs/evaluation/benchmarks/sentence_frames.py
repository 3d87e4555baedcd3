"""A2D-Sentences and JHMDB-Sentences: one actor named by a sentence, in single annotated frames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from pycocotools import mask as mask_codes

from univs.errors import UserError
from univs.evaluation.annotations import crowd_of, member, read_json
from univs.evaluation.benchmark import Benchmark, BrokenSequence, Parts, Scoring, Summary
from univs.evaluation.coded_masks import check_code
from univs.evaluation.json_layouts import one_json
from univs.evaluation.metrics.sentence_frames import AP_NAMES, THRESHOLDS, SentenceFrames


class ImageEntries:
    """Entries of a ground truth and a result file by image."""

    def __init__(self, truth: Path, predictions: Path) -> None:
        content = read_json(truth, dict)
        where = f"An image of {truth}"
        self.images = {
            str(member(entry, "id", object, where)): entry for entry in member(content, "images", list, str(truth))
        }
        self.truth = self._by_image(member(content, "annotations", list, str(truth)), truth)
        self.candidates = self._by_image(read_json(predictions, list), predictions)

    def _by_image(self, entries: Sequence[Any], path: Path) -> dict[str, list[dict[str, Any]]]:
        found: dict[str, list[dict[str, Any]]] = {name: [] for name in self.images}
        for number, entry in enumerate(entries):
            name = str(member(entry, "image_id", object, f"Entry {number} of {path}"))
            if name not in found:
                raise UserError(f"Entry {number} of {path} is of the image {name!r}, which the ground truth lacks.")
            found[name].append(entry)
        return found


@lru_cache(maxsize=2)
def _entries(truth: Path, predictions: Path, changed: tuple[int, int]) -> ImageEntries:
    return ImageEntries(truth, predictions)


class Sentences(Scoring):
    """An image is a sequence of one frame."""

    each_alone = False

    def __init__(self, predictions: Path, truth: Path) -> None:
        self.predictions, self.truth = predictions, truth

    def _content(self) -> ImageEntries:
        changed = self.truth.stat().st_mtime_ns, self.predictions.stat().st_mtime_ns
        return _entries(self.truth, self.predictions, changed)

    def sequences(self) -> list[str]:
        """The images of the ground truth."""
        return list(self._content().images)

    def measure(self, sequence: str) -> Parts:
        """The true mask and the candidates of an image. Raises BrokenSequence."""
        parts = self.entries_of(sequence)
        if not parts["candidates"]:
            raise BrokenSequence(
                f"{self.predictions} has no candidate for the image {sequence} (its one frame); expected one at least."
            )
        return parts

    def entries_of(self, sequence: str) -> Parts:
        """What the metric needs of an image, also where nothing was predicted.

        Raises:
            BrokenSequence: no annotation, or an entry that is malformed or of another size.
        """
        content = self._content()
        image = content.images[sequence]
        truth, candidates = content.truth[sequence], content.candidates[sequence]
        if not truth:
            raise BrokenSequence(f"{self.truth} has no annotation of the image {sequence}; expected one mask.")
        try:
            size = [member(image, name, int, f"Image {sequence} of {self.truth}") for name in ("height", "width")]
            kept = [self._checked(entry, size, self.truth, ("id",), sequence) for entry in truth]
            found = [self._checked(entry, size, self.predictions, ("score",), sequence) for entry in candidates]
        except UserError as error:
            raise BrokenSequence(str(error)) from error
        return {"image": image["id"], "size": size, "truth": kept, "candidates": found}

    def _checked(
        self, entry: Mapping[str, Any], size: list[int], path: Path, numbers: Sequence[str], sequence: str
    ) -> dict[str, Any]:
        """The used fields of an entry whose mask has the size of its image."""
        where = f"An entry of the image {sequence} in {path}"
        code = check_code(entry.get("segmentation"), f"The mask of {where[0].lower()}{where[1:]}")
        if list(code["size"]) != size:
            raise BrokenSequence(
                f"{where} has a mask of {code['size'][1]}x{code['size'][0]} pixels; expected {size[1]}x{size[0]}."
            )
        own = {name: member(entry, name, float, where) for name in numbers}
        area = member(entry, "area", float, where) if "area" in entry else int(mask_codes.area(code))
        return {**own, "segmentation": code, "area": area, "iscrowd": crowd_of(entry, where)}

    def summarise(self, measured: Mapping[str, Parts]) -> Summary:
        """AP, P@K and IoU over all images; beside them AP with annotations numbered from 1."""
        metric = SentenceFrames()
        for sequence in self.sequences():
            if sequence in measured:
                parts = measured[sequence]
                metric.update(parts["image"], parts["size"], parts["truth"], parts["candidates"])
        figures = metric.compute()
        names = [*(f"P@{threshold}" for threshold in THRESHOLDS), "overall_iou", "mean_iou", *AP_NAMES]
        rows = [
            {"sequence": name, "object": "sentence", "iou": iou, "intersection": common, "union": union}
            for name, (iou, common, union) in figures["per_image_iou_intersection_union"].items()
        ]
        corrected = {"annotations_from_1": metric.average_precision(first_id=1)}
        return Summary(figures, [(name, figures[name]) for name in names], corrected, rows)


class A2dSentences(Benchmark):
    """Actors and actions in web videos."""

    name = "a2d-sentences"
    summary = "A2D-Sentences: P@0.5..0.9, overall and mean IoU, mAP"
    predictions_layout = "a JSON list: image_id, score and a run-length segmentation of each candidate"
    truth_layout = "a COCO JSON with one annotation per image"
    official = "wjn922/ReferFormer a2d_eval.py (06fc218), as MTTR, with pycocotools COCOeval"

    def open(self, predictions: Path, truth: Path, options: Mapping[str, Any]) -> Sentences:
        """A scoring of these files, or of the only JSON file in a folder. Raises UserError where one is missing."""
        scoring = Sentences(one_json(predictions), one_json(truth))
        scoring.sequences()
        return scoring


class JhmdbSentences(A2dSentences):
    """Actions of one person."""

    name = "jhmdb-sentences"
    summary = "JHMDB-Sentences: P@0.5..0.9, overall and mean IoU, mAP"

"""Semantic segmentation of videos as VSPW scores it: mIoU over all frames, and video consistency."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from univs.errors import UserError
from univs.evaluation.benchmark import Benchmark, BrokenSequence, Parts, Scoring, Summary
from univs.evaluation.label_pictures import read_label_map
from univs.evaluation.metrics.semantic_video import (
    VOID_LABELS,
    ConsistencyCounter,
    SemanticQuality,
    VideoConsistency,
    label_table,
)


class Vspw(Benchmark):
    """mIoU, fwIoU, mVC8 and mVC16."""

    name = "vspw"
    summary = "semantic segmentation of videos (mIoU, fwIoU, mVC8, mVC16)"
    predictions_layout = "VIDEO/FRAME.png; grey values are the classes 0..123"
    truth_layout = "data/VIDEO/mask/FRAME.png (class + 1; 0 and 255 are ignored) and the list of videos val.txt"
    official = "MinghanLi/UniVS and VSPW-dataset/VSPW_baseline (the same mIoU and consistency)"
    options: Mapping[str, Any] = {
        "metrics": ["miou", "vc"],
        "classes": 124,
        "lengths": [8, 16],
        "split": "val.txt",
        "whole_lines": False,
    }
    option_help: Mapping[str, str] = {
        "metrics": "which to compute: miou, vc",
        "classes": "number of classes",
        "lengths": "frames per window of video consistency",
        "split": "name of the list of videos",
        "whole_lines": "read whole lines of the list; the official programs cut the last letter of every line, which "
        "is the line end, or the name's last letter where the file does not end with one",
    }

    def open(self, predictions: Path, truth: Path, options: Mapping[str, Any]) -> VspwScoring:
        unknown = sorted(set(options["metrics"]) - {"miou", "vc"})
        if unknown or not options["metrics"]:
            raise UserError(f"The metrics {unknown or 'none'} are not known; choose miou, vc or both.")
        if not predictions.is_dir():
            raise UserError(f"{predictions} must be a folder of videos, each a folder of pictures.")
        return VspwScoring(predictions, truth, options)


class VspwScoring(Scoring):
    """Every picture is read once for all numbers."""

    def __init__(self, predictions: Path, truth: Path, options: Mapping[str, Any]) -> None:
        self._predictions, self._truth, self._options = predictions, truth, dict(options)

    @cached_property
    def _lines(self) -> list[str]:
        path = self._truth / self._options["split"]
        try:
            return path.read_text(encoding="utf-8").splitlines(keepends=True)
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"{path}, the list of the videos to score, cannot be read: {error}.") from error

    def sequences(self) -> list[str]:
        if self._options["whole_lines"]:
            return [line.strip() for line in self._lines if line.strip()]
        return [line[:-1].rstrip("\r") for line in self._lines if line.strip()]

    def own_files(self, sequence: str) -> Sequence[Path]:
        return self._predictions / sequence, self._truth / "data" / sequence / "mask"

    def measure(self, sequence: str) -> Parts:
        folder = self._truth / "data" / sequence / "mask"
        frames = sorted(folder.glob("*.png"))
        if not frames:
            raise BrokenSequence(f"{folder} holds no PNG; the ground truth of the video {sequence} is expected there.")
        reader = _VideoReader(self._options)
        for frame in frames:
            path = self._predictions / sequence / frame.name
            truth = read_label_map(frame)
            prediction = read_label_map(path, truth.shape)
            try:
                reader.update(prediction, truth)
            except ValueError as error:
                raise BrokenSequence(f"{path}: {error}.") from error
        return reader.parts()

    def summarise(self, measured: Mapping[str, Parts]) -> Summary:
        quality = SemanticQuality(self._options["classes"])
        merged, separate = (VideoConsistency(self._options["lengths"]) for _ in range(2))
        objects = []
        for sequence in self.sequences():
            if sequence not in measured:
                continue
            parts = measured[sequence]
            if "table" in parts:
                quality.merge(np.asarray(parts["table"]))
            if "windows" in parts:
                merged.merge({sequence: parts["windows"]})
                separate.merge({sequence: parts["windows_separate"]})
            objects.append({"sequence": sequence, **self._of_one(sequence, parts)})
        figures: dict[str, Any] = {}
        corrected: dict[str, Any] = self._about_split()
        if "miou" in self._options["metrics"]:
            figures |= quality.compute()
            checked = quality.compute(checked=True)
            corrected |= {f"{name}_wrong_labels_as_misses": checked[name] for name in ("mIoU", "fwIoU", "Acc")}
        if "vc" in self._options["metrics"]:
            figures |= _consistency_figures(merged, separate)
            corrected |= {f"mVC{c}_with_last_window": value for c, value in merged.compute(last_too=True).items()}
        names = ["mIoU", "fwIoU", *(f"mVC{length}" for length in self._options["lengths"])]
        table = [(name, 100 * figures[name]) for name in names if name in figures]
        return Summary(figures, table, corrected, objects)

    def _of_one(self, sequence: str, parts: Parts) -> dict[str, float]:
        row = {}
        if "table" in parts:
            quality = SemanticQuality(self._options["classes"])
            quality.merge(np.asarray(parts["table"]))
            row = {name: value for name, value in quality.compute().items() if isinstance(value, float)}
        if "windows" in parts:
            consistency = VideoConsistency(self._options["lengths"])
            consistency.merge({sequence: parts["windows"]})
            row |= {f"mVC{length}": value for length, value in consistency.compute().items()}
        return row

    def _about_split(self) -> dict[str, str]:
        """The name that the last line of the list really holds, where it was cut."""
        last = self._lines[-1] if self._lines else "\n"
        cut = not last.endswith("\n") and not self._options["whole_lines"]
        return {"last_name_of_split": last.strip()} if cut else {}


class _VideoReader:
    """Goes through the frames of a video; the void labels are told apart only from where that matters."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        self._classes = options["classes"]
        self._table = np.zeros((self._classes, 256), np.int64) if "miou" in options["metrics"] else None
        self._merged = ConsistencyCounter(options["lengths"]) if "vc" in options["metrics"] else None
        self._separate: ConsistencyCounter | None = None
        self._before: np.ndarray | None = None

    def update(self, prediction: np.ndarray, truth: np.ndarray) -> None:
        if self._table is not None:
            self._table += label_table(prediction, truth, self._classes)
        if self._merged is None:
            return
        if self._separate is None and self._before is not None and _void_switches(self._before, truth):
            self._separate = self._merged.forked(self._before)
        if self._separate is not None:
            self._separate.update(prediction, truth)
        self._merged.update(prediction, truth)
        self._before = truth

    def parts(self) -> Parts:
        parts: Parts = {}
        if self._table is not None:
            parts["table"] = self._table
        if self._merged is not None:
            separate = self._separate or self._merged
            parts["windows"] = {length: self._merged.windows(length) for length in self._merged.lengths}
            parts["windows_separate"] = {length: separate.windows(length) for length in self._merged.lengths}
        return parts


def _void_switches(before: np.ndarray, after: np.ndarray) -> bool:
    """Whether a pixel goes from one void label to the other."""
    if before.shape != after.shape:
        return False
    low, high = VOID_LABELS
    return bool(((np.minimum(before, after) == low) & (np.maximum(before, after) == high)).any())


def _consistency_figures(merged: VideoConsistency, separate: VideoConsistency) -> dict[str, Any]:
    means, original = merged.compute(), separate.compute()
    figures: dict[str, Any] = {}
    for length in merged.lengths:
        figures[f"mVC{length}"] = means[length]
        figures[f"VC{length}_windows"] = merged.windows(length)
        figures[f"mVC{length}_original_script"] = original[length]
    return figures

"""DAVIS 2016 and 2017: given objects, found objects, and objects named by four annotators."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from univs.errors import UserError
from univs.evaluation.benchmark import Benchmark, Parts, Scoring, Summary
from univs.evaluation.label_pictures import read_labels
from univs.evaluation.layouts import check_ids, first_folder, folder, frames_in, lines_of, paired_labels
from univs.evaluation.metrics.object_series import MEASURES, STATISTICS, ObjectSeries, mean
from univs.evaluation.metrics.proposals import match_proposals
from univs.evaluation.metrics.region_boundary import object_scores, pair_scores

VOID = 255
MOST_PROPOSALS = 20
NO_LABEL = -1  # an id that no picture holds: the empty proposal
OFFICIAL = "davisvideochallenge/davis2017-evaluation (ac7c43f)"
OPTIONS = {"subset": "val", "resolution": "480p"}
OPTION_HELP = {
    "subset": "name of the sequence list in ImageSets/",
    "resolution": "folder below Annotations/",
}
TRUTH_LAYOUT = "{annotations}/480p/SEQUENCE/FRAME.png and ImageSets/{year}/val.txt"
PREDICTIONS_LAYOUT = "SEQUENCE/FRAME.png, palette or grey, values = object ids"


class DavisScoring(Scoring):
    """Predictions and annotations in SEQUENCE/FRAME.png; what the tasks share."""

    def __init__(self, predictions: Path, truth: Path, options: Mapping[str, Any], annotations: str, year: str) -> None:
        self.predictions = folder(predictions, PREDICTIONS_LAYOUT)
        resolution = options["resolution"]
        what = "one folder of annotations per sequence"
        self.truth = first_folder(truth / annotations, (resolution, ""), what)
        self._list = _sequence_list(truth, year, options)

    def sequences(self) -> list[str]:
        """The names in the list of the subset."""
        return lines_of(self._list)

    def own_files(self, sequence: str) -> Sequence[Path]:
        return self.predictions / sequence, self.truth / sequence

    def summarise(self, measured: Mapping[str, Parts]) -> Summary:
        """Means over all objects of all sequences, statistics per object, J and F per frame."""
        return _summary(_series_of(measured, self.sequences()))


def _sequence_list(truth: Path, year: str, options: Mapping[str, Any]) -> Path:
    path = truth / "ImageSets" / year / f"{options['subset']}.txt"
    if not path.is_file():
        raise UserError(f"{path} is not there; expected the names of the sequences, one a line.")
    return path


def _series_of(measured: Mapping[str, Parts], sequences: list[str]) -> ObjectSeries:
    metric = ObjectSeries()
    for sequence in sequences:
        if sequence in measured:
            parts = measured[sequence]
            metric.update(sequence, parts["J"], parts["F"])
    return metric


def _summary(metric: ObjectSeries) -> Summary:
    figures = metric.compute()
    corrected = {"decay_over_all_frames": metric.unwrapped_decay()}
    return Summary(figures, list(figures["global"].items()), corrected, _object_rows(metric, figures))


def _object_rows(metric: ObjectSeries, figures: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [
        {"sequence": sequence, "object": name, **figures["per_object"][f"{sequence}_{name}"]}
        for sequence, record in metric.state.items()
        for name in record["names"]
    ]


def object_count(first: np.ndarray) -> int:
    """Objects are 1..the highest id in the first annotated frame; gaps are objects too, 255 is none."""
    return int(first[first != VOID].max(initial=0))


def stacked(scores: list[np.ndarray], objects: int) -> np.ndarray:
    """[N, T] of T times [N]; [N, 0] where no frame is scored."""
    return np.stack(scores, axis=1) if scores else np.zeros((objects, 0))


class SemiSupervised(DavisScoring):
    """Objects given in the first frame; neither the first nor the last frame is scored."""

    def measure(self, sequence: str) -> Parts:
        """J and F [N, T] of the objects. Raises BrokenSequence."""
        frames = frames_in(self.truth / sequence)
        objects = object_count(read_labels(self.truth / sequence / f"{frames[0]}.png"))
        numbers = range(1, objects + 1)
        regions, boundaries = [], []
        for frame, prediction, truth in self._frames(sequence, frames[1:-1]):
            path = self.predictions / sequence / f"{frame}.png"
            check_ids(prediction, objects, path, "the first annotated frame names no more objects")
            scores = object_scores(prediction, truth, numbers)
            regions.append(scores[0])
            boundaries.append(scores[1])
        return {"J": stacked(regions, objects), "F": stacked(boundaries, objects)}

    def _frames(self, sequence: str, frames: list[str]) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
        return paired_labels(self.predictions / sequence, self.truth / sequence, frames)


class OneObject(SemiSupervised):
    """The first edition of the benchmark: whatever is not 0 is the one object."""

    def measure(self, sequence: str) -> Parts:
        """J and F [1, T]. Raises BrokenSequence."""
        frames = frames_in(self.truth / sequence)[1:-1]
        pairs = self._frames(sequence, frames)
        scores = [object_scores(prediction != 0, truth != 0, [1]) for _, prediction, truth in pairs]
        return {
            "J": stacked([regions for regions, _ in scores], 1),
            "F": stacked([boundaries for _, boundaries in scores], 1),
        }


class Unsupervised(DavisScoring):
    """Up to 20 proposals per video, matched to the objects over the whole video; all frames are scored."""

    def measure(self, sequence: str) -> Parts:
        """J and F [N, T] in the order of the proposals, and the object of each row. Raises BrokenSequence."""
        return measure_proposals(self.predictions / sequence, self.truth / sequence)

    def summarise(self, measured: Mapping[str, Parts]) -> Summary:
        """As in the semi-supervised task; rows are named by proposals as in the official program."""
        summary = super().summarise(measured)
        by_object = summary_by_object(measured, self.sequences())
        return Summary(
            summary.figures, summary.table, {**summary.corrected, "per_object_by_object_id": by_object}, summary.objects
        )


def measure_proposals(predictions: Path, truth: Path) -> Parts:
    """Matched J and F [N, T] of one video, in the order of the proposals, and the object of each row.

    Void (255) of the ground truth is taken out of both.

    Raises:
        BrokenSequence: files that cannot be compared, or more than 20 proposals.
    """
    frames = frames_in(truth)
    objects = object_count(read_labels(truth / f"{frames[0]}.png"))
    tables = []
    for frame, prediction, true in paired_labels(predictions, truth, frames):
        check_ids(prediction, MOST_PROPOSALS, predictions / f"{frame}.png", f"at most {MOST_PROPOSALS} proposals count")
        # the last row is the empty proposal, which stands for all that are not in this frame
        labels = [*range(1, int(prediction.max(initial=0)) + 1), NO_LABEL]
        void = true == VOID
        if void.any():
            prediction, true = np.where(void, 0, prediction), np.where(void, 0, true)
        tables.append(pair_scores(prediction, true, labels, range(1, objects + 1)))
    count = max([objects, *(len(regions) - 1 for regions, _ in tables)])
    regions, boundaries = (
        np.stack([_with_empty(table[measure], count) for table in tables], axis=2) for measure in (0, 1)
    )
    matched = match_proposals(regions, boundaries)
    return {"J": matched.regions, "F": matched.boundaries, "objects": matched.objects + 1}


def _with_empty(table: np.ndarray, count: int) -> np.ndarray:
    """[P, N] of all proposals from [those of the frame and the empty one, N]."""
    return np.concatenate([table[:-1], np.repeat(table[-1:], count - len(table) + 1, axis=0)])


def summary_by_object(measured: Mapping[str, Parts], sequences: list[str]) -> dict[str, dict[str, float]]:
    """Statistics per object under the object's own number."""
    metric = ObjectSeries()
    for sequence in sequences:
        if sequence in measured:
            parts = measured[sequence]
            order = np.argsort(parts["objects"])
            metric.update(sequence, parts["J"][order], parts["F"][order])
    return metric.compute()["per_object"]


class FourAnnotators(DavisScoring):
    """Objects named by four annotators: each is scored as found objects, and the four results are averaged."""

    def __init__(self, predictions: Path, truth: Path, options: Mapping[str, Any], annotations: str, year: str) -> None:
        super().__init__(predictions, truth, options, annotations, year)
        self.annotators = [f"anno_{number}" for number in range(4)]
        for annotator in self.annotators:
            folder(predictions / annotator, "the predictions for one annotator's expressions, SEQUENCE/FRAME.png")

    def own_files(self, sequence: str) -> Sequence[Path]:
        return self.truth / sequence, *(self.predictions / name / sequence for name in self.annotators)

    def measure(self, sequence: str) -> Parts:
        """The matched series for every annotator. Raises BrokenSequence."""
        return {
            annotator: measure_proposals(self.predictions / annotator / sequence, self.truth / sequence)
            for annotator in self.annotators
        }

    def summarise(self, measured: Mapping[str, Parts]) -> Summary:
        """The figures for every annotator and the average of their global figures."""
        metrics, order = {}, self.sequences()
        by_object = {}
        for annotator in self.annotators:
            own = {sequence: parts[annotator] for sequence, parts in measured.items()}
            metrics[annotator] = _series_of(own, order)
            by_object[annotator] = summary_by_object(own, order)
        figures = {annotator: metric.compute() for annotator, metric in metrics.items()}
        names = ["J&F-Mean", *(f"{measure}-{statistic}" for measure in MEASURES for statistic in STATISTICS)]
        average = {name: mean([one["global"][name] for one in figures.values()]) for name in names}
        rows = [
            {"annotator": annotator, **row}
            for annotator, metric in metrics.items()
            for row in _object_rows(metric, figures[annotator])
        ]
        corrected = {"per_object_by_object_id": by_object}
        every = {"per_annotator": list(figures.values()), "average": average}
        return Summary(every, list(average.items()), corrected, rows)


class DavisBenchmark(Benchmark):
    """What the entries share; ``scoring``, ``annotations`` and ``year`` tell them apart."""

    predictions_layout = PREDICTIONS_LAYOUT
    official = OFFICIAL
    options = OPTIONS
    option_help = OPTION_HELP
    scoring: type[DavisScoring]
    annotations = "Annotations"
    year = "2017"

    @property
    def truth_layout(self) -> str:
        """Where annotations and the list of sequences lie."""
        return TRUTH_LAYOUT.format(annotations=self.annotations, year=self.year)

    def open(self, predictions: Path, truth: Path, options: Mapping[str, Any]) -> DavisScoring:
        """A scoring of these folders. Raises UserError where a folder or the sequence list is missing."""
        return self.scoring(predictions, truth, options, self.annotations, self._list_year(options))

    def _list_year(self, options: Mapping[str, Any]) -> str:
        return self.year


class Davis2017SemiSupervised(DavisBenchmark):
    """Objects given by their masks in the first frame."""

    name = "davis2017"
    summary = "DAVIS 2017 semi-supervised: J&F, recall and decay of objects given in the first frame"
    scoring = SemiSupervised


class Davis2016(DavisBenchmark):
    """One object per video."""

    name = "davis2016"
    summary = "DAVIS 2016: J&F of the one object per video"
    predictions_layout = "SEQUENCE/FRAME.png; whatever is not 0 is the object"
    scoring = OneObject
    year = "2016"


class Davis2017Unsupervised(DavisBenchmark):
    """Objects that nobody pointed at."""

    name = "davis2017-unsupervised"
    summary = "DAVIS 2017 unsupervised: J&F of up to 20 proposals, matched to the objects"
    predictions_layout = "SEQUENCE/FRAME.png, palette or grey, values 1..20 = proposals"
    scoring = Unsupervised
    annotations = "Annotations_unsupervised"

    def _list_year(self, options: Mapping[str, Any]) -> str:
        return "2019" if options["subset"] in ("test-dev", "test-challenge") else self.year


class ReferringDavis2017(DavisBenchmark):
    """Objects named by expressions of four annotators."""

    name = "ref-davis2017"
    summary = "Ref-DAVIS 2017: J&F for the expressions of four annotators, averaged"
    predictions_layout = "anno_0..anno_3/SEQUENCE/FRAME.png, palette or grey"
    official = "wjn922/ReferFormer eval_davis.py (06fc218), with davis2017-evaluation"
    scoring = FourAnnotators
    annotations = "Annotations_unsupervised"

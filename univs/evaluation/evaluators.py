"""The benchmarks behind Detectron2's ``DatasetEvaluator``: a model's results are written as the benchmark takes them,
and scored as anybody's predictions are.
"""

from __future__ import annotations

import io
import json
import logging
import shutil
import zipfile
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any

from univs import compat

compat.apply()

from detectron2.evaluation import DatasetEvaluator  # noqa: E402
from detectron2.utils import comm  # noqa: E402

from univs.errors import UserError  # noqa: E402
from univs.evaluation.benchmarks import find_benchmark  # noqa: E402
from univs.evaluation.report import problem_lines, text_of, write_report  # noqa: E402
from univs.evaluation.scoring import Outcome, Request, score  # noqa: E402
from univs.evaluation.submissions import Submission, find_layout  # noqa: E402
from univs.evaluation.submissions.video import NamedFrames, SubmissionWriter, Video  # noqa: E402
from univs.structures import FrameResult  # noqa: E402
from univs.video.files import file_errors, written_whole  # noqa: E402

logger = logging.getLogger(__name__)
GROWING_LISTS = ("annotations", "sequences")
"""Keys of the lists to which every process adds."""


@dataclass(frozen=True)
class EvaluationSettings:
    """What a model's results are scored against.

    benchmark: its name, as in ``univs score --list``. truth: its ground truth. output: folder of the predictions and
    the report. categories: numbers of the category names that the model gives. options: those of the benchmark that
    differ. allow_missing: score what there is, though videos are missing.
    """

    benchmark: str
    truth: Path
    output: Path
    categories: Mapping[str, int] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    jobs: int = 1
    allow_missing: bool = False


class BenchmarkEvaluator(DatasetEvaluator):
    """Scores videos (or pictures) of a model, in one process or several.

    Each process writes what it has seen; the main process gathers the files, scores them, and returns the figures.
    """

    def __init__(self, settings: EvaluationSettings) -> None:
        """Raises UserError where the benchmark is not known or takes no results of a model."""
        self._settings = settings
        self._benchmark = find_benchmark(settings.benchmark)
        self._submission = find_layout(settings.benchmark)
        self._folder = settings.output / f"predictions-{comm.get_rank()}"
        self._writer: SubmissionWriter | None = None

    def reset(self) -> None:
        """Forget all results."""
        if self._writer is not None:
            self._writer.abandon()
        with file_errors(self._folder):
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder.mkdir(parents=True)
        self._writer = self._submission.writer(self._folder, self._settings.categories)

    def process(self, inputs: Sequence[Mapping[str, Any]], outputs: Sequence[Any]) -> None:
        """Write the results of some videos.

        Args:
            inputs: samples of Detectron2: ``file_names`` (or ``file_name``), ``height``, ``width`` in pixels, and
                where they matter ``video_name`` (else the folder of the files), ``video_id`` or ``image_id``, and
                ``expression_id`` of the sentence that was answered; ``entry``: what else a layout takes of a video.
            outputs: for each sample its frames, ``FrameResult`` whose index counts ``file_names``, or a dictionary
                with them as ``frames``.

        Raises:
            UserError: a result that the benchmark has no place for.
        """
        if self._writer is None:
            self.reset()
        for sample, output in zip(inputs, outputs, strict=True):
            frames = output["frames"] if isinstance(output, Mapping) else output
            video = video_of(sample)
            self._writer.add(video, named_frames(video, frames))

    def evaluate(self) -> OrderedDict[str, dict[str, float]] | None:
        """Score all results; figures by benchmark and name in the main process, None in the others.

        Raises:
            UserError: sequences are missing or broken and ``allow_missing`` is not set.
        """
        if self._writer is None:
            self.reset()
        self._writer.close()
        self._writer = None
        parts = comm.gather(_packed(self._folder))
        if not comm.is_main_process():
            return None
        predictions = self._settings.output / "predictions"
        shutil.rmtree(predictions, ignore_errors=True)
        unite(parts, predictions, self._submission)
        outcome = score(self._request(predictions))
        write_report(outcome)
        self._tell(outcome)
        return figures_of(outcome)

    def _request(self, predictions: Path) -> Request:
        settings = self._settings
        report = settings.output / "scores"
        return Request(self._benchmark, predictions, settings.truth, report, settings.options, settings.jobs)

    def _tell(self, outcome: Outcome) -> None:
        for line in text_of(outcome):
            logger.info(line)
        for line in problem_lines(outcome):
            logger.warning("not scored: %s", line)
        if outcome.exit_code(self._settings.allow_missing):
            first, problem = next(iter(outcome.broken.items()))
            count = f"{len(outcome.broken)} of {len(outcome.expected)}"
            raise UserError(f"{count} sequences cannot be scored, such as {first}: {problem}")


def video_of(sample: Mapping[str, Any]) -> Video:
    """The video of a sample of Detectron2; a picture is a video of one frame.

    Raises:
        UserError: the sample does not say which files or which size.
    """
    files = sample.get("file_names") or [name for name in (sample.get("file_name"),) if name]
    if not files or "height" not in sample or "width" not in sample:
        raise UserError("A sample for evaluation needs file_names (or file_name), height and width.")
    frames = tuple(PurePath(name).stem for name in files)
    folder = PurePath(files[0]).parent.name if "file_names" in sample else frames[0]
    expression = sample.get("expression_id")
    return Video(
        str(sample.get("video_name", folder)),
        (int(sample["height"]), int(sample["width"])),
        frames,
        sample.get("video_id", sample.get("image_id")),
        None if expression is None else str(expression),
        sample.get("entry", {}),
    )


def named_frames(video: Video, frames: Iterable[FrameResult]) -> NamedFrames:
    """Frames under the names of the video's files.

    Raises:
        UserError: a frame beyond the video's end.
    """
    for result in frames:
        if not 0 <= result.index < len(video.frames):
            raise UserError(f"Frame {result.index} is not in {video.label}, which has {len(video.frames)} frames.")
        yield video.frames[result.index], result


def _packed(folder: Path) -> bytes:
    """All files of a folder in one archive: processes need not share a disk."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                archive.write(file, file.relative_to(folder).as_posix())
    shutil.rmtree(folder, ignore_errors=True)
    return buffer.getvalue()


def unite(parts: Sequence[bytes], folder: Path, submission: Submission) -> None:
    """Unpack what all processes wrote into one folder, their JSON lists joined in the order of the processes."""
    lists = []
    for part in parts:
        with zipfile.ZipFile(io.BytesIO(part)) as archive:
            for name in archive.namelist():
                if name == submission.file:
                    lists.append(archive.read(name).decode())
                else:
                    archive.extract(name, folder)
    if lists:
        with written_whole(folder / submission.file) as partial:
            partial.write_text(_joined_text(lists, submission.file), encoding="utf-8")


def _joined_text(parts: Sequence[str], name: str) -> str:
    """One list, or one table under one head, of several."""
    if name.endswith(".csv"):
        return parts[0] + "".join(part.partition("\n")[2] for part in parts[1:])
    return json.dumps(_joined([json.loads(part) for part in parts]))


def _joined(lists: Sequence[Any]) -> Any:
    if isinstance(lists[0], list):
        return [entry for part in lists for entry in part]
    key = next(key for key in GROWING_LISTS if key in lists[0])
    return {**lists[0], key: [entry for part in lists for entry in part[key]]}


def figures_of(outcome: Outcome) -> OrderedDict[str, dict[str, float]]:
    """The benchmark's table, and the corrected figures under a name of their own, as Detectron2 prints them."""
    name, summary = outcome.request.benchmark.name, outcome.summary
    figures = OrderedDict({name: dict(summary.table)})
    corrected = {key: float(value) for key, value in summary.corrected.items() if isinstance(value, int | float)}
    if corrected:
        figures[f"{name} corrected"] = corrected
    return figures

"""Score a set of predictions: every sequence on its own, in one process or several, with the same figures.

What was measured of a sequence is kept on disk, so memory does not grow with their number and an interrupted scoring
goes on at the next one. A sequence that cannot be scored is named and counted; it never just vanishes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from univs.errors import UserError
from univs.evaluation.archives import unpacked
from univs.evaluation.benchmark import Benchmark, Scoring, Summary
from univs.evaluation.fingerprints import Fingerprint, fingerprint
from univs.evaluation.measuring import Measured, measured_sequences
from univs.evaluation.part_store import PartStore, Table
from univs.runtime import keep_freed_memory

STORE = ".parts.sqlite"


@dataclass(frozen=True)
class Request:
    """What is scored and how: ``options`` holds only those that differ from the benchmark's defaults."""

    benchmark: Benchmark
    predictions: Path
    truth: Path
    output: Path
    options: Mapping[str, Any] = field(default_factory=dict)
    jobs: int = 1


@dataclass
class Outcome:
    """What came of it.

    expected: all sequences of the ground truth. broken: those that could not be scored, with the reason;
    ``unexpected`` of them are faults of the program. own_tables: the table over each scored sequence alone.
    resumed: how many had been scored by an earlier, interrupted run. summary: None where nothing was scored.
    """

    request: Request
    options: Mapping[str, Any]
    expected: list[str]
    broken: dict[str, str]
    unexpected: int
    own_tables: dict[str, Table]
    resumed: int
    summary: Summary | None

    @property
    def complete(self) -> bool:
        """Whether every expected sequence was scored."""
        return not self.broken

    def exit_code(self, allow_missing: bool = False) -> int:
        """0, or 1 where sequences are missing; ``allow_missing`` does not excuse faults of the program."""
        excused = allow_missing and self.summary is not None and not self.unexpected
        return 0 if self.complete or excused else 1


Progress = Callable[[int, int], None]
"""Called with the number of sequences that are done and of all."""


def score(request: Request, on_sequence: Progress | None = None) -> Outcome:
    """Score every sequence that the ground truth expects.

    An interruption (KeyboardInterrupt) keeps what was measured; the same request goes on there.

    Raises:
        UserError: wrong options, files that are not in the benchmark's layout, or a folder that cannot be written.
    """
    options = complete_options(request.benchmark, request.options)
    for path in (request.predictions, request.truth):
        if not path.exists():
            raise UserError(f"{path} is not there; check the path.")
        if request.output.resolve() == path.resolve():
            raise UserError(f"The output folder {path} holds the files that are scored; choose another one.")
    keep_freed_memory()  # pictures are large blocks, and fresh pages for each of them double the time
    with (
        unpacked(request.predictions, request.output) as predictions,
        unpacked(request.truth, request.output) as truth,
    ):
        scoring = request.benchmark.open(predictions, truth, options)
        expected = _checked_sequences(scoring, request.truth)
        own = {sequence: scoring.own_files(sequence) for sequence in expected}
        roots = request.predictions, request.truth
        mark = fingerprint(request.benchmark.name, options, roots, request.output, own)
        with _store(request.output / STORE, mark) as store:
            outcome = _score(request, options, scoring, expected, store, on_sequence)
            store.close(keep=not outcome.complete)
    return outcome


def _score(
    request: Request,
    options: Mapping[str, Any],
    scoring: Scoring,
    expected: list[str],
    store: PartStore,
    on_sequence: Progress | None,
) -> Outcome:
    left = [sequence for sequence in expected if sequence not in store]
    resumed = len(expected) - len(left)
    problems: dict[str, Measured] = {}
    with closing(measured_sequences(scoring, left, request.jobs)) as sequences:
        for done, measured in enumerate(sequences, resumed + 1):
            if measured.problem is None:
                store.put(measured.sequence, measured.content, measured.own_table)
            else:
                _check_file(measured, problems, len(expected))
                problems[measured.sequence] = measured
            if on_sequence is not None:
                on_sequence(done, len(expected))
    scored = [sequence for sequence in expected if sequence not in problems]
    return Outcome(
        request,
        options,
        expected,
        broken={sequence: problems[sequence].problem for sequence in expected if sequence in problems},
        unexpected=sum(measured.unexpected for measured in problems.values()),
        own_tables={sequence: store.own_table(sequence) for sequence in scored},
        resumed=resumed,
        summary=_summary(scoring, store, request.truth) if scored else None,
    )


def _summary(scoring: Scoring, store: PartStore, truth: Path) -> Summary:
    """Figures of everything that was measured.

    Raises:
        UserError: values that only the figures look at are not what they should be.
    """
    try:
        return scoring.summarise(store)
    except (TypeError, KeyError, IndexError, AttributeError, OverflowError) as error:
        raise UserError(
            f"No figures can be made of these files ({type(error).__name__}: {error}); a value in {truth} is not of "
            "the kind that the benchmark writes."
        ) from error


def _check_file(measured: Measured, problems: Mapping[str, Measured], expected: int) -> None:
    """Stop when the same is wrong with a second sequence (or with the only one): it is wrong with all of them."""
    repeated = any(other.problem == measured.problem for other in problems.values())
    if measured.of_a_file and (repeated or expected == 1):
        raise UserError(measured.problem)


@contextmanager
def _store(path: Path, mark: Fingerprint) -> Iterator[PartStore]:
    """A store that is closed whatever happens; what it holds stays."""
    store = PartStore(path, mark)
    try:
        yield store
    finally:
        store.close()


def _checked_sequences(scoring: Scoring, truth: Path) -> list[str]:
    expected = scoring.sequences()
    if not expected:
        raise UserError(f"{truth} holds no sequence to score; check the path.")
    if len(set(expected)) != len(expected):
        twice = next(name for name in expected if expected.count(name) > 1)
        raise UserError(f"{truth} names the sequence {twice!r} twice.")
    return expected


def complete_options(benchmark: Benchmark, given: Mapping[str, Any]) -> dict[str, Any]:
    """All options of a benchmark: the given ones, and the defaults of the others.

    Raises:
        UserError: an option that the benchmark does not have.
    """
    for name in given:
        if name not in benchmark.options:
            known = ", ".join(benchmark.options) or "none"
            raise UserError(f"The benchmark {benchmark.name} has no option {name!r}; its options are: {known}.")
    return {**benchmark.options, **given}


def parse_options(benchmark: Benchmark, texts: Sequence[str]) -> dict[str, Any]:
    """Options written as ``NAME=VALUE``, each as the type of its default value (a list with commas between its items).

    Raises:
        UserError: another form, an unknown name, or a value of another type.
    """
    given = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            raise UserError(f"--option {text!r} is not of the form NAME=VALUE.")
        default = complete_options(benchmark, {name: value}) and benchmark.options[name]
        try:
            given[name] = _parsed(value, default)
        except ValueError as error:
            raise UserError(f"--option {name}={value} is not a value like {default!r}.") from error
    return given


TRUTH_VALUES = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


def _parsed(text: str, default: Any) -> Any:
    if isinstance(default, bool):
        if text.lower() not in TRUTH_VALUES:
            raise ValueError(text)
        return TRUTH_VALUES[text.lower()]
    if isinstance(default, int | float):
        return type(default)(text)
    if isinstance(default, list | tuple):
        items = [item.strip() for item in text.split(",") if item.strip()]
        return type(default)(_parsed(item, default[0]) if default else _number_or_text(item) for item in items)
    return text


def _number_or_text(text: str) -> int | str:
    return int(text) if text.lstrip("-").isdecimal() else text

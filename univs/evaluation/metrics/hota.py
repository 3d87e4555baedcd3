"""Higher order tracking accuracy (Luiten et al., HOTA, IJCV 2021)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment

ALPHAS = np.arange(0.05, 0.99, 0.05)
EPSILON = np.finfo(float).eps
COUNTS = ("HOTA_TP", "HOTA_FN", "HOTA_FP")
ASSOCIATION = ("AssA", "AssRe", "AssPr")
CURVES = ("HOTA", "DetA", "AssA", "DetRe", "DetPr", "AssRe", "AssPr", "LocA", "OWTA")
Fields = dict[str, np.ndarray]


@dataclass(frozen=True)
class TrackedFrame:
    """Objects of a frame: ids of the true ones [G] and of the tracker's [D], from 0, and their similarity [G, D]."""

    truth: np.ndarray
    tracker: np.ndarray
    similarity: np.ndarray


class Hota:
    """HOTA, DetA, AssA and their parts at 19 thresholds, over sequences."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self._sequences: dict[Any, Fields] = {}

    def update(self, sequence: int | str, frames: Sequence[TrackedFrame]) -> None:
        """Add a sequence."""
        self.merge({sequence: hota_of_sequence(frames)})

    @property
    def state(self) -> dict[Any, Fields]:
        """The fields of each sequence."""
        return dict(self._sequences)

    def merge(self, state: Mapping[Any, Fields]) -> None:
        """Add the sequences of another metric."""
        self._sequences |= state

    def compute(self) -> dict[str, Any]:
        """CURVES and COUNTS [19] over all sequences, and the values at the lowest threshold."""
        return combined(self._sequences.values())


@dataclass(frozen=True)
class TrackedTables:
    """A sequence of T frames as tables: where the N true and M predicted tracks are, [T, N] and [T, M] bool, and their
    similarity [T, N, M], 0 where one of them is not."""

    truth: np.ndarray
    tracker: np.ndarray
    similarity: np.ndarray


def tables_of(frames: Sequence[TrackedFrame]) -> TrackedTables:
    """Frames as tables."""
    true_number, predicted_number = (
        max((int(ids.max(initial=-1)) for ids in side), default=-1) + 1
        for side in ([frame.truth for frame in frames], [frame.tracker for frame in frames])
    )
    truth, tracker = (np.zeros((len(frames), number), bool) for number in (true_number, predicted_number))
    similarity = np.zeros((len(frames), true_number, predicted_number))
    for place, frame in enumerate(frames):
        truth[place, frame.truth], tracker[place, frame.tracker] = True, True
        similarity[place][np.ix_(frame.truth, frame.tracker)] = frame.similarity
    return TrackedTables(truth, tracker, similarity)


def hota_of_sequence(frames: Sequence[TrackedFrame]) -> Fields:
    """CURVES and COUNTS, [19] each, of one sequence."""
    return hota_of_tables(tables_of(frames))


def hota_of_tables(tables: TrackedTables) -> Fields:
    """CURVES and COUNTS, [19] each, of one sequence."""
    true_counts, predicted_counts = tables.truth.sum(0), tables.tracker.sum(0)
    true_number, predicted_number = int(true_counts.sum()), int(predicted_counts.sum())
    fields = {name: np.zeros(len(ALPHAS)) for name in (*COUNTS, *CURVES)}
    if not true_number or not predicted_number:
        fields["HOTA_FN"] += true_number
        fields["HOTA_FP"] += predicted_number
        fields["LocA"] += 1
        return fields
    truth, tracker, similarity = _matches(tables, _alignment(tables))
    # How many thresholds a pair passes; a pair that passes k of them is a match at the k lowest.
    passed = (similarity[:, None] >= ALPHAS - EPSILON).sum(1)
    matches = np.zeros((len(ALPHAS) + 1, len(true_counts), len(predicted_counts)))
    np.add.at(matches, (passed, truth, tracker), 1)
    matches = np.cumsum(matches[::-1], 0)[::-1][1:]
    found = matches.sum((1, 2))
    fields["HOTA_TP"], fields["HOTA_FN"], fields["HOTA_FP"] = found, true_number - found, predicted_number - found
    located = np.bincount(passed, similarity, len(ALPHAS) + 1)[::-1].cumsum()[::-1][1:]
    fields["LocA"] = np.maximum(1e-10, located) / np.maximum(1e-10, found)
    either = true_counts[:, None] + predicted_counts[None]
    sizes = {"AssA": either - matches, "AssRe": true_counts[:, None], "AssPr": predicted_counts[None]}
    for name, size in sizes.items():
        fields[name] = (matches * (matches / np.maximum(1, size))).sum((1, 2)) / np.maximum(1, found)
    return _with_ratios(fields)


def _alignment(tables: TrackedTables) -> np.ndarray:
    """How well true and predicted tracks go together over the sequence, [N, M]."""
    similarity = tables.similarity
    either = similarity.sum(1, keepdims=True) + similarity.sum(2, keepdims=True) - similarity
    shared = np.divide(similarity, either, out=np.zeros_like(similarity), where=either > EPSILON).sum(0)
    either = tables.truth.sum(0)[:, None] + tables.tracker.sum(0)[None] - shared
    # Ids that never appear have no frames; nothing is ever matched with them.
    return np.divide(shared, either, out=np.zeros_like(shared), where=either > 0)


def _matches(tables: TrackedTables, alignment: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pairs of each frame's best assignment: true and predicted tracks and similarities, [P] each."""
    found: list[tuple[int, int, int]] = []
    scores = alignment * tables.similarity
    for frame in np.flatnonzero(tables.truth.any(1) & tables.tracker.any(1)).tolist():
        truth, tracker = np.flatnonzero(tables.truth[frame]), np.flatnonzero(tables.tracker[frame])
        rows, columns = assigned(scores[frame][truth[:, None], tracker])
        pairs = zip(truth[rows].tolist(), tracker[columns].tolist(), strict=True)
        found += [(frame, *pair) for pair in pairs]
    frames, truth, tracker = np.array(found, np.int64).reshape(-1, 3).T
    return truth, tracker, tables.similarity[frames, truth, tracker]


def assigned(scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of the assignment with the largest sum of scores [N, M]."""
    if len(scores) == 1:
        return np.zeros(1, np.int64), scores[0].argmax()[None]
    if scores.shape[1] == 1:
        return scores[:, 0].argmax()[None], np.zeros(1, np.int64)
    return linear_sum_assignment(-scores)


def _with_ratios(fields: Mapping[str, np.ndarray]) -> Fields:
    """Add what follows from counts and association."""
    right, missed, false = (fields[name] for name in COUNTS)
    out = dict(fields)
    out["DetRe"] = right / np.maximum(1, right + missed)
    out["DetPr"] = right / np.maximum(1, right + false)
    out["DetA"] = right / np.maximum(1, right + missed + false)
    out["HOTA"] = np.sqrt(out["DetA"] * out["AssA"])
    out["OWTA"] = np.sqrt(out["DetRe"] * out["AssA"])
    return out


def with_lowest(fields: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Add the values at the lowest threshold, which do not depend on how exactly objects are located."""
    lowest = {"HOTA(0)": float(fields["HOTA"][0]), "LocA(0)": float(fields["LocA"][0])}
    return {**fields, **lowest, "HOTALocA(0)": lowest["HOTA(0)"] * lowest["LocA(0)"]}


def combined(parts: Iterable[Mapping[str, np.ndarray]]) -> dict[str, Any]:
    """Sequences (or classes, by detections) together: sums of counts, association weighted by true positives."""
    parts = list(parts)
    nothing = np.zeros(len(ALPHAS))
    fields = {name: sum((part[name] for part in parts), nothing) for name in COUNTS}
    right = fields["HOTA_TP"]
    for name in ASSOCIATION:
        fields[name] = sum((part[name] * part["HOTA_TP"] for part in parts), nothing) / np.maximum(1, right)
    located = sum((part["LocA"] * part["HOTA_TP"] for part in parts), nothing)
    fields["LocA"] = np.maximum(1e-10, located) / np.maximum(1e-10, right)
    return with_lowest(_with_ratios(fields))


def averaged(parts: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Classes together: sums of counts, plain means of everything else."""
    parts = list(parts)
    fields: dict[str, Any] = {name: sum(part[name] for part in parts) for name in COUNTS}
    fields |= {name: np.mean([part[name] for part in parts], 0) for name in CURVES}
    lowest = ("HOTA(0)", "LocA(0)", "HOTALocA(0)")
    return fields | {name: float(np.mean([part[name] for part in parts])) for name in lowest}

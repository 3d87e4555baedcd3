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


def hota_of_sequence(frames: Sequence[TrackedFrame]) -> Fields:
    """CURVES and COUNTS, [19] each, of one sequence."""
    true_number = sum(len(frame.truth) for frame in frames)
    predicted_number = sum(len(frame.tracker) for frame in frames)
    fields = {name: np.zeros(len(ALPHAS)) for name in (*COUNTS, *CURVES)}
    if not true_number or not predicted_number:
        fields["HOTA_FN"] += true_number
        fields["HOTA_FP"] += predicted_number
        fields["LocA"] += 1
        return fields
    alignment, true_counts, predicted_counts = _alignment(frames)
    truth, tracker, similarity = _matches(frames, alignment)
    # How many thresholds a pair passes; a pair that passes k of them is a match at the k lowest.
    passed = (similarity[:, None] >= ALPHAS - EPSILON).sum(1)
    matches = np.zeros((len(ALPHAS) + 1, *alignment.shape))
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


def _alignment(frames: Sequence[TrackedFrame]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """How well true and predicted tracks go together over the sequence [N, M], and their numbers of frames [N], [M]."""
    rows = np.concatenate([frame.truth for frame in frames])
    columns = np.concatenate([frame.tracker for frame in frames])
    shared = np.zeros((rows.max() + 1, columns.max() + 1))
    for frame in frames:
        if len(frame.truth) and len(frame.tracker):
            similarity = frame.similarity
            either = similarity.sum(0)[None] + similarity.sum(1)[:, None] - similarity
            share = np.divide(similarity, either, out=np.zeros_like(similarity), where=either > EPSILON)
            shared[np.ix_(frame.truth, frame.tracker)] += share
    true_counts, predicted_counts = np.bincount(rows), np.bincount(columns)
    either = true_counts[:, None] + predicted_counts[None] - shared
    # Ids that never appear have no frames; nothing is ever matched with them.
    alignment = np.divide(shared, either, out=np.zeros_like(shared), where=either > 0)
    return alignment, true_counts, predicted_counts


def _matches(frames: Sequence[TrackedFrame], alignment: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pairs of each frame's best assignment: true and predicted ids and similarities, [P] each."""
    found: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    for frame in frames:
        if len(frame.truth) and len(frame.tracker):
            rows, columns = assigned(alignment[np.ix_(frame.truth, frame.tracker)] * frame.similarity)
            found.append((frame.truth[rows], frame.tracker[columns], frame.similarity[rows, columns]))
    if not found:
        return np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0)
    return tuple(np.concatenate(column) for column in zip(*found, strict=True))  # type: ignore[return-value]


def assigned(scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of the assignment with the largest sum of scores [N, M]."""
    if scores.shape == (1, 1):
        return np.zeros(1, np.int64), np.zeros(1, np.int64)
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

"""J and F of what expressions mean: averaged over the frames of each, then over all expressions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from univs.evaluation.metrics.object_series import mean
from univs.evaluation.metrics.records import Records


class ExpressionScores(Records[dict[str, Any]]):
    """Every expression weighs the same, however long its video."""

    def update(self, expression: str, regions: Sequence[float], boundaries: Sequence[float]) -> None:
        """Add an expression (each name counts once) with its J and F [T] in the frames of its video."""
        self._add(expression, {"J": [float(j) for j in regions], "F": [float(f) for f in boundaries]})

    def compute(self) -> dict[str, Any]:
        """J, F and J&F, and (J, F) per_expression."""
        means = {name: [mean(own["J"]), mean(own["F"])] for name, own in self._ordered()}
        regions, boundaries = (mean([pair[place] for pair in means.values()]) for place in (0, 1))
        return {"J": regions, "F": boundaries, "J&F": (regions + boundaries) / 2, "per_expression": means}

"""Figures of BURST: of each class, of the classes together, and its table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from univs.evaluation.metrics import hota, track_map

BY_CLASSES, BY_DETECTIONS = "cls_comb_cls_av", "cls_comb_det_av"


def class_figures(parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """One class over its videos: ``hota``, ``hota_masks``, ``map`` and ``count``."""
    names = ("Dets", "GT_Dets", "IDs", "GT_IDs")
    return {
        "hota": hota.combined([part["hota"] for part in parts]),
        "hota_masks": hota.combined([part["hota_masks"] for part in parts]),
        "map": track_map.joined([part["map"] for part in parts]),
        "count": {name: sum(int(part["count"][name]) for part in parts) for name in names},
    }


def details_of(
    figures: Mapping[int, Mapping[str, Any]], categories: Mapping[int, str], which: str, counted: bool
) -> dict[str, Any]:
    """Figures by class name, and over the classes: their plain mean, and all their detections together.

    which: ``hota`` or ``hota_masks``. counted: whether the official program reports counts.
    """
    if not figures:
        return {}
    found = list(figures.values())
    curves = [one[which] for one in found]
    maps = track_map.averaged([one["map"] for one in found])
    counts = {name: sum(one["count"][name] for one in found) for name in found[0]["count"]}
    rows = {categories[category]: (one[which], one["map"], one["count"]) for category, one in figures.items()}
    rows[BY_CLASSES] = (hota.averaged(curves), maps, counts)
    rows[BY_DETECTIONS] = (hota.combined(curves), maps, counts)
    return {name: _row(*row, counted) for name, row in rows.items()}


def _row(
    curves: Mapping[str, Any], maps: Mapping[str, np.ndarray], counts: Mapping[str, int], counted: bool
) -> dict[str, Any]:
    return {
        "HOTA": {name: float(np.mean(curves[name])) for name in hota.CURVES},
        "HOTA_per_alpha": np.asarray(curves["HOTA"]).tolist(),
        **{name: np.asarray(curves[name], np.float64).tolist() for name in hota.COUNTS},
        "TrackMAP": {name: float(np.mean(values)) for name, values in maps.items()},
        "AP_all_per_threshold": maps["AP_all"].tolist(),
        "Count": dict(counts) if counted else None,
    }


def without_tracks(details: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """The figures of HOTA alone, which are those that depend on the similarity of objects."""
    curves = ("HOTA_per_alpha", *hota.COUNTS)
    return {
        subset: {name: {**row["HOTA"], **{curve: row[curve] for curve in curves}} for name, row in rows.items()}
        for subset, rows in details.items()
    }


def table_of(
    details: Mapping[str, Mapping[str, Any]], groups: Mapping[str, set[str] | None], open_world: bool
) -> dict[str, dict[str, float]]:
    """The table in percent: each measure over all, common and uncommon classes."""
    if open_world:
        return {name: {subset: 100 * _only(details[subset], name) for subset in details} for name in OPEN_WORLD_TABLE}
    return {
        name: {group: 100 * _mean(details["all"], name, members) for group, members in groups.items()}
        for name in ("HOTA", "DetA", "AssA", "AP")
    }


OPEN_WORLD_TABLE = ("OWTA", "DetRe", "AssA")


def _only(details: Mapping[str, Any], name: str) -> float:
    return details["object"]["HOTA"][name] if details else float("nan")


def _mean(details: Mapping[str, Any], name: str, members: set[str] | None) -> float:
    chosen = [
        row["TrackMAP"]["AP_all"] if name == "AP" else row["HOTA"][name]
        for key, row in details.items()
        if key not in (BY_CLASSES, BY_DETECTIONS) and (members is None or key in members)
    ]
    return float(np.mean(chosen)) if chosen else float("nan")

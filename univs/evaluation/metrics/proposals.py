"""Proposals without names: each ground-truth object is given the proposal that suits the whole video best."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.optimize import linear_sum_assignment


class Matched(NamedTuple):
    """J and F [N, T] of the matched pairs, in the order of the proposals as the official program lists them.

    ``objects`` [N] is the place of each pair's ground-truth object, ``proposals`` [N] that of its proposal.
    """

    regions: np.ndarray
    boundaries: np.ndarray
    objects: np.ndarray
    proposals: np.ndarray


def match_proposals(regions: np.ndarray, boundaries: np.ndarray) -> Matched:
    """Assign proposals to objects so that the mean over frames of (J + F) / 2 is largest in sum (Hungarian method).

    Proposals that are left over cost nothing; where there are fewer than objects, empty ones must be among them.

    Args:
        regions: J [P, N, T] of P proposals with N objects in T frames.
        boundaries: F [P, N, T].

    Raises:
        ValueError: fewer proposals than objects.
    """
    if regions.shape[0] < regions.shape[1]:
        raise ValueError(f"{regions.shape[0]} proposals for {regions.shape[1]} objects; add empty ones.")
    quality = (np.mean(regions, axis=2) + np.mean(boundaries, axis=2)) / 2
    proposals, objects = linear_sum_assignment(-quality)
    return Matched(regions[proposals, objects], boundaries[proposals, objects], objects, proposals)

"""From raw ids to the objects of a sample: which are followed, in which order, under which ids 1..n."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import torch

from .augmentation import IGNORE
from .clip_makers import RawClip


def choose_objects(rng: np.random.Generator, clip: RawClip, max_objects: int, least_pixels: int) -> list[int]:
    """Raw ids of up to ``max_objects`` objects that have ``least_pixels`` pixels in the first frame, wanted ones first.

    The number is drawn: often several, but one object among others that nobody asked for is common too.
    """
    counts = np.bincount(clip.ids[0].reshape(-1), minlength=256)
    ground = 0.9 * clip.ids[0].size
    visible = [key for key in clip.categories if least_pixels <= counts[key] < ground]
    first = [key for key in dict.fromkeys(clip.wanted) if key in visible]
    others = [key for key in visible if key not in first]
    order = first + [others[i] for i in rng.permutation(len(others))]
    if max_objects < 2 or rng.random() < 0.25:
        return order[:1]
    return order[: int(rng.integers(2, max_objects + 1))]


def clip_sample(clip: RawClip, chosen: list[int], images: list[np.ndarray]) -> dict[str, Any]:
    """Sample dict of a clip (see ``TrainingClips``) whose ``chosen`` raw ids become 1..n, in this order.

    ``images``: T arrays [H, W, 3] uint8 RGB, the clip's frames after changes of colour.
    """
    table = np.zeros(256, np.uint8)
    table[IGNORE] = IGNORE
    table[chosen] = np.arange(1, len(chosen) + 1)
    id_map = np.stack([cv2.LUT(ids, table) for ids in clip.ids])
    return {
        "image": [torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1))) for image in images],
        "id_map": torch.from_numpy(id_map),
        "categories": [list(clip.categories[key]) for key in chosen],
        "expressions": [list(clip.expressions.get(key, ())) for key in chosen],
        # Things that were not chosen, or that a video never labels, are in the picture without an id.
        "partial_annotation": True,
        "frame_indices": list(clip.frame_indices),
        "height": id_map.shape[1],
        "width": id_map.shape[2],
        "dataset_name": clip.source,
        "name": clip.name,
    }

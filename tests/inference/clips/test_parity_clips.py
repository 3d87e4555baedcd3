"""Stored cases of whole videos whose objects are given, through the stream of clips."""

from __future__ import annotations

import numpy as np
import pytest

from tests import parity
from tests.inference.clips.recording import run_case
from tests.inference.clips.video_cases import Comparison

# arrays of the learnable queries, which the stream leaves out where nothing reads them
UNREAD = {"pred_masks_learn0_3", "pred_logits_learn"}


def _is_video(case):
    return "memory" in case.json.get("sign_bits", {})


def _of_kind(*kinds):
    def which(case):
        return _is_video(case) and case.json["kind"] in kinds

    which.__name__ = " or ".join(kinds)
    return which


def _check(case, stream, final: dict[str, np.ndarray]) -> None:
    """Compare everything that the case stores with what the stream did and gave out."""
    left_out = 0 if stream.settings.learnable else stream.model.mask_decoder.settings.num_queries
    comparison = Comparison(case, left_out)
    values = {**stream.values, **final, "out.num_clips": np.array(stream.clips)}
    names = {name for name in comparison.names() if not name.endswith("_shape") or name.endswith("pool_shape")}
    names = {name for name in names if not left_out or name.split(".")[-1] not in UNREAD}
    assert names == values.keys(), names ^ values.keys()
    for name in sorted(names):
        comparison.check(name, values[name])


def _palette(results) -> np.ndarray:
    """Id maps of all frames: the first object whose mask is on; no id is 0."""
    first = 1 if min(results[0].ids) == 0 else 0
    maps = []
    for result in results:
        masks, ids = result.masks.cpu().numpy(), np.array(result.ids) + first
        maps.append(np.where(masks.any(0), ids[masks.argmax(0)], 0))
    return np.stack(maps)


@pytest.mark.parametrize("case", parity.cases(_of_kind("vos", "refvos")))
def test_parity_given_objects(case):
    stream, results = run_case(case)
    if "out.palette_ids" in case.npz:
        frames = np.array([result.index for result in results])
        final = {"out.palette_ids": _palette(results), "out.frames": frames}
    else:
        masks = np.stack([result.masks.cpu().numpy() for result in results], 1)
        final = {"out.exp_masks": masks * np.uint8(255), "out.exp_ids": np.array(results[0].ids)}
    _check(case, stream, final)

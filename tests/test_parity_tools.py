"""The comparison itself: it must accept what is equal and reject what is not."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tests import parity, rule
from univs.modeling.published_names import from_published, to_published


@pytest.fixture
def case(tmp_path):
    values = rule.tensor("t", "x", (4, 5))
    entry = {"name": "x", "shape": [4, 5], "dtype": "float32", "atol": 1e-3, "rtol": 0.0}
    entry["stored"] = {"rule": "flat", "count": 7}
    content = {"case": "one", "tag": "t", "config": {}, "inputs": {}, "outputs": [entry], "losses": {"loss": 2.0}}
    (tmp_path / "one.json").write_text(json.dumps(content))
    np.savez(tmp_path / "one.npz", **{"out/x": values.reshape(-1)[parity.flat_positions(20, 7)]})
    return parity.Case(tmp_path / "one.json")


def test_check_accepts_values_within_the_tolerance(case):
    case.check("x", rule.tensor("t", "x", (4, 5)) + 5e-4)
    case.check_losses({"loss": 2.0001})


@pytest.mark.parametrize("change", [2e-3, np.nan, np.inf])
def test_check_rejects_other_values(case, change):
    values = rule.tensor("t", "x", (4, 5))
    values[0, 0] += change
    with pytest.raises(AssertionError, match="outside"):
        case.check("x", values)


def test_check_rejects_other_shapes_and_losses(case):
    with pytest.raises(AssertionError, match="shape"):
        case.check("x", rule.tensor("t", "x", (5, 4)))
    with pytest.raises(AssertionError):
        case.check_losses({"loss": 2.1})
    with pytest.raises(AssertionError):
        case.check_losses({"loss": 2.0, "other": 0.0})


def test_draws_follow_the_fixed_values_first(case):
    case.json["random_draws"] = {"fixed_values": {"prompt_type": [0.9, 0.1, 0.4], "frames": "[1,2,..,T-1,0]"}}
    draws = parity.RuleDraws(case)
    np.testing.assert_allclose(draws.uniform("prompt_type", (2,)), [0.9, 0.1])
    assert draws.permutation("frames", 4).tolist() == [1, 2, 3, 0]
    assert draws.permutation("key", 5).tolist() == rule.perm("key", 5).tolist()


def test_sign_bits_set_the_listed_entries(case):
    case.json["sign_bits"] = {"attention": ["0 1 2 0 1 1 1", "0 1 0 0 0 0 0"]}
    bits = parity.SignBits(case, skip=1)
    logits = parity.torch.full((1, 3, 1, 2, 2), 0.25)
    assert (bits.set_signs(logits) == 0.25).all()  # prediction 0 has no entries
    changed = bits.set_signs(logits)
    assert changed[0, 1, 0, 1, 1] == 1.0
    assert (changed != 0.25).sum() == 1  # query 0 is left out


def test_published_names_are_one_to_one():
    for name in ("backbone.res2.0.conv1.weight", "pixel_decoder.mask_features.weight"):
        assert from_published(to_published(name)) == name
    with pytest.raises(KeyError, match="lang_encoder"):
        from_published("lang_encoder.ln_final.weight")

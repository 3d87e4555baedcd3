from __future__ import annotations

import numpy as np
import pytest

from univs.inference.soft_mask import ABSENT, decode, encode, fuse


def disc(radius: float = 9, size: tuple[int, int] = (40, 60), centre: tuple[float, float] = (20, 30)) -> np.ndarray:
    y, x = np.mgrid[: size[0], : size[1]]
    return ((radius - np.hypot(y - centre[0], x - centre[1])) * 1.3).astype(np.float32)


def test_a_stored_mask_keeps_every_sign_and_is_fine_near_the_outline() -> None:
    logits = disc()
    back = decode(encode(logits), logits.shape).full()
    assert ((back > 0) == (logits > 0)).all()
    near = np.abs(logits) < 2
    assert np.abs(back - logits)[near].max() < 0.04
    assert np.abs(back - logits)[np.abs(logits) < 0.3].max() < 0.01


def test_more_confident_stays_more_confident() -> None:
    logits = disc()
    logits[20, 30] = 40
    back = decode(encode(logits), logits.shape).full()
    assert back[20, 30] > back[20, 31] > back[20, 35]


def test_a_stored_mask_is_small_and_holds_only_its_part() -> None:
    logits = disc(size=(120, 214), centre=(60, 100)) + np.random.default_rng(0).normal(0, 0.3, (120, 214))
    code = encode(logits.astype(np.float32))
    assert len(code) < 600
    mask = decode(code, (120, 214))
    assert mask.values.shape[0] < 30
    assert mask.full()[0, 0] == np.float32(ABSENT)


def test_storing_twice_changes_nothing() -> None:
    once = decode(encode(disc()), (40, 60)).full()
    assert encode(once) == encode(disc())


def test_nothing_is_no_bytes() -> None:
    assert encode(np.full((40, 60), -5, np.float32)) == b""
    mask = decode(b"", (40, 60))
    assert mask.full().shape == (40, 60)
    assert (mask.full() == np.float32(ABSENT)).all()


def test_an_object_at_the_border_and_everywhere() -> None:
    for logits in (disc(centre=(0, 0)), disc(centre=(39, 59)), np.full((40, 60), 5, np.float32)):
        assert ((decode(encode(logits), (40, 60)).full() > 0) == (logits > 0)).all()


@pytest.mark.parametrize("bad", [b"x", b"12345678", b"\0" * 8 + b"no zlib", encode(disc())[:-20]])
def test_foreign_bytes_are_refused(bad: bytes) -> None:
    with pytest.raises(ValueError, match="not a stored mask"):
        decode(bad, (40, 60))


def test_a_mask_of_another_grid_is_refused() -> None:
    with pytest.raises(ValueError, match="size is wrong"):
        decode(encode(disc()), (20, 20))


def test_logits_that_are_not_finite_are_caught() -> None:
    logits = disc()
    logits[3, 3] = np.nan
    with pytest.raises(FloatingPointError):
        encode(logits)


def test_fusing_mixes_probabilities() -> None:
    left, right = (decode(encode(np.full((2, 2), value, np.float32)), (2, 2)) for value in (2.0, -1.0))
    mean = fuse(left, right, 0.25)
    expected = 0.75 / (1 + np.exp(-2.0)) + 0.25 / (1 + np.exp(1.0))
    assert 1 / (1 + np.exp(-mean)) == pytest.approx(expected, abs=0.01)
    assert ((fuse(left, right, 0.0) > 0) == (left.full() > 0)).all()
    assert ((fuse(left, right, 1.0) > 0) == (right.full() > 0)).all()

"""Which pieces of a mask are dropped: small ones that are far from the rest, or all small ones."""

from __future__ import annotations

import torch

from univs.inference.mask_pieces import far_pieces, near_clicks, without_far_pieces, without_small_pieces

Piece = tuple[int, int, int]  # top, left, side


def shown(*pieces: Piece) -> torch.Tensor:
    logits = torch.full((80, 144), -3.0)
    for top, left, side in pieces:
        logits[top : top + side, left : left + side] = 2.0
    return logits


LARGE, SMALL = (30, 20, 20), (30, 70, 4)


def test_a_small_piece_far_away_is_dropped() -> None:
    logits = shown(LARGE, SMALL)
    assert torch.equal(far_pieces(logits), shown(SMALL) > 0)
    assert torch.equal(without_far_pieces(logits, -5.0) > 0, shown(LARGE) > 0)
    assert without_far_pieces(logits, -5.0)[31, 71] == -5.0


def test_what_is_near_or_large_or_alone_stays() -> None:
    for pieces in ((LARGE, (30, 45, 4)), (LARGE, (30, 70, 10)), (LARGE,), (SMALL,), ()):
        logits = shown(*pieces)
        assert far_pieces(logits) is None and without_far_pieces(logits, -5.0) is logits


def test_distance_counts_to_every_large_piece_but_not_to_small_ones() -> None:
    far = (30, 100, 4)
    assert far_pieces(shown(LARGE, (28, 80, 12), far)) is None
    assert torch.equal(far_pieces(shown(LARGE, (30, 90, 3), far)), shown((30, 90, 3), far) > 0)


def test_all_small_pieces_are_dropped_on_demand() -> None:
    logits = shown(LARGE, (30, 45, 4), (60, 20, 15))
    kept = without_small_pieces(logits, 0.3, -5.0)
    assert torch.equal(kept > 0, shown(LARGE, (60, 20, 15)) > 0) and kept[31, 46] == -5.0
    assert without_small_pieces(shown(LARGE), 0.3, -5.0).equal(shown(LARGE))


def test_what_is_far_from_the_clicked_pieces_is_dropped_whatever_its_size() -> None:
    other, beside = (30, 80, 24), (30, 45, 4)
    logits = shown(LARGE, other, beside)
    one = torch.tensor([[30.5 / 144, 40.5 / 80]])
    kept = near_clicks(logits, one, -5.0)
    assert torch.equal(kept > 0, shown(LARGE, beside) > 0) and kept[40, 90] == -5.0
    both = torch.cat([one, torch.tensor([[103.9 / 144, 54.5 / 80]])])
    assert torch.equal(near_clicks(logits, both, -5.0), logits)
    assert near_clicks(logits, torch.tensor([[1.0, 1.0]]), -5.0) is logits

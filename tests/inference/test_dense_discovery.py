"""Finding by names with known heats and answers: what another name fits better is left to it."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from univs.inference.dense_discovery import DiscoverySettings, discover
from univs.modeling.prompt_answer import FramePrompts

SETTINGS = DiscoverySettings()


class KnowingAnswer:
    """Heats by name over cells [6, 10], and one answer [24, 40] to everything."""

    def __init__(self, heats: Tensor, mask: Tensor) -> None:
        self.heats, self.mask = heats, mask

    def text_heat(self, maps: None, texts: Tensor) -> Tensor:
        return self.heats.logit()[None]

    def answer(self, maps: None, prompts: FramePrompts) -> tuple[Tensor, Tensor]:
        return self.mask[None].repeat(3, 1, 1), torch.ones(3)


def halves() -> Tensor:
    """The first name is at home on the left, the second on the right."""
    heats = torch.full((2, 6, 10), 0.1)
    heats[0, :, :5] = heats[1, :, 5:] = 0.9
    return heats


def found(answer: KnowingAnswer, settings: DiscoverySettings = SETTINGS) -> dict[str, Tensor]:
    items = discover(answer, None, ["person", "dog"], torch.zeros(2, 4), settings)
    return {item.category: item.mask_logits > 0 for item in items}


def test_an_answer_over_two_things_is_shared_by_their_names() -> None:
    answer = KnowingAnswer(halves(), torch.full((24, 40), 2.0))
    masks = found(answer)
    assert set(masks) == {"person", "dog"}
    assert masks["person"][:, :18].all() and not masks["person"][:, 22:].any()
    assert masks["dog"][:, 22:].all() and not masks["dog"][:, :18].any()
    assert len(found(answer, replace(SETTINGS, doubt=0.0, accept=0.3))) == 1


def test_small_pieces_of_an_answer_are_left_out() -> None:
    mask = torch.full((24, 40), -3.0)
    mask[2:14, 2:14] = 2.0
    mask[18:22, 2:6] = 2.0
    masks = found(KnowingAnswer(halves(), mask))
    assert set(masks) == {"person"}
    assert masks["person"][2:14, 2:14].all() and int(masks["person"].sum()) == 144


def test_nothing_warm_finds_nothing() -> None:
    assert found(KnowingAnswer(torch.full((2, 6, 10), 0.3), torch.full((24, 40), 2.0))) == {}

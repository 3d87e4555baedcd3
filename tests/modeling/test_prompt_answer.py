"""Answers to prompts: the prior before any training, and the maps that prompts become."""

import torch

from univs.modeling.dense_memory import DenseMemory, DenseMemorySettings
from univs.modeling.prompt_answer import FramePrompts, PromptAnswer, box_cover, nearness

SETTINGS = DenseMemorySettings(
    fine_channels=4, middle_channels=6, coarse_channels=8, key_dim=8, code_dim=4, decoder_dim=8, detail_dim=4
)
NOTHING = (torch.zeros(0, 2), torch.zeros(0, dtype=torch.long))


def _maps(answer: PromptAnswer):
    sizes = {"res2": (4, 16, 32), "res3": (6, 8, 16), "res4": (8, 4, 8), "res5": (10, 2, 4)}
    features = {name: torch.randn(1, *size) for name, size in sizes.items()}
    descriptors = DenseMemory(SETTINGS).match.descriptors(features["res3"], features["res4"])
    return answer.maps(features, descriptors)


def _say(answer: PromptAnswer, maps, prompts: FramePrompts) -> torch.Tensor:
    return answer(answer.prompt_maps(maps, prompts)[None], maps.context)[0]


def test_untrained_a_box_is_filled():
    answer = PromptAnswer(SETTINGS, deep_channels=10, text_dim=5)
    maps = _maps(answer)
    logits = _say(answer, maps, FramePrompts(*NOTHING, box=torch.tensor([0.25, 0.25, 0.75, 1.0])))
    assert logits.shape == (3, 16, 32)
    assert (logits[0, 6:14, 10:22] > 0).all()
    assert (logits[0, :2] < 0).all() and (logits[0, :, :6] < 0).all()


def test_untrained_a_base_mask_stays():
    answer = PromptAnswer(SETTINGS, deep_channels=10, text_dim=5)
    base = torch.zeros(16, 32)
    base[4:12, 8:20] = 1
    logits = _say(answer, _maps(answer), FramePrompts(*NOTHING, base=base))
    assert torch.equal(logits[0] > 0, base > 0)


def test_clicks_of_both_kinds_reach_the_maps():
    answer = PromptAnswer(SETTINGS, deep_channels=10, text_dim=5)
    maps = _maps(answer)
    points = torch.tensor([[0.1, 0.2], [0.9, 0.8]])
    found = answer.prompt_maps(maps, FramePrompts(points, torch.tensor([1, 0])))
    assert found[2].flatten().argmax() == 1 * 16 + 1  # near the positive click
    assert found[4].flatten().argmax() == 6 * 16 + 14  # near the negative one
    turned = answer.prompt_maps(maps, FramePrompts(points.flip(0), torch.tensor([0, 1])))
    torch.testing.assert_close(found, turned)


def test_box_cover_and_nearness():
    cover = box_cover(torch.tensor([0.25, 0.0, 0.625, 0.5]), 4, 8)
    assert cover.sum() == 2 * 3 and (cover[:2, 2:5] == 1).all()
    assert nearness(torch.tensor([[0.5, 0.5]]), 5, 5)[:, 2, 2].tolist() == [1.0, 1.0]

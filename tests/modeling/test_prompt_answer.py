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


def _learned() -> PromptAnswer:
    """Answers that are not what the prior alone gives."""
    torch.manual_seed(3)
    answer = PromptAnswer(SETTINGS, deep_channels=10, text_dim=5)
    torch.nn.init.normal_(answer.decoder.out.weight, std=0.3)
    return answer


def test_an_answer_is_looked_at_again():
    answer = _learned()
    maps, prompts = _maps(answer), FramePrompts(torch.tensor([[0.4, 0.5]]), torch.ones(1, dtype=torch.long))
    first = _say(answer, maps, prompts)
    logits, overlaps = answer.answer(maps, prompts)
    again = _say(answer, maps, FramePrompts(prompts.points, prompts.labels, base=first[0].sigmoid()))
    assert torch.equal(logits[0], again[0]) and not torch.equal(logits[0], first[0])
    assert torch.equal(logits[1:], first[1:]) and prompts.base is None
    assert overlaps.shape == (3,) and (overlaps > 0).all() and (overlaps < 1).all()


def test_the_order_of_clicks_does_not_matter():
    answer = _learned()
    maps, points, labels = _maps(answer), torch.rand(3, 2), torch.tensor([1, 0, 1])
    one, other = (answer.answer(maps, FramePrompts(points[i], labels[i]))[0] for i in ([0, 1, 2], [2, 1, 0]))
    torch.testing.assert_close(one, other)


def test_overlaps_are_predicted_of_each_mask_and_teach_nothing_else():
    answer = _learned()
    maps, prompts = _maps(answer), FramePrompts(torch.tensor([[0.4, 0.5]]), torch.ones(1, dtype=torch.long))
    drawn = answer.prompt_maps(maps, prompts)[None]
    logits = answer(drawn, maps.context)
    predicted = answer.predicted_overlaps(logits, drawn, maps.context)
    assert predicted.shape == (1, 3) and len(set(predicted[0].tolist())) == 3
    alone = answer.predicted_overlaps(logits[:, 1:2], drawn, maps.context)
    torch.testing.assert_close(alone[0], predicted[0, 1:2])
    predicted.sum().backward()
    taught = {name.split(".")[0] for name, value in answer.named_parameters() if value.grad is not None}
    assert taught == {"overlap"}

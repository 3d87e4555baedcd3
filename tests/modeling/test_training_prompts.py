"""Prompts of training batches: which objects, which kinds, in which order."""

from __future__ import annotations

import torch

from tests.modeling.small_decoder import DIM, features, random, small_decoder
from univs.layers.draws import Draws, RepeatableDraws
from univs.modeling.prompt_encoder import VisualPromptSettings
from univs.modeling.training_prompts import (
    TrainingPrompts,
    TrainingPromptSettings,
    random_pixels,
    with_memory,
)
from univs.structures import PromptTokens, Targets

FRAMES, OBJECTS = 2, 4


def _targets(visible: bool = True, objects: int = OBJECTS) -> Targets:
    """Squares side by side; object 3 is absent in the second frame."""
    masks = torch.zeros(objects, FRAMES, 64, 96)
    for number in range(objects):
        masks[number, :, 16:48, 24 * number : 24 * number + 24] = float(visible)
    masks[3:, 1] = 0
    seen = masks.flatten(2).any(2)
    boxes = torch.tensor([[0.25 * number, 0.25, 0.25 * number + 0.25, 0.75] for number in range(objects)])
    return Targets(
        labels=torch.full((objects,), -1),
        ids=torch.where(seen, torch.arange(objects)[:, None], -1),
        masks=masks,
        boxes=boxes[:, None] * seen[:, :, None],
        frame_indices=torch.arange(FRAMES),
        task="sot",
        dataset_name="",
        prompt_kind="visual",
        num_max_instances=OBJECTS,
    )


class KindDraws(RepeatableDraws):
    """Repeatable draws with a given key frame, order of objects and kinds of prompts."""

    def __init__(self, key: int, kinds: list[float]) -> None:
        super().__init__()
        self.key, self.kinds = key, kinds

    def uniform(self, purpose, shape):
        return torch.tensor(self.kinds[: shape[0]]) if purpose == "prompt_type" else super().uniform(purpose, shape)

    def permutation(self, purpose, n):
        fixed = {"key_frame": torch.arange(n).roll(-self.key), "prompt_objects": torch.arange(n)}
        return fixed[purpose] if purpose in fixed else super().permutation(purpose, n)


def _make(draws: Draws, published: bool = False) -> TrainingPrompts:
    decoder = small_decoder(visual_prompts=VisualPromptSettings(tokens=6))
    return TrainingPrompts(decoder, TrainingPromptSettings(published_feature_order=published), draws)


def test_each_object_has_its_own_features_unless_published_order_is_asked_for():
    point, box, mask = 0.1, 0.4, 0.9
    draws = KindDraws(0, [point, box, mask, mask])
    maps = features()
    (right,) = _make(draws)(maps, [_targets()])
    (mixed,) = _make(draws, published=True)(maps, [_targets()])
    assert torch.equal(right.positions, mixed.positions)
    # masks, points, boxes: what the objects 2, 3, 0, 1 should have is given to 0, 1, 2, 3
    assert torch.equal(mixed.features, right.features[[2, 3, 0, 1]])
    assert not torch.equal(mixed.features, right.features)
    # a token of an object is a cell of its own quarter of the frame
    source = maps.levels[-1][0] + small_decoder().level_embedding.weight[-1][:, None, None]
    for number in (2, 3):
        quarter = source[:, 2:6, 3 * number : 3 * number + 3].flatten(1).t()
        torch.testing.assert_close(
            torch.cdist(right.features[number, :, 0], quarter).amin(1).max().item(), 0.0, atol=1e-2, rtol=0
        )


def test_objects_visible_in_the_key_frame_are_prompted():
    target = _targets()
    (tokens,) = _make(KindDraws(1, [0.9] * 4))(features(), [target])
    assert target.prompt_obj_ids.tolist() == [0, 1, 2] and tokens.valid.all()
    # an earlier clip's choice stays; an object that is absent now has no tokens
    target.prompt_obj_ids = torch.tensor([3, 0])
    (tokens,) = _make(KindDraws(1, [0.9] * 4))(features(), [target])
    assert target.prompt_obj_ids.tolist() == [3, 0] and tokens.valid.tolist() == [False, True]
    assert not tokens.features[0].any() and not tokens.positions[0].any()


def test_a_video_without_visible_objects_leaves_the_batch_without_prompts():
    targets = [_targets(), _targets(visible=False)]
    assert _make(KindDraws(0, [0.9] * 4))(features(frames=4), targets) is None
    assert targets[1].prompt_obj_ids.tolist() == [-1] * 4


def test_prompts_are_repeated_up_to_the_largest_video_of_the_batch():
    targets = [_targets(), _targets(objects=3)]
    few, many = targets[1], targets[0]
    first, second = _make(KindDraws(0, [0.9] * 4))(features(frames=4), targets)
    assert many.prompt_obj_ids.tolist() == [0, 1, 2, 3] and few.prompt_obj_ids.tolist() == [0, 1, 2, 0]
    assert first.features.shape == second.features.shape
    assert torch.equal(second.features[3], second.features[0])


def test_random_pixels_lie_on_the_mask():
    masks = torch.zeros(3, 8, 10)
    masks[0, 2:5, 3:7] = 1
    masks[1, 7, 9] = 1
    for seed in range(5):
        points = random_pixels(masks, Draws(seed)) * torch.tensor([10, 8])
        column, row = points[0].floor().int().tolist()
        assert masks[0, row, column] and points[1].tolist() == [9.5, 7.5]
        assert (points[2] < 0).all()
    assert random_pixels(masks[:0], Draws()).shape == (0, 2)


def test_no_gradient_reaches_the_frame_through_visual_prompts():
    maps = features()
    maps.levels[-1].requires_grad_()
    (tokens,) = _make(KindDraws(0, [0.9] * 4))(maps, [_targets()])
    assert not tokens.features.requires_grad


def test_memory_is_read_before_the_own_tokens():
    own = PromptTokens(random(2, 3, 2, DIM), random(2, 3, 2, DIM, seed=1), torch.ones(2).bool(), "visual")
    memory = PromptTokens(random(2, 5, 1, DIM, seed=2), random(2, 5, 1, DIM, seed=3), own.valid, "visual")
    both = with_memory(own, memory)
    assert both.features is own.features and both.memory_features.shape == (2, 8, 2, DIM)
    assert torch.equal(both.memory_features[:, :5, 1], memory.features[:, :, 0])
    assert torch.equal(both.memory_positions[:, 5:], own.positions)
    own.positions = None
    assert with_memory(own, memory).memory_positions is None

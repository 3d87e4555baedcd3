"""Properties of the losses."""

from __future__ import annotations

import pytest
import torch

from univs.layers.draws import Draws
from univs.modeling.losses.classification import class_loss, focal_loss
from univs.modeling.losses.criterion import Criterion, CriterionSettings
from univs.modeling.losses.identity import Embeddings, IdentityLoss, InterClipIdentityLoss, first_rows
from univs.modeling.losses.mask import IGNORED, MaskLoss, PointSettings, first_mask_of_pixels
from univs.modeling.losses.matcher import HungarianMatcher, MatcherSettings
from univs.modeling.losses.points import draw_uncertain_points
from univs.modeling.losses.weights import LossWeights, term_of
from univs.structures import ClipPrediction, Targets

POINTS = PointSettings(num_points=32)
CLASSES = 4


def targets(objects: int, frames: int = 2, task: str = "detection", prompts: int = 0) -> Targets:
    masks = torch.zeros(objects, frames, 16, 16)
    for item in range(objects):
        masks[item, :, 4 * item : 4 * item + 4] = 1
    return Targets(
        labels=torch.arange(objects) % CLASSES + 1,
        ids=torch.arange(objects)[:, None].expand(-1, frames).clone(),
        masks=masks,
        boxes=torch.zeros(objects, frames, 4),
        frame_indices=torch.arange(frames),
        task=task,
        dataset_name="animals",
        prompt_kind="visual",
        num_max_instances=prompts,
        prompt_obj_ids=torch.arange(prompts),
    )


def prediction(videos: int = 1, learnable: int = 6, prompts: int = 0, frames: int = 2) -> ClipPrediction:
    torch.manual_seed(0)
    rows = learnable + prompts
    return ClipPrediction(
        class_logits=torch.randn(videos, rows, CLASSES, requires_grad=True),
        mask_logits=torch.randn(videos, rows, frames, 8, 8, requires_grad=True),
        embeddings=torch.randn(videos, rows, frames, 16, requires_grad=True),
        num_learnable=learnable,
    )


def criterion() -> Criterion:
    return Criterion(CriterionSettings(MatcherSettings(num_points=32), POINTS), Draws())


@pytest.mark.parametrize("prompts", [0, 2])
@pytest.mark.parametrize("objects", [0, 2])
def test_losses_are_finite_whatever_there_is_to_learn(objects, prompts):
    made, target = prediction(prompts=prompts), targets(objects, prompts=prompts)
    if not objects:
        target.prompt_obj_ids = torch.full((prompts,), -1)
    losses, kept = criterion()(made, [target], [range(CLASSES)])
    terms = {"loss_ce", "loss_mask", "loss_dice", "loss_reid", "loss_reid_aux"}
    assert set(losses) == terms | ({"loss_reid_l2p", "loss_reid_l2p_aux"} if prompts else set())
    total = sum(losses.values())
    total.backward()
    for values in (made.class_logits, made.mask_logits, made.embeddings):
        assert torch.isfinite(values.grad).all()
    assert (float(total.detach()) > 0) == (objects > 0)
    assert len(kept) == 1


def test_auxiliary_layers_have_numbered_losses_and_can_be_left_out():
    made = prediction()
    made.auxiliary = [prediction(), prediction()]
    losses, kept = criterion()(made, [targets(2)], [None])
    assert {"loss_mask", "loss_mask_0", "loss_mask_1"} <= set(losses)
    assert len(kept) == 3
    last_only = Criterion(CriterionSettings(MatcherSettings(num_points=32), POINTS, deep_supervision=False), Draws())
    assert "loss_mask_0" not in last_only(made, [targets(2)], [None])[0]


def test_mixed_precision_does_not_touch_the_losses():
    made = prediction(prompts=2)
    plain, _ = criterion()(made, [targets(2, prompts=2)], [range(CLASSES)])
    with torch.autocast("cpu", torch.bfloat16):
        mixed, _ = criterion()(made, [targets(2, prompts=2)], [range(CLASSES)])
    assert all(torch.equal(plain[name], mixed[name]) for name in plain)


def test_objects_are_counted_over_all_processes(monkeypatch):
    plain, _ = criterion()(prediction(), [targets(2)], [None])
    monkeypatch.setattr("univs.modeling.losses.criterion.comm.get_world_size", lambda: 4)
    monkeypatch.setattr(torch.distributed, "all_reduce", lambda count: count.mul_(6))
    shared, _ = criterion()(prediction(), [targets(2)], [None])
    # 12 objects in 4 processes are 3 per process, where there were 2 alone
    assert float(shared["loss_mask"].detach()) == pytest.approx(float(plain["loss_mask"].detach()) * 2 / 3)


def test_classes_do_not_count_without_columns():
    losses, _ = criterion()(prediction(), [targets(2)], [None])
    assert float(losses["loss_ce"].detach()) == 0


def test_every_object_is_matched_to_the_query_that_draws_it():
    target = targets(3)
    masks = torch.full((1, 5, 2, 16, 16), -8.0)
    order = torch.tensor([4, 0, 2])
    masks[0, order] = 16 * target.masks - 8
    matcher = HungarianMatcher(MatcherSettings(num_points=64), Draws())
    match = matcher([None], masks, [target])[0]
    assert dict(zip(match.objects.tolist(), match.queries.tolist(), strict=True)) == {0: 4, 1: 0, 2: 2}


def test_classes_decide_between_equal_masks():
    target = targets(1)
    target.labels[0] = 3
    logits = torch.zeros(4, CLASSES)
    logits[2, 2] = 5
    matcher = HungarianMatcher(MatcherSettings(num_points=16), Draws())
    match = matcher([logits], torch.zeros(1, 4, 2, 8, 8), [target])[0]
    assert match.queries.tolist() == [2]


def test_matching_refuses_what_is_not_finite():
    masks = torch.full((1, 3, 2, 8, 8), float("nan"))
    with pytest.raises(FloatingPointError, match="diverged"):
        HungarianMatcher(MatcherSettings(num_points=16), Draws())([None], masks, [targets(1)])


def test_focal_loss_of_one_logit():
    # 0.5 * (1 - p)^2 * -log p with p = 1/2
    assert focal_loss(torch.zeros(1), torch.ones(1)).item() == pytest.approx(0.125 * torch.log(torch.tensor(2.0)))


def test_videos_count_by_their_labelled_queries():
    good, bad = torch.full((2, 3), -6.0), torch.full((2, 3), -6.0)
    good[0, 0], bad[0, 1] = 6, 6
    labels = [torch.tensor([1, -1]), torch.tensor([1, -1])]
    alone = class_loss([bad], labels[:1])
    both = class_loss([bad, good], labels)
    with_silent = class_loss([bad, good], [labels[0], torch.tensor([-1, -1])])
    assert both == pytest.approx(0.5 * float(alone + class_loss([good], labels[:1])), rel=1e-5)
    assert with_silent == pytest.approx(float(alone), rel=1e-6)


def test_a_perfect_mask_costs_least():
    wanted = torch.stack([torch.ones(2, 8, 8), torch.zeros(2, 8, 8)])
    right, wrong = (
        [float(value) for value in MaskLoss(POINTS, Draws()).overlap(sign * (40 * wanted - 20), wanted, num_masks=4)]
        for sign in (1, -1)
    )
    # at the border of the picture, where maps end, points see a mixture
    assert right[0] < 0.1 * wrong[0]
    assert right[1] < 0.1 < 0.9 < wrong[1]


def test_competing_prompts_learn_only_where_one_of_them_is():
    loss = MaskLoss(POINTS, Draws())
    nowhere = torch.full((1, 2, 16, 16), IGNORED)
    logits = torch.randn(1, 3, 2, 8, 8)
    assert float(loss.competition(logits, nowhere)) == 0
    right = torch.full((1, 3, 2, 8, 8), -20.0)
    right[:, 1] = 20
    assert float(loss.competition(right, torch.ones_like(nowhere))) < 1e-6
    assert float(loss.competition(right, torch.zeros_like(nowhere))) > 10


def test_a_pixel_belongs_to_the_first_mask_that_holds_it():
    masks = torch.zeros(2, 1, 2, 2)
    masks[0, 0, 0, 0] = masks[1, 0, 0, :] = 1
    assert first_mask_of_pixels(masks)[0].tolist() == [[0, 1], [IGNORED, IGNORED]]


def test_uncertain_points_lie_where_the_logits_change_sign():
    ramp = torch.linspace(-8, 8, 16).expand(1, 1, 16, 16)
    points = draw_uncertain_points(ramp, 40, 3.0, 0.5, Draws())
    assert points.shape == (1, 40, 2)
    assert (points[0, :20, 0] - 0.5).abs().max() < (points[0, 20:, 0] - 0.5).abs().max()
    assert (points[0, :20, 0] - 0.5).abs().max() < 0.2


def embeddings(identities: list[int], spread: float) -> Embeddings:
    torch.manual_seed(1)
    centres = 4 * torch.eye(16)
    ids = torch.tensor(identities)
    return Embeddings(centres[ids] + spread * torch.randn(len(ids), 16), ids)


@pytest.mark.parametrize("loss", [IdentityLoss(Draws()), InterClipIdentityLoss(Draws())])
def test_embeddings_of_one_object_should_be_alike(loss):
    def of(items):
        return loss(items, items) if isinstance(loss, IdentityLoss) else loss(items)

    near, far = (of(embeddings([0, 0, 1, 1, 2, 2], spread)) for spread in (0.1, 8.0))
    assert near[0] < far[0]
    assert near[1] < far[1]


def test_identity_loss_without_a_pair_is_zero_and_has_a_gradient():
    rows, columns = embeddings([0, 1], 0.1), embeddings([2, 3], 0.1)
    rows.values.requires_grad_()
    contrast, auxiliary = IdentityLoss(Draws())(rows, columns)
    (contrast + auxiliary).backward()
    assert float(contrast.detach()) == float(auxiliary.detach()) == 0
    assert not rows.values.grad.any()
    nothing = Embeddings(torch.zeros(0, 16), torch.zeros(0, dtype=torch.long))
    assert [float(value) for value in InterClipIdentityLoss(Draws())(nothing)] == [0, 0]


def test_first_rows():
    assert first_rows(torch.tensor([5, 5, 2, 5, 7, 2])).tolist() == [0, 2, 4]


def test_weights_ignore_the_number_of_the_layer():
    weights = LossWeights(mask=7.0, identity=0.5)
    losses = {"loss_mask": torch.ones(()), "loss_mask_3": torch.ones(()), "loss_reid_l2p_aux_8": torch.ones(())}
    assert {name: float(value) for name, value in weights.apply(losses).items()} == {
        "loss_mask": 7.0,
        "loss_mask_3": 7.0,
        "loss_reid_l2p_aux_8": 0.5,
    }
    assert LossWeights(identity=0.5, long_video=True).by_term()["loss_reid_interclip"] == 0.25
    assert term_of("loss_reid_l2p_aux") == "loss_reid_l2p_aux"

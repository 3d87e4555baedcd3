"""Targets from samples: which objects are kept, how they are numbered, which prompts they get."""

from __future__ import annotations

import pytest
import torch
from detectron2.structures import BitMasks, Instances

from univs.errors import UserError
from univs.layers.draws import Draws
from univs.modeling.targets import TargetBuilder, TargetSettings

SIZE = (32, 64)


def sample(masks, classes, task="detection", dataset="animals", **more):
    """A sample of masks [n, T, H, W] with classes [n]."""
    frames = []
    for frame in range(masks.shape[1]):
        visible = masks[:, frame].flatten(1).any(1)
        bits = BitMasks(masks[:, frame])
        frames.append(
            Instances(
                tuple(masks.shape[2:]),
                gt_masks=bits,
                gt_boxes=bits.get_bounding_boxes(),
                gt_classes=torch.where(visible, torch.tensor(classes), -1),
                gt_ids=torch.where(visible, torch.arange(len(masks)), -1),
            )
        )
    places = list(range(masks.shape[1]))
    return {"instances": frames, "frame_indices": places, "task": task, "dataset_name": dataset, **more}


def squares(count, frames=2, size=SIZE):
    """Masks of ``count`` different squares of 4 pixels."""
    masks = torch.zeros(count, frames, *size, dtype=torch.bool)
    for item in range(count):
        row, column = divmod(item, size[1] // 4)
        masks[item, :, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4] = True
    return masks


def builder(settings=None, num_classes=None, encode=None):
    return TargetBuilder(settings or TargetSettings(), Draws(3), num_classes or {"animals": 5}, encode)


def words_by_length(sentences):
    """Text features that tell the sentences apart."""
    lengths = torch.tensor([float(len(sentence)) for sentence in sentences])
    return lengths[:, None, None].expand(-1, 7, 6).clone(), lengths[:, None].expand(-1, 6).clone()


def test_objects_that_are_never_visible_are_left_out():
    masks = squares(3)
    masks[0] = False
    masks[1, 0] = False
    target = builder()([sample(masks, [1, 2, 3])], SIZE)[0]
    assert target.labels.tolist() == [2, 3]  # the first one is known in the second frame only
    assert target.ids.tolist() == [[-1, 0], [1, 1]]
    assert target.masks.shape == (2, 2, *SIZE)


def test_masks_and_boxes_are_those_of_the_padded_size():
    target = builder()([sample(squares(1, size=(16, 32)), [1])], SIZE)[0]
    assert target.masks.sum() == 32
    assert target.boxes[0, 0].tolist() == [0, 0, 4 / SIZE[1], 4 / SIZE[0]]


@pytest.mark.parametrize("label", [0, 6])
def test_a_class_outside_the_list_is_the_users_mistake(label):
    with pytest.raises(UserError, match=f"class {label}; classes run from 1 to 5"):
        builder()([sample(squares(2), [1, label])], SIZE)


@pytest.mark.parametrize("classes, kept", [([-1] * 12, 6), ([1] * 5 + [2] * 7, 6)])
def test_a_crowded_video_is_thinned_out(classes, kept):
    settings = TargetSettings(max_objects=3, crowded_datasets=frozenset({"crowd"}))
    made = builder(settings)._objects(sample(squares(12), classes, dataset="crowd"), SIZE, "visual")
    assert len(made[1]) == kept
    assert made[1].tolist() == sorted(set(made[1].tolist()))
    target = builder(settings)([sample(squares(12), classes, task="sot", dataset="crowd")], SIZE)[0]
    assert len(target.labels) == len(target.masks) == target.num_max_instances == 3


def test_class_prompts_name_present_classes_first_and_fill_up_with_absent_ones():
    by_name = TargetSettings(visual_prompt_share=0.0)
    videos = [sample(squares(3), [4, 2, 4]), sample(squares(3), [1, 2, 3])]
    first, second = builder(by_name)(videos, SIZE)
    assert first.semantic_labels.tolist() == [2, 4]
    assert first.prompt_labels[:2].tolist() == [2, 4]
    assert first.prompt_labels[2] in (1, 3, 5)
    assert first.prompt_obj_ids.tolist() == [0, 1, -1]
    assert torch.equal(first.semantic_masks[1], first.masks[0] + first.masks[2])
    assert second.prompt_obj_ids.tolist() == [0, 1, 2]


def test_a_video_without_known_classes_has_absent_class_prompts_only():
    by_name = TargetSettings(visual_prompt_share=0.0)
    target = builder(by_name)([sample(squares(2), [-1, -1]), sample(squares(2), [1, 2])], SIZE)[0]
    assert target.has_class_prompts
    assert target.semantic_masks.shape == (0, 2, *SIZE)
    assert target.prompt_obj_ids.tolist() == [-1, -1]


@pytest.mark.parametrize(
    "task, dataset, share, kind",
    [
        ("detection", "animals", 0.0, "text"),
        ("detection", "animals", 1.0, "visual"),
        ("detection", "plants", 0.0, "visual"),
        ("detection", "many", 0.0, "visual"),
        ("sot", "animals", 0.0, "visual"),
    ],
)
def test_kind_of_prompt(task, dataset, share, kind):
    settings = TargetSettings(visual_prompt_share=share, visual_prompt_datasets=frozenset({"many"}))
    made = builder(settings, {"animals": 5, "many": 9})([sample(squares(1), [1], task, dataset)], SIZE)
    assert made[0].prompt_kind == kind


def test_sentences_are_repeated_and_point_to_their_objects():
    masks = squares(3)
    texts = ["long one", "", "two"]
    videos = [
        sample(masks, [-1] * 3, "grounding", expressions=texts),
        sample(masks, [-1] * 3, "grounding", expressions=["a", "bc", "def"]),
    ]
    first, second = builder(encode=words_by_length)(videos, SIZE)
    # described objects come first, so that a prompt's number is its object's row
    assert torch.equal(first.masks, masks[[0, 2, 1]].float())
    assert first.ids[:, 0].tolist() == [0, 1, 2]
    assert first.prompt_obj_ids.tolist() == [0, 1, 0]
    assert first.expression_sentences[:, 0].tolist() == [8, 3, 8]
    assert first.expression_words.shape == (3, 7, 6)
    assert second.prompt_obj_ids.tolist() == [0, 1, 2]


def test_descriptions_of_one_object_share_its_mask():
    masks = squares(3)
    masks[1] = masks[0]
    video = sample(masks, [-1] * 3, "grounding", expressions=["x", "xy", "xyz"], expression_ids=[7, 7, 9])
    target = builder(encode=words_by_length)([video], SIZE)[0]
    assert target.prompt_obj_ids.tolist() == [0, 0, 1]
    assert torch.equal(target.masks, masks[[0, 2]].float())


def test_without_sentences_there_are_no_prompts():
    said = sample(squares(1), [-1], "grounding", expressions=["a b"])
    silent = sample(squares(2), [-1, -1], "grounding", expressions=["", ""])
    target = builder(encode=words_by_length)([silent], SIZE)[0]
    assert target.expression_words is None
    mixed = builder(encode=words_by_length)([silent, said], SIZE)[0]
    assert mixed.prompt_obj_ids.tolist() == [-1]
    assert not mixed.expression_words.any()


def test_sentences_without_a_text_encoder_are_the_users_mistake():
    with pytest.raises(UserError, match="text encoder"):
        builder()([sample(squares(1), [-1], "grounding", expressions=["a"])], SIZE)


def test_a_clip_of_targets_keeps_identities_and_prompts():
    by_name = TargetSettings(visual_prompt_share=0.0)
    target = builder(by_name)([sample(squares(2, frames=4), [1, 2])], SIZE)[0]
    clip = target.clip(slice(1, 3))
    assert clip.masks.shape[1] == clip.ids.shape[1] == clip.boxes.shape[1] == clip.semantic_masks.shape[1] == 2
    assert clip.frame_indices.tolist() == [1, 2]
    assert clip.prompt_obj_ids is target.prompt_obj_ids

"""The whole model at a small size: training whatever the batch holds, inference, what its state holds."""

from __future__ import annotations

import copy

import pytest
import torch

from tests.modeling.test_targets import sample, squares
from univs.config import get_config
from univs.errors import UserError
from univs.modeling.build import build_model
from univs.modeling.long_video import clip_slices

SIZE = (32, 64)
TEXT_DIM = 12
OPTIONS = {
    "MODEL.DEVICE": "cpu",
    "MODEL.META_ARCHITECTURE": "UniVS",
    "MODEL.BACKBONE.NAME": "build_efficientnet_lite0_backbone",
    "MODEL.BACKBONE.FREEZE_AT": 0,
    "MODEL.UNIVS.HIDDEN_DIM": 32,
    "MODEL.UNIVS.NUM_QUERIES": 6,
    "MODEL.UNIVS.NUM_HEADS": 4,
    "MODEL.UNIVS.FEEDFORWARD_DIM": 32,
    "MODEL.UNIVS.DECODER_LAYERS": 3,
    "MODEL.UNIVS.PROMPT_TOKENS": 4,
    "MODEL.UNIVS.PIXEL_DECODER.ENCODER_LAYERS": 1,
    "MODEL.UNIVS.PIXEL_DECODER.FEEDFORWARD_DIM": 32,
    "MODEL.UNIVS.PIXEL_DECODER.NUM_HEADS": 4,
    "MODEL.UNIVS.TEXT.ENCODER": "NONE",
    "MODEL.UNIVS.TEXT.DIM": TEXT_DIM,
    "MODEL.UNIVS.LOSS.NUM_POINTS": 64,
    "INPUT.CLIP_FRAMES": 2,
}


class Sentences:
    """A text encoder that knows lengths only."""

    def to(self, device):
        return self

    def encode(self, texts):
        return torch.tensor([[float(len(text))] * TEXT_DIM for text in texts])

    def tokens(self, texts):
        return self.encode(texts)[:, None].expand(-1, 5, -1), torch.ones(len(texts), 5, dtype=torch.bool)


def model(**changes):
    """A small model with the classes of "animals"; options change by their last names, joined by "__"."""
    torch.manual_seed(0)
    wanted = OPTIONS | {name.replace("__", "."): value for name, value in changes.items()}
    made = build_model(get_config(opts=[part for pair in wanted.items() for part in pair]))
    made.class_embeddings.set_embeddings("animals", torch.randn(5, TEXT_DIM))
    return made


def clip(count=2, frames=2, size=SIZE, **more):
    """A training sample with noise for pictures."""
    torch.manual_seed(frames)
    pictures = [torch.randint(0, 256, (3, *size), dtype=torch.uint8) for _ in range(frames)]
    masks = squares(count, frames, size)
    return sample(masks, [1 + item % 5 for item in range(count)], **more) | {"image": pictures}


def hidden(item):
    """The sample with objects that are never visible."""
    for frame in item["instances"]:
        frame.gt_masks.tensor[:] = False
        frame.gt_ids[:] = -1
        frame.gt_classes[:] = -1
    return item


BATCHES = {
    "class names": [clip(), clip(1)],
    "visual prompts": [clip(task="sot"), clip(3, task="sot")],
    "sizes": [clip(task="sot"), clip(task="sot", size=(48, 32))],
    "one video without objects": [clip(task="sot"), hidden(clip(1, task="sot"))],
    "no objects": [hidden(clip())],
    "sentences": [clip(task="grounding", dataset="said", expressions=["a b", "c"])],
    "no sentences": [clip(task="grounding", dataset="said", expressions=["", ""])],
}


@pytest.mark.parametrize("name", BATCHES)
def test_training_gives_finite_losses_and_gradients(name):
    made = model(MODEL__UNIVS__TARGETS__VISUAL_PROMPT_SHARE=0.0)
    made.text_encoder = Sentences()
    losses = made(copy.deepcopy(BATCHES[name]))
    with_prompts = name in ("class names", "visual prompts", "sizes", "sentences")
    assert ("loss_reid_l2p" in losses) == with_prompts
    assert {"loss_mask", "loss_mask_0", "loss_mask_2"} <= set(losses)
    total = sum(losses.values())
    assert torch.isfinite(total)
    total.backward()
    gradients = [parameter.grad for parameter in made.parameters() if parameter.grad is not None]
    assert all(torch.isfinite(gradient).all() for gradient in gradients)
    assert made.backbone.training
    assert (made.mask_decoder.query_content.weight.grad != 0).any() == ("no objects" != name)


def test_equal_seeds_give_equal_losses():
    batch = BATCHES["visual prompts"]
    first, second = (model()(copy.deepcopy(batch)) for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_batch_of_several_tasks_is_refused():
    with pytest.raises(UserError, match="share task and data set"):
        model()([clip(task="sot"), clip(task="detection")])


def test_classes_without_embeddings_are_the_users_mistake():
    made = model(MODEL__UNIVS__TEXT__CLASS_RANGES=[["plants", 0, 9]])
    with pytest.raises(UserError, match="CLASS_EMBEDDINGS"):
        made([clip(dataset="plants")])


def test_inference_says_the_same_of_a_picture_and_of_a_clip_of_one_frame():
    made = model().eval()
    picture = torch.randint(0, 256, (3, 40, 64), dtype=torch.uint8)
    (alone,) = made([{"image": picture, "dataset_name": "animals"}])
    (clipped,) = made([{"image": [picture], "dataset_name": "animals"}])
    assert alone["image_size"] == (40, 64)
    assert alone["padded_size"] == (64, 64)
    prediction = alone["prediction"]
    assert prediction.class_logits.shape == (1, 6, 5)
    assert prediction.mask_logits.shape == (1, 6, 1, 16, 16)
    assert torch.equal(prediction.mask_logits, clipped["prediction"].mask_logits)


def test_inference_takes_samples_apart():
    made = model().eval()
    videos = [clip(frames=2), clip(frames=3, size=(48, 32))]
    together = made([videos[0] | {"prompt_classes": True}, videos[1]])
    assert together[0]["prediction"].mask_logits.shape[1:3] == (11, 2)  # 6 learnable queries and 5 classes
    (alone,) = made([videos[1]])
    assert torch.equal(together[1]["prediction"].mask_logits, alone["prediction"].mask_logits)


def test_frames_are_normalised_and_padded_with_the_mean_colour():
    made = model()
    colour = made.pixel_mean.flatten() + made.pixel_std.flatten()
    small, large = (colour[:, None, None].expand(3, *size) for size in ((2, 3), (4, 4)))
    frames = made.normalised_frames([{"image": [small]}, {"image": large}])
    assert torch.allclose(frames[1], torch.ones(3, 4, 4), atol=1e-5)
    assert torch.allclose(frames[0, :, :2, :3], torch.ones(3, 2, 3), atol=1e-5)
    assert not frames[0, :, 2:].any() and not frames[0, :, :, 3:].any()


def test_the_state_holds_what_is_trained_and_nothing_else():
    made = model()
    made.text_encoder = Sentences()
    parts = {name.split(".")[0] for name in made.state_dict()}
    assert parts == {"backbone", "pixel_decoder", "mask_decoder"}


def test_dense_parts_can_stand_alone():
    made = model(MODEL__UNIVS__QUERIES=False, MODEL__UNIVS__DENSE_MEMORY__ENABLED=True).eval()
    features = made.encode(torch.randn(2, 3, *SIZE))
    assert features.levels == []
    assert features.backbone["res2"].shape[-2:] == (8, 16)
    with pytest.raises(UserError, match="MODEL.UNIVS.QUERIES"):
        made.train()([clip()])
    with pytest.raises(UserError, match="both off"):
        model(MODEL__UNIVS__QUERIES=False)


def test_an_unknown_model_is_the_users_mistake():
    with pytest.raises(UserError, match="'Nothing'"):
        build_model(get_config(opts=["MODEL.META_ARCHITECTURE", "Nothing"]))


@pytest.mark.parametrize(
    "video, clip_frames, starts",
    [(7, 5, [0, 2]), (5, 3, [0, 2]), (9, 3, [0, 2, 4, 6]), (3, 5, [0]), (4, 1, [0, 1, 2, 3])],
)
def test_clips_of_a_long_video(video, clip_frames, starts):
    slices = clip_slices(video, clip_frames)
    assert [part.start for part in slices] == starts
    assert {part.stop - part.start for part in slices} == {min(video, clip_frames)}
    assert slices[-1].stop == video


@pytest.mark.parametrize("task", ["sot", "detection", "grounding"])
def test_training_on_a_long_video(task):
    made = model(MODEL__UNIVS__LONG_VIDEO__ENABLED=True, MODEL__UNIVS__TARGETS__VISUAL_PROMPT_SHARE=0.0)
    made.text_encoder = Sentences()
    dataset = "said" if task == "grounding" else "animals"
    losses = made([clip(2, frames=4, task=task, dataset=dataset, expressions=["a b", "c"])])
    assert {"loss_reid_interclip", "loss_reid_interclip_aux_1", "loss_mask_2"} <= set(losses)
    assert "loss_reid_interclip_0" not in losses
    total = sum(losses.values())
    total.backward()
    assert torch.isfinite(total)


def test_a_long_video_without_visible_objects_still_trains():
    made = model(MODEL__UNIVS__LONG_VIDEO__ENABLED=True)
    losses = made([hidden(clip(2, frames=4, task="sot"))])
    sum(losses.values()).backward()
    assert all(float(value.detach()) == 0 for value in losses.values())


def test_long_videos_come_one_by_one():
    made = model(MODEL__UNIVS__LONG_VIDEO__ENABLED=True)
    with pytest.raises(UserError, match="one video per process"):
        made([clip(task="sot"), clip(task="sot")])

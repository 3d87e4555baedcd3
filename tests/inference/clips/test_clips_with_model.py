"""The stream of clips with a real, untrained model of a few channels."""

from __future__ import annotations

import functools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from univs.config import get_config
from univs.errors import UserError
from univs.inference.clips.run import cleaned_sentence, input_size, resized_frame, segment_video, video_seeds
from univs.inference.clips.seeds import GivenMasks
from univs.inference.clips.settings import ClipSettings, Corrections, clip_settings
from univs.inference.clips.stream import ClipStream
from univs.modeling.meta_arch import UniVS

CONFIGS = Path(__file__).parents[3] / "configs"
SIZE = (64, 96)
VOS = ClipSettings(clip_frames=3, memory_frames=4)
OPTIONS = {
    "MODEL.DEVICE": "cpu",
    "MODEL.UNIVS.HIDDEN_DIM": 32,
    "MODEL.UNIVS.NUM_QUERIES": 6,
    "MODEL.UNIVS.FEEDFORWARD_DIM": 32,
    "MODEL.UNIVS.DECODER_LAYERS": 3,
    "MODEL.UNIVS.PROMPT_TOKENS": 8,
    "MODEL.UNIVS.PIXEL_DECODER.ENCODER_LAYERS": 1,
    "MODEL.UNIVS.PIXEL_DECODER.FEEDFORWARD_DIM": 32,
    "MODEL.UNIVS.TEXT.ENCODER": "NONE",
}


@functools.cache
def small_model() -> UniVS:
    torch.manual_seed(0)
    options = [part for pair in OPTIONS.items() for part in pair]
    return UniVS(get_config(CONFIGS / "_base" / "backbone_r50.yaml", options)).eval()


def frames(count: int, size: tuple[int, int] = SIZE) -> list[np.ndarray]:
    """A bright square that moves over noise."""
    rng = np.random.default_rng(0)
    pictures = []
    for number in range(count):
        picture = rng.integers(0, 90, (*size, 3), dtype=np.uint8)
        picture[16:48, 8 + 4 * number : 40 + 4 * number] += 150
        pictures.append(picture)
    return pictures


def square(identity: int, left: int, size: tuple[int, int] = SIZE) -> GivenMasks:
    masks = torch.zeros(1, *size, dtype=torch.bool)
    masks[0, 16:48, left : left + 32] = True
    return GivenMasks((identity,), masks)


def run(settings: ClipSettings, given: dict[int, GivenMasks], count: int) -> tuple[ClipStream, list]:
    model = small_model()
    stream = ClipStream(model, settings, SIZE, video_seeds(model, settings, given))
    results = []
    for number, frame in enumerate(frames(count)):
        results += stream.step(resized_frame(frame, SIZE), given.get(number))
    return stream, results + stream.finish()


def same(first: list, second: list) -> bool:
    return all(torch.equal(a.masks, b.masks) for a, b in zip(first, second, strict=True))


def test_the_same_video_gives_the_same_bits():
    given = {0: square(1, 8), 2: square(2, 30)}
    (one, first), (two, second) = run(VOS, given, 6), run(VOS, given, 6)
    assert torch.equal(one.state.mask_logits, two.state.mask_logits) and same(first, second)
    other, _ = run(replace(VOS, seed=1), given, 6)
    assert not torch.equal(one.state.mask_logits, other.state.mask_logits)


def test_what_is_forgotten_is_never_read(monkeypatch):
    given = {0: square(1, 8), 3: square(2, 30)}
    bounded, first = run(VOS, given, 12)
    pool = bounded.prompts.pool
    assert pool.features.shape[1] == pool.capacity == 4 and pool.num_slots == 12

    def endless(pool, settings):
        create(pool, settings)
        pool.capacity = 10**6

    create = type(pool).__init__
    monkeypatch.setattr(type(pool), "__init__", endless)
    whole, second = run(VOS, given, 12)
    assert whole.prompts.pool.features.shape[1] == 12
    assert same(first, second) and torch.equal(bounded.state.mask_logits, whole.state.mask_logits)


def test_given_objects_do_not_need_the_learnable_queries():
    given = {0: square(1, 8), 2: square(2, 30)}
    (alone, _), (beside, _) = run(VOS, given, 6), run(replace(VOS, learnable=True), given, 6)
    assert (alone.clip.prediction.num_learnable, beside.clip.prediction.num_learnable) == (0, 6)
    torch.testing.assert_close(alone.state.embeddings, beside.state.embeddings, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(alone.state.mask_logits, beside.state.mask_logits, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("corrected", [False, True])
def test_an_object_that_begins_late_in_a_clip_is_prompted_at_once_when_corrected(corrected):
    settings = replace(VOS, corrections=Corrections(first_tokens=corrected))
    stream, _ = run(settings, {0: square(1, 8), 2: square(2, 30)}, 3)
    read = (stream.prompts.pool.features[:, -1] != 0).flatten(1).any(1)
    assert read.tolist() == [True, corrected]


@pytest.mark.parametrize("corrected", [False, True])
def test_a_found_object_remembers_its_first_mask_when_corrected(corrected):
    settings = replace(VOS, corrections=Corrections(first_tokens=corrected))
    stream, _ = run(settings, {0: square(1, 8)}, 4)
    row = stream.state.add(torch.tensor([9]))
    first = stream.clip.first
    stream.state.first_frames[row] = first
    stream.state.mask_logits[row, -3:, 16:48, 20:52] = 1.0
    stream.prompts.meet(stream.state, stream.clip.features, torch.arange(first, first + 3))
    stream.step(resized_frame(frames(5)[4], SIZE))
    pool = stream.prompts.pool
    tokens = pool.tokens(stream.state.first_frames, 3).memory_features
    assert bool(tokens[row, :8].any()) == corrected


def test_objects_that_end_leave_the_memory_of_prompts_too():
    stream, _ = run(VOS, {0: square(1, 8), 2: square(2, 30)}, 4)
    tokens = stream.prompts.pool.features.clone()
    # the newest object is not in the memory yet
    stream.state.add(torch.tensor([9]))
    stream.steps.kept = lambda state, clip: torch.tensor([1, 2])
    stream._forget()
    assert stream.state.ids.tolist() == [2, 9]
    assert torch.equal(stream.prompts.pool.features, tokens[1:])
    stream.step(resized_frame(frames(5)[4], SIZE))
    assert len(stream.prompts.pool.features) == 2


def test_frames_of_any_size_give_results_of_that_size():
    size = (100, 150)
    settings = replace(VOS, min_size=64, max_size=90, corrections=Corrections(every_frame=True))
    assert input_size(size, settings) == (60, 90)
    results = list(segment_video(small_model(), frames(4, size), settings, given={0: square(4, 8, size)}))
    assert [result.index for result in results] == [0, 1, 2, 3]
    assert all(result.masks.shape == (1, *size) and result.ids == (4,) for result in results)
    given, found = square(4, 8, size).masks[0], results[0].masks[0]
    assert (given & found).sum() > 0.9 * (given | found).sum()


def test_a_square_holds_the_longer_side():
    settings = replace(VOS, min_size=64, max_size=1333, square=96)
    assert input_size((100, 200), settings) == (48, 96)
    stream = ClipStream(small_model(), settings, (100, 200))
    features = stream.encode(torch.zeros(3, 48, 96))
    assert features.image_size == (48, 96) and features.padded_size == (96, 96)


@pytest.mark.parametrize(
    "settings, part", [(VOS, "none was given"), (replace(VOS, objects="sentences"), "no sentence")]
)
def test_a_video_without_anything_to_follow_is_the_users_mistake(settings, part):
    with pytest.raises(UserError, match=part):
        list(segment_video(small_model(), frames(2), settings))


def test_frames_of_different_sizes_are_the_users_mistake():
    pictures = [*frames(1), *frames(1, (32, 96))]
    with pytest.raises(UserError, match="Frame 1"):
        list(segment_video(small_model(), pictures, VOS, given={0: square(1, 8)}))


def test_sentences_are_cleaned_as_in_training():
    assert cleaned_sentence('The 2nd_dog: "black-and/white"!') == "the nd dog black and white"
    with pytest.raises(UserError, match="no word"):
        cleaned_sentence("12 (3)!")


def test_a_stride_longer_than_the_clip_is_the_users_mistake():
    with pytest.raises(UserError, match="stride"):
        ClipSettings(clip_frames=2, stride=3)


def test_a_task_without_clips_is_the_users_mistake():
    cfg = get_config(opts=["INFERENCE.TASK", "matting"])
    with pytest.raises(UserError, match="matting"):
        clip_settings(cfg)

"""The memory of prompts over a long video: bounded, and the same as if everything were kept."""

from __future__ import annotations

import pytest
import torch

from tests.modeling.small_decoder import features, random, small_decoder
from univs.layers.draws import RepeatableDraws
from univs.modeling.memory_pool import (
    ClipMaskEncoder,
    KnownMasks,
    MemoryPool,
    MemoryPoolSettings,
    masks_to_memory,
)
from univs.modeling.prompt_encoder import VisualPromptSettings, VisualTokens

FIRST_FRAMES = torch.tensor([0, 2, 7, -1])
OBJECTS = len(FIRST_FRAMES)


def _encode(masks, boxes, clip_frame, point_frame):
    """Tokens [N, 2, 3] that say what was encoded: mean of the mask, frame of the clip, frame of the video."""
    note = torch.tensor([0.0, float(clip_frame), float(point_frame)])
    values = note + torch.nn.functional.pad(masks.flatten(1).mean(1)[:, None], (0, 2))
    tokens = values[:, None].expand(-1, 2, -1)
    return VisualTokens(tokens, -tokens, masks.flatten(1).any(1))


def _known(last: int, frames: int) -> KnownMasks:
    """Masks of the ``frames`` frames up to ``last``; the mean of an object's mask tells object and frame."""
    index = torch.arange(last - frames + 1, last + 1)
    seen = (FIRST_FRAMES[:, None] >= 0) & (index >= FIRST_FRAMES[:, None]) & (index < last)
    sizes = (1 + index + 20 * torch.arange(OBJECTS)[:, None]) * seen
    masks = torch.arange(100)[None, None] < sizes[:, :, None]
    return KnownMasks(masks.float().view(OBJECTS, frames, 10, 10), torch.zeros(OBJECTS, frames, 4), FIRST_FRAMES)


@pytest.mark.parametrize(("clip", "stride", "memory"), [(3, 1, 4), (2, 1, 2), (4, 3, 5), (1, 1, 3), (3, 3, 3)])
def test_a_bounded_pool_reads_as_one_that_keeps_everything(clip, stride, memory):
    settings = MemoryPoolSettings(clip, stride, memory)
    bounded, complete = MemoryPool(settings), MemoryPool(settings)
    complete.capacity = 1000
    for start in range(0, 20 * stride, stride):
        known = _known(start + clip - 1, min(clip + stride, start + clip))
        for pool in (bounded, complete):
            pool.update(known, start, clip, _encode)
        own, kept = bounded.tokens(FIRST_FRAMES, clip), complete.tokens(FIRST_FRAMES, clip)
        for name in ("features", "positions", "memory_features", "memory_positions"):
            assert torch.equal(getattr(own, name), getattr(kept, name)), name
    assert bounded.features.shape[1] <= bounded.capacity < complete.features.shape[1] == bounded.num_slots


def test_the_first_frame_is_read_first_and_the_latest_after_it():
    pool = MemoryPool(MemoryPoolSettings(clip_frames=3, stride=1, memory_frames=4))
    for start in range(12):
        pool.update(_known(start + 2, min(4, start + 3)), start, 3, _encode)
    tokens = pool.tokens(FIRST_FRAMES, 3)
    assert tokens.features.shape == (4, 2, 3, 3) and tokens.memory_features.shape == (4, 10, 1, 3)
    places = tokens.memory_features[:, ::2, 0, 2]  # the frame of the video each slot was made from
    assert places[0].tolist() == [0, 10, 11, 12, 12]  # the newest frame has no mask yet: the last one stands in
    assert places[2].tolist() == [7, 10, 11, 12, 12]
    assert not places[3].any() and not tokens.valid[3]
    assert tokens.features[1, 0, :, 2].tolist() == [11, 12, 12]


def test_objects_found_later_come_with_blank_slots():
    pool = MemoryPool(MemoryPoolSettings(clip_frames=2, stride=1, memory_frames=3))
    pool.add_objects(3)
    assert pool.features is None
    # objects were found in the first clip, so that the pool begins with the second
    pool.update(_known(2, 3), 1, 2, _encode)
    assert pool.features.shape == (4, 3, 2, 3) and pool.num_slots == 3
    assert pool.features[0, :, 0, 2].tolist() == [0, 1, 1]
    pool.add_objects(2)
    assert pool.features.shape[0] == 6 and not pool.features[4:].any()
    pool.keep_objects(torch.tensor([5, 0]))
    assert not pool.features[0].any() and pool.features[1].any()
    tokens = pool.tokens(torch.tensor([3, 0]), 2)
    assert tokens.memory_features.shape == (2, 8, 1, 3)


def test_masks_to_memory():
    logits = torch.tensor([-2.0, 0.0, 0.3, 1.0])
    assert masks_to_memory(logits).tolist() == [0, 0, 1, 1]


@torch.no_grad()
@pytest.mark.parametrize("times", ["ArbitraryT", "FixedT"])
def test_masks_are_encoded_on_the_frames_of_the_clip(times):
    decoder = small_decoder(temporal_positions=times, visual_prompts=VisualPromptSettings(tokens=4))
    maps = features(frames=2)
    draws = RepeatableDraws()
    encode = ClipMaskEncoder(decoder, maps, torch.tensor([5, 6]), draws)
    mask = torch.zeros(1, 64, 96)
    mask[:, 16:48, 32:64] = 1
    tokens = encode(mask, torch.tensor([[1 / 3, 0.25, 2 / 3, 0.75]]), 1, 6)
    source = (maps.levels[-1][1] + decoder.level_embedding.weight[-1][:, None, None])[:, 2:6, 4:8].flatten(1).t()
    distance = torch.cdist(tokens.features[0], source).amin(1)
    torch.testing.assert_close(distance, torch.zeros(4), atol=1e-2, rtol=0)
    pool = MemoryPool(MemoryPoolSettings(clip_frames=2))
    known = KnownMasks(mask[:, None].expand(-1, 2, -1, -1), random(1, 2, 4).abs(), torch.tensor([0]))
    pool.update(known, 0, 2, encode)
    prediction = decoder(maps, pool.tokens(known.first_frames, 2), discover=False)
    assert prediction.mask_logits.shape == (1, 1, 2, 16, 24)

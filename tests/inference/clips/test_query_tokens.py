"""Semantic tokens of frames, with a real, untrained model of a few channels."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from tests.inference.clips.test_clips_with_model import CONFIGS, SIZE, frames, small_model
from univs.config import get_config
from univs.errors import UserError
from univs.inference.clips.clip import joined
from univs.inference.clips.run import input_size, resized_frame, segment_video
from univs.inference.clips.settings import TASKS, ClipSettings, clip_settings
from univs.inference.clips.stream import encoded

SETTINGS = ClipSettings(
    **{"clip_frames": 2, "stride": 2, "compression_ratio": 16, "square": 128, **TASKS["semantic_extraction"]}
)


@torch.no_grad()
def expected(pictures, settings):
    """Tokens and features of one clip, straight from the decoder, all channels enlarged at once."""
    model = small_model()
    shape = input_size(SIZE, settings)
    features = joined([encoded(model, resized_frame(picture, shape), settings.square) for picture in pictures])
    contents = model.mask_decoder(features).contents[0]
    enlarged = F.interpolate(features.mask_features, size=features.padded_size, mode="bilinear", align_corners=False)
    cut = enlarged[..., : shape[0], : shape[1]]
    return contents.permute(1, 2, 0), F.interpolate(cut, size=(SIZE[0] // 16, SIZE[1] // 16), mode="nearest")


@pytest.mark.parametrize("min_size", [0, 48])
def test_tokens_are_what_the_decoder_holds(min_size):
    settings, pictures = replace(SETTINGS, min_size=min_size), frames(3)
    results = list(segment_video(small_model(), pictures, settings))
    assert [result.index for result in results] == [0, 1, 2]
    # the last clip is shorter and stands alone
    for first, last in ((0, 2), (2, 3)):
        queries, maps = expected(pictures[first:last], settings)
        for place, result in enumerate(results[first:last]):
            assert result.queries.shape == (32, 6) and result.mask_features.shape == (32, 4, 6)
            torch.testing.assert_close(result.queries, queries[place])
            torch.testing.assert_close(result.mask_features, maps[place])


def test_the_published_configuration_runs_clips_that_share_no_frame():
    settings = clip_settings(get_config(CONFIGS / "eval" / "semantic_extraction" / "univs_swinb_internvid.yaml"))
    assert (settings.result, settings.clip_frames, settings.stride, settings.compression_ratio) == ("tokens", 5, 5, 32)


def test_a_ratio_that_leaves_nothing_is_the_users_mistake():
    with pytest.raises(UserError, match="COMPRESSION_RATIO 65 leaves nothing of a video of 96 x 64"):
        list(segment_video(small_model(), frames(2), replace(SETTINGS, compression_ratio=65)))

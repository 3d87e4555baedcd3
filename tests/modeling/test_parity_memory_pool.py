"""Stored values of following given masks through a video: memory pool and decoder."""

from __future__ import annotations

import pytest
import torch

from tests import parity, rule
from tests.modeling.decoder_cases import (
    case_decoder,
    case_features,
    check_prediction,
    class_table,
    clip_features,
)
from univs.modeling.memory_pool import ClipMaskEncoder, KnownMasks, MemoryPool, MemoryPoolSettings


def _is_memory(case):
    return "_eval_" in case.name and case.inputs.get("task") == "sot"


def _known(case, clip: int) -> KnownMasks:
    """Masks that the description of the case calls known in this clip."""
    config, first_frames = case.config, parity.tensor(case.inputs["first_frames"])
    frames, stride, start = config["T"], config["stride"], clip * config["stride"]
    masks = parity.tensor(rule.masks(case.tag, len(first_frames), config["video_frames"], config["H"], config["W"]))
    index = torch.arange(config["video_frames"], device=parity.DEVICE)
    known = index >= first_frames[:, None]
    annotated = index == first_frames[:, None]
    known = annotated if clip == 0 else known & (index < start + frames - stride) | annotated
    masks = masks & known[:, :, None, None]
    covered = slice(max(0, start - config["num_prev_frames_memory"]), start + frames)
    boxes = parity.tensor(rule.boxes(masks.cpu().numpy()))
    return KnownMasks(masks[:, covered].float(), boxes[:, covered], first_frames)


@torch.no_grad()
@pytest.mark.parametrize("case", parity.cases(_is_memory))
def test_parity_memory(case):
    config, decoder = case.config, case_decoder(case)
    features = case_features(case, config["video_frames"])
    settings = MemoryPoolSettings(config["sampling_frame_num"], config["stride"], config["num_prev_frames_memory"])
    bounded, pool = MemoryPool(settings), MemoryPool(settings)
    pool.capacity = config["video_frames"]  # keeps everything, as the stored pools do
    frames, clips = config["T"], sum(name.endswith("_prompt_query") for name in case.outputs)
    with parity.sign_bits(case) as bits:
        for clip in range(clips):
            bits.start(clip)
            start, known = clip * config["stride"], _known(case, clip)
            maps = clip_features(features, start, frames)
            encode = ClipMaskEncoder(decoder, maps, torch.arange(start, start + frames), decoder.draws)
            for each in (bounded, pool):
                each.update(known, start, frames, encode)
            tokens = bounded.tokens(known.first_frames, frames)
            queries = decoder.prompt_queries(tokens, frames)
            case.check(f"clip{clip}_prompt_query", queries.content[0].transpose(0, 1))
            case.check(f"clip{clip}_prompt_query_pos", queries.position[0].transpose(0, 1))
            case.check(f"clip{clip}_prompt_tokens", tokens.memory_features.expand(-1, -1, frames, -1))
            case.check(f"clip{clip}_prompt_tokens_pos", tokens.memory_positions.expand(-1, -1, frames, -1))
            case.check(f"clip{clip}_pool_feats", pool.features.transpose(1, 2))
            case.check(f"clip{clip}_pool_pe", pool.positions.transpose(1, 2))
            check_prediction(case, decoder(maps, tokens, class_embeddings=class_table(case)), f"clip{clip}_")

"""What the mask decoder promises beyond the stored values: halves that run apart, outputs on demand, dense memory."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from tests.modeling.decoder_cases import blocked_pairs
from tests.modeling.small_decoder import DIM, SETTINGS, features, random, small_decoder, visual_prompts
from univs.config import get_config
from univs.errors import UserError
from univs.layers.attention import AttentionLayer
from univs.modeling import mask_decoder
from univs.modeling.decoder_layers import PromptAttention, QueryAttention
from univs.modeling.heads import INITIAL_TEMPERATURE
from univs.modeling.mask_decoder import MASK_DECODER_REGISTRY, MaskDecoder, MaskDecoderSettings
from univs.modeling.prompt_encoder import VisualPromptSettings, encode_boxes, encode_masks, encode_points
from univs.modeling.prompt_encoder.regions import tight_boxes
from univs.modeling.published_names import to_published
from univs.modeling.settings import mask_decoder_settings
from univs.structures import FrameFeatures, PromptTokens

OUTPUTS = ("class_logits", "mask_logits", "embeddings", "mask_embeddings", "contents")
FIVE = SETTINGS.num_queries


def _assert_rows_equal(prediction, rows, expected):
    for name in OUTPUTS:
        torch.testing.assert_close(
            getattr(prediction, name)[:, rows], getattr(expected, name), atol=1e-4, rtol=1e-4, msg=name
        )


@torch.no_grad()
@pytest.mark.parametrize("pattern", ["sep", "sep-blocked"])
def test_the_halves_run_apart(pattern):
    decoder, maps, prompts = small_decoder(query_attention=pattern), features(), visual_prompts()
    classes = random(7, 12)
    both = decoder(maps, prompts, class_embeddings=classes)
    followed = decoder(maps, prompts, discover=False, class_embeddings=classes)
    assert (both.num_learnable, followed.num_learnable) == (FIVE, 0)
    _assert_rows_equal(both, slice(FIVE, None), followed)
    _assert_rows_equal(both, slice(0, FIVE), decoder(maps, class_embeddings=classes))


@torch.no_grad()
@pytest.mark.parametrize("pattern", ["sep-l2p", "none", "all"])
def test_learnable_queries_stay_where_prompts_see_them(pattern):
    decoder, maps, prompts = small_decoder(query_attention=pattern), features(), visual_prompts()
    followed = decoder(maps, prompts, discover=False)
    assert followed.num_learnable == FIVE
    _assert_rows_equal(decoder(maps, prompts), slice(None), followed)


@torch.no_grad()
@pytest.mark.parametrize("pattern", ["sep", "sep-blocked", "sep-l2p", "all"])
def test_query_attention_equals_masked_attention(pattern):
    learnable, prompts, frames = 4, 3, 2
    attention = QueryAttention(DIM, 2)
    content, position = (random(2, frames, learnable + prompts, DIM, seed=seed) for seed in (1, 2))
    allowed = ~blocked_pairs(pattern, learnable, prompts, frames)
    x, own = (values.transpose(1, 2).flatten(1, 2) for values in (content, position))
    expected = AttentionLayer.forward(attention, x, x, own, own, allowed)
    expected = expected.unflatten(1, (learnable + prompts, frames)).transpose(1, 2)
    torch.testing.assert_close(attention(content, position, learnable, pattern), expected)


@torch.no_grad()
def test_blocked_pairs_of_each_pattern():
    seen = {pattern: ~blocked_pairs(pattern, 2, 2, 1) for pattern in ("sep", "sep-blocked", "sep-l2p", "all")}
    assert seen["sep"].int().tolist() == [[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 1], [0, 0, 1, 1]]
    assert seen["sep-blocked"].int().tolist() == [[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]
    assert seen["sep-l2p"].int().tolist() == [[1, 1, 0, 0], [1, 1, 0, 0], [1, 1, 1, 1], [1, 1, 1, 1]]
    assert seen["all"].all()


@torch.no_grad()
def test_tokens_shared_by_frames_equal_repeated_ones():
    attention = PromptAttention(DIM, 2)
    content, position = random(1, 3, 2, DIM, seed=1), random(1, 3, 2, DIM, seed=2)
    tokens, keys = random(1, 2, 5, 1, DIM, seed=3), random(1, 2, 5, 1, DIM, seed=4)
    repeated = tokens.expand(-1, -1, -1, 3, -1), keys.expand(-1, -1, -1, 3, -1)
    torch.testing.assert_close(attention(content, position, tokens, keys), attention(content, position, *repeated))
    torch.testing.assert_close(attention(content, None, tokens, None), attention(content, None, repeated[0], None))


@torch.no_grad()
def test_classes_and_masks_on_demand():
    decoder, maps, prompts = small_decoder(), features(), visual_prompts()
    classes = random(9, 12)
    everything = decoder(maps, prompts, class_embeddings=classes)
    assert everything.class_logits.shape == (1, 8, 9)
    some = decoder(maps, prompts, class_embeddings=classes[2:5], mask_queries=slice(6, None))
    torch.testing.assert_close(some.class_logits, everything.class_logits[:, :, 2:5])
    torch.testing.assert_close(some.mask_logits, everything.mask_logits[:, 6:])
    few = decoder(maps, prompts, mask_queries=torch.tensor([1, 7]))
    assert few.class_logits.shape == (1, 8, 0)
    torch.testing.assert_close(few.mask_logits, everything.mask_logits[:, [1, 7]])
    later = torch.einsum("bntc,tchw->bnthw", few.mask_embeddings, maps.mask_features)
    torch.testing.assert_close(later, everything.mask_logits, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_auxiliary_predictions_only_when_asked():
    decoder, maps = small_decoder(), features()
    assert decoder(maps).auxiliary == []
    assert len(decoder(maps, auxiliary=True).auxiliary) == SETTINGS.num_layers


@torch.no_grad()
def test_videos_of_a_batch_do_not_meet():
    decoder, first, second = small_decoder(), features(seed=0), features(seed=50)
    prompts = [visual_prompts(seed=0), visual_prompts(seed=50)]
    levels = [torch.cat(pair) for pair in zip(first.levels, second.levels, strict=True)]
    masks = torch.cat([first.mask_features, second.mask_features])
    both = decoder(FrameFeatures(levels, masks, first.image_size, first.padded_size), prompts, videos=2)
    for video, maps in enumerate((first, second)):
        alone = decoder(maps, prompts[video])
        torch.testing.assert_close(both.mask_logits[video], alone.mask_logits[0], atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_a_query_with_an_empty_mask_sees_everything():
    decoder, maps = small_decoder(), features()
    last = decoder.heads.mask_embedding.layers[-1]
    last.weight.zero_()
    last.bias.fill_(1.0)
    maps.mask_features = -maps.mask_features.abs()
    empty = decoder(maps)
    assert (empty.mask_logits < 0).all()
    maps.mask_features = maps.mask_features.abs()
    torch.testing.assert_close(empty.embeddings, decoder(maps).embeddings)


@torch.no_grad()
@pytest.mark.parametrize(("height", "width"), [(64, 96), (60, 100)])
def test_the_attention_mask_is_that_of_the_resized_logits(height, width, monkeypatch):
    decoder = small_decoder()
    maps = features(height=64, width=96)
    maps.mask_features = random(2, DIM, height // 4, width // 4)  # 60 x 100: cells do not divide evenly
    seen = []
    monkeypatch.setattr(mask_decoder, "attention_mask_from_logits", lambda x: seen.append(x) or x >= 0)
    prediction = decoder(maps, visual_prompts(), auxiliary=True)
    for number, logits in enumerate(seen):
        size = maps.levels[number % 3].shape[-2:]
        expected = F.interpolate(prediction.auxiliary[number].mask_logits[0], size=size, mode="bilinear")
        torch.testing.assert_close(logits[0], expected, atol=1e-4, rtol=1e-4)
    assert len(seen) == SETTINGS.num_layers


def test_training_makes_masks_with_the_queries_of_another_frame():
    decoder, maps = small_decoder().train(), features()

    class Swap:
        def permutation(self, purpose, n):
            return torch.arange(n).flip(0)

    decoder.draws = Swap()
    with torch.no_grad():
        prediction = decoder(maps)
        own = decoder.heads.mask_embedding(prediction.embeddings)
    expected = torch.einsum("bntc,tchw->bnthw", own.flip(2), maps.mask_features)
    torch.testing.assert_close(prediction.mask_logits, expected, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_expressions_take_the_mean_with_the_most_similar_learnable_query():
    decoder, maps = small_decoder(), features()
    sources = decoder.sources(maps).maps
    prompts = decoder.prompt_encoder.text.expressions(random(2, 4, 12), random(2, 12, seed=5), sources)
    with_learnable, alone = decoder(maps, prompts), decoder(maps, prompts, discover=False)
    best = with_learnable.similarity[0, :FIVE].argmax(0)
    own = decoder.heads.mask_embedding(with_learnable.embeddings)
    expected = (own[:, FIVE:] + own[:, best]) / 2
    torch.testing.assert_close(with_learnable.mask_embeddings[:, FIVE:], expected)
    assert alone.similarity is None
    assert with_learnable.class_logits.shape == (1, FIVE + 2, 2)


@torch.no_grad()
def test_half_precision_stays_half_precision():
    decoder = small_decoder().bfloat16()
    maps = features()
    maps.levels = [level.bfloat16() for level in maps.levels]
    maps.mask_features = maps.mask_features.bfloat16()
    frame = decoder.prompt_frame(maps.levels[-1][0], decoder.time_codes(torch.tensor([4]))[0])
    masks = torch.zeros(2, 64, 96)
    masks[0, 8:40, 8:40] = masks[1, 3:5, 3:5] = 1
    settings, boxes = decoder.settings.visual_prompts, tight_boxes(masks)
    parts = [
        encode_masks(masks, boxes, frame, settings, decoder.draws),
        encode_boxes(boxes, frame, settings, decoder.draws),
        encode_points(torch.full((1, 1, 2), 0.4), torch.ones(1, 1), frame, settings),
    ]
    for tokens in parts:
        prediction = decoder(maps, tokens.as_prompt_tokens(), class_embeddings=random(4, 12).bfloat16())
        assert prediction.mask_logits.dtype == torch.bfloat16 and prediction.mask_logits.isfinite().all()


# --- dense memory ---------------------------------------------------------------------------------------------------


def _with_dense(prompts: PromptTokens, frames: int = 2) -> PromptTokens:
    return replace(prompts, dense_logits=5 * random(3, frames, 16, 24, seed=9), dense_features=random(3, frames, 7))


@torch.no_grad()
def test_dense_memory_speaks_alone_at_the_start():
    decoder, maps = small_decoder(dense_memory=True, dense_dim=7), features()
    prompts = _with_dense(visual_prompts())
    prediction = decoder(maps, prompts)
    torch.testing.assert_close(prediction.mask_logits[0, FIVE:], prompts.dense_logits)
    without = decoder(maps, visual_prompts())
    torch.testing.assert_close(prediction.mask_logits[:, :FIVE], without.mask_logits[:, :FIVE])
    # it already steers where the queries look
    assert not torch.allclose(prediction.embeddings[:, FIVE:], without.embeddings[:, FIVE:], atol=1e-3)


@torch.no_grad()
def test_dense_memory_and_queries_are_mixed_by_the_gates():
    decoder, maps = small_decoder(dense_memory=True), features()
    prompts = replace(visual_prompts(), dense_logits=random(3, 2, 16, 24, seed=9))
    decoder.dense_gate.dense_gate.fill_(0.5)
    decoder.dense_gate.query_gate.fill_(2.0)
    prediction = decoder(maps, prompts, mask_queries=torch.tensor([2, 6]))
    own = torch.einsum("ntc,tchw->nthw", prediction.mask_embeddings[0], maps.mask_features)
    torch.testing.assert_close(prediction.mask_logits[0, 0], own[2], atol=1e-4, rtol=1e-4)
    expected = 0.5 * prompts.dense_logits[1] + 2.0 * own[6]
    torch.testing.assert_close(prediction.mask_logits[0, 1], expected, atol=1e-4, rtol=1e-4)


def test_what_the_dense_memory_read_adds_nothing_at_first_and_can_learn():
    decoder, maps = MaskDecoder(replace(SETTINGS, dense_memory=True, dense_dim=7)).eval(), features()
    prompts = visual_prompts()
    read = replace(prompts, dense_features=random(3, 2, 7))
    assert torch.equal(decoder(maps, prompts).embeddings, decoder(maps, read).embeddings)
    decoder(maps, _with_dense(prompts)).mask_logits.square().sum().backward()
    gate = decoder.dense_gate
    assert all(value.grad is not None and value.grad != 0 for value in (gate.dense_gate, gate.query_gate))
    decoder.zero_grad()
    decoder(maps, read).mask_logits.square().sum().backward()
    assert decoder.initial_queries.dense.weight.grad.abs().sum() > 0


# --- construction ---------------------------------------------------------------------------------------------------


def test_optional_parts_exist_only_when_asked_for():
    plain = set(MaskDecoder(SETTINGS).state_dict())
    visual = replace(SETTINGS.visual_prompts, negative_clicks=True)
    full = set(MaskDecoder(replace(SETTINGS, dense_memory=True, dense_dim=7, visual_prompts=visual)).state_dict())
    added = {
        "dense_gate.dense_gate",
        "dense_gate.query_gate",
        "initial_queries.dense.weight",
        "initial_queries.dense.bias",
        "prompt_encoder.negative.weight",
    }
    assert full - plain == added and plain <= full
    assert all(to_published(f"mask_decoder.{name}") for name in plain)
    for name in added:
        with pytest.raises(KeyError):
            to_published(f"mask_decoder.{name}")


@torch.no_grad()
def test_initial_values():
    decoder = MaskDecoder(SETTINGS)
    assert decoder.heads.class_temperature.weight.item() == pytest.approx(INITIAL_TEMPERATURE)
    assert decoder.heads.to_text.weight.std() == pytest.approx(0.02, rel=0.2)
    assert not decoder.layers[0].image_attention.attention.out_proj.bias.any()
    assert decoder.layers[0].image_attention.attention.in_proj_weight.std() > 0.1
    fewer = MaskDecoder(replace(SETTINGS, prompt_layers=2))
    assert [layer.prompt_attention is not None for layer in fewer.layers] == [True, True, False, False]


def test_options_of_visual_prompts_come_from_the_configuration():
    assert mask_decoder_settings(get_config()) == MaskDecoderSettings()
    options = ["NEGATIVE_CLICKS", True, "INDEPENDENT_PROMPTS", True, "PROMPT_TOKENS", 8]
    options[::2] = [f"MODEL.UNIVS.{name}" for name in options[::2]]
    assert mask_decoder_settings(get_config(opts=options)).visual_prompts == VisualPromptSettings(8, True, True)


@pytest.mark.parametrize(
    "wrong", [{"query_attention": "p2l"}, {"temporal_positions": "Fixed"}, {"prompt_layers": 0}, {"hidden_dim": 18}]
)
def test_settings_that_cannot_work_are_refused(wrong):
    with pytest.raises(UserError):
        replace(SETTINGS, **wrong)


def test_the_embedded_size_trains():
    settings = MaskDecoderSettings(
        hidden_dim=DIM, num_queries=4, num_heads=2, feedforward_dim=24, num_layers=3, text_dim=12
    )
    decoder = MASK_DECODER_REGISTRY.get("MaskDecoder")(settings).train()
    maps = features()
    categories = decoder.prompt_encoder.text.categories(random(2, 12), decoder.sources(maps).maps)
    for prompts in (visual_prompts(), categories):
        prediction = decoder(maps, prompts, class_embeddings=random(5, 12))
        (prediction.class_logits.square().sum() + prediction.mask_logits.square().sum()).backward()
    without = {name for name, value in decoder.named_parameters() if value.grad is None}
    assert without == {"heads.identity_temperature.weight", "initial_queries.expression.weight"}

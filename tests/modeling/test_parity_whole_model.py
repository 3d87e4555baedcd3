"""Stored values of whole forwards: training in two stages, gradients, evaluation of one clip."""

from __future__ import annotations

import functools

import pytest
import torch

from tests import parity, rule
from tests.modeling.training_cases import CLASS_RANGES, CONFIGS, case_samples
from univs.config import get_config
from univs.modeling.clip_losses import ClipLosses
from univs.modeling.long_video import LongVideoLosses
from univs.modeling.meta_arch import UniVS
from univs.modeling.published_names import to_published
from univs.modeling.text import ClipTextEncoder
from univs.modeling.text.clip_encoder import build_tower

# stored name of a target's entry -> ours
TARGET_NAMES = {
    "prompt_obj_ids": "prompt_obj_ids",
    "prompt_gt_labels": "prompt_labels",
    "sem_labels": "semantic_labels",
    "ids": "ids",
    "labels": "labels",
}


class _RememberingEncoder(ClipTextEncoder):
    """Encodes a list of sentences once, because cases share them."""

    @functools.cached_property
    def _known(self) -> dict:
        return {}

    def encode(self, texts):
        if tuple(texts) not in self._known:
            self._known[tuple(texts)] = super().encode(texts)
        return self._known[tuple(texts)]


@functools.cache
def _text_encoder(tag: str) -> ClipTextEncoder:
    return _RememberingEncoder(tower=parity.fill(build_tower(), tag, "lang_encoder.", name_of=lambda name: name))


@functools.cache
def _class_table(tag: str, text_dim: int) -> torch.Tensor:
    rows = max(columns.stop for columns in CLASS_RANGES.values())
    return parity.tensor(rule.weight(tag, "clip_cls_text_emb", (rows, text_dim)))


def _options(config: dict) -> list:
    """The sizes of a case as options of our configuration."""
    assert config["mask_dim"] == config["conv_dim"] == config["hidden_dim"]
    sizes = {
        "HIDDEN_DIM": config["hidden_dim"],
        "NUM_QUERIES": config["queries"],
        "NUM_HEADS": config["heads"],
        "FEEDFORWARD_DIM": config["ffn"],
        "DECODER_LAYERS": config["decoder_layers"],
        "PIXEL_DECODER.ENCODER_LAYERS": config["encoder_layers"],
        "TEXT.DIM": config["text_dim"],
        "TEMPORAL_POSITIONS": config["position_embedding"],
        "SELF_ATTENTION": config["self_attn_mask"],
        "PROMPT_TOKENS": config["points_per_prompt"],
        "PROMPT_ATTENTION_LAYERS": config["prompt_self_attn_layers"],
        "TARGETS.MAX_OBJECTS": config["num_pos_queries"],
        "LOSS.NUM_POINTS": config["train_num_points"],
        "TRAINING_PROMPTS.PUBLISHED_FEATURE_ORDER": True,
    }
    device = ["MODEL.DEVICE", str(parity.DEVICE)]
    return device + [part for name, value in sizes.items() for part in (f"MODEL.UNIVS.{name}", value)]


@functools.cache
def _filled_model(tag: str, file: str, options: tuple) -> UniVS:
    """A model with weights by rule, of our configuration of the same name with the sizes of a case."""
    cfg = get_config(CONFIGS / "train" / file, options)
    draws = parity.RuleDraws(parity.all_cases()[0])
    return parity.fill(UniVS(cfg, draws=draws, text_encoder=_text_encoder(tag)), tag)


def _model(case) -> UniVS:
    config = case.config
    options = [*_options(config), "INPUT.CLIP_FRAMES", config["sampling_frame_num"]]
    model = _filled_model(case.tag, config["config"].split("/")[-1], tuple(options))
    model.draws.fixed = parity.RuleDraws(case).fixed
    model.zero_grad()
    dataset = case.inputs["dataset"]
    if dataset in CLASS_RANGES:
        rows = CLASS_RANGES[dataset]
        table = _class_table(case.tag, config["text_dim"])
        model.class_embeddings.set_embeddings(dataset, table[rows.start : rows.stop])
    return model.train(config.get("mode") != "eval")


def _case_class_logits(case, model, prediction):
    """Class logits in the columns of the case: all classes of the table, or the expressions."""
    if case.inputs.get("expressions"):
        return prediction.class_logits
    table = _class_table(case.tag, case.config["text_dim"])
    return model.mask_decoder.heads.class_logits(prediction.embeddings.transpose(1, 2), table)


class _Recorder:
    """Keeps the prediction and the targets of every clip, and the memory of the first one of a long video."""

    def __init__(self, bits, monkeypatch) -> None:
        self.clips, self.memory = [], None
        predict, remember = ClipLosses.predict, LongVideoLosses._memory

        def recorded_predict(losses, features, targets, prompts):
            bits.start(len(self.clips))
            self.clips.append((predict(losses, features, targets, prompts), targets))
            return self.clips[-1][0]

        def recorded_memory(losses, features, target):
            self.memory = remember(losses, features, target)
            return self.memory

        monkeypatch.setattr(ClipLosses, "predict", recorded_predict)
        monkeypatch.setattr(LongVideoLosses, "_memory", recorded_memory)

    def whole_ids(self) -> torch.Tensor:
        """Identities [n, V] of the one video of all clips, which overlap."""
        by_frame = {}
        for _, (target,) in self.clips:
            by_frame |= dict(zip(target.frame_indices.tolist(), target.ids.unbind(1), strict=True))
        return torch.stack([by_frame[frame] for frame in sorted(by_frame)], 1)


def _train(case, monkeypatch):
    """Model, weighted losses, and what was recorded in the training forward of a case."""
    model = _model(case)
    with parity.sign_bits(case) as bits:
        recorder = _Recorder(bits, monkeypatch)
        losses = model(case_samples(case))
    return model, losses, recorder


def _check_targets(case, recorder) -> None:
    for video, target in enumerate(recorder.clips[0][1]):
        if len(recorder.clips) > 1:
            target.ids = recorder.whole_ids()
        for stored, own in TARGET_NAMES.items():
            if f"video{video}_{stored}" in case.outputs:
                case.check(f"video{video}_{stored}", getattr(target, own))


@torch.no_grad()
@pytest.mark.parametrize("case", parity.cases("train_stage"))
def test_parity_training_forward(case, monkeypatch):
    model, losses, recorder = _train(case, monkeypatch)
    for number, (prediction, _) in enumerate(recorder.clips):
        case.check(f"clip{number}_pred_logits", _case_class_logits(case, model, prediction))
        case.check(f"clip{number}_pred_masks", prediction.mask_logits)
        case.check(f"clip{number}_pred_embds", prediction.embeddings)
    _check_targets(case, recorder)
    assert ("pool_feats" in case.outputs) == (recorder.memory is not None)
    if recorder.memory is not None:
        frames = case.config["sampling_frame_num"]
        case.check("pool_feats", recorder.memory.features.expand(-1, -1, frames, -1))
        case.check("pool_pe", recorder.memory.positions.expand(-1, -1, frames, -1))
    case.check_losses(losses)


@pytest.mark.parametrize("case", parity.cases("train_tiny_gradients"))
def test_parity_gradients(case, monkeypatch):
    model, losses, _ = _train(case, monkeypatch)
    case.check_losses(losses)
    total = sum(losses.values())
    case.check("total", total[None])
    total.backward()
    parameters = {to_published(name): parameter for name, parameter in model.named_parameters()}
    for name in case.outputs:
        if name.startswith("grad:"):
            case.check(name, parameters[name.removeprefix("grad:")].grad)
    for name, norm in case.json["gradient_norms"].items():
        gradient = parameters[name].grad
        if norm is None:
            assert gradient is None or not gradient.any(), name
        else:
            assert abs(float(gradient.norm()) - norm) <= max(1e-4, 0.02 * norm), name


@torch.no_grad()
@pytest.mark.parametrize("case", parity.cases("model_eval"))
def test_parity_evaluation_of_a_clip(case):
    model, config = _model(case), case.config
    frames = len(case.inputs["frame_indices"])
    sample = {
        "image": list(torch.from_numpy(rule.image(case.tag, frames, config["H"], config["W"]))),
        "dataset_name": case.inputs["dataset"],
        "frame_indices": case.inputs["frame_indices"],
        "prompt_classes": "class names" in case.inputs["prompts"],
    }
    with parity.sign_bits(case):
        prediction = model([sample])[0]["prediction"]
    case.check("class_logits", _case_class_logits(case, model, prediction))
    case.check("mask_logits", prediction.mask_logits)
    case.check("embeddings", prediction.embeddings)

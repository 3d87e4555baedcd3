"""The optional dense parts of a model, as a configuration asks for them."""

from __future__ import annotations

from collections.abc import Mapping

from detectron2.config import CfgNode
from detectron2.layers import ShapeSpec

from univs.modeling.dense_memory import DenseMemory, DenseMemorySettings
from univs.modeling.prompt_answer import PromptAnswer


def build_dense_memory(cfg: CfgNode, shapes: Mapping[str, ShapeSpec]) -> DenseMemory | None:
    """The dense memory over backbone maps ``res2`` .. ``res4``; None when MODEL.UNIVS.DENSE_MEMORY is off."""
    return DenseMemory(_settings(cfg, shapes)) if cfg.MODEL.UNIVS.DENSE_MEMORY.ENABLED else None


def build_prompt_answer(cfg: CfgNode, shapes: Mapping[str, ShapeSpec]) -> PromptAnswer | None:
    """The head that answers prompts, over ``res2`` .. ``res5``; None when MODEL.UNIVS.PROMPT_ANSWER is off."""
    if not cfg.MODEL.UNIVS.PROMPT_ANSWER.ENABLED:
        return None
    return PromptAnswer(_settings(cfg, shapes), shapes["res5"].channels, cfg.MODEL.UNIVS.TEXT.DIM)


def _settings(cfg: CfgNode, shapes: Mapping[str, ShapeSpec]) -> DenseMemorySettings:
    keys = cfg.MODEL.UNIVS.DENSE_MEMORY
    return DenseMemorySettings(
        fine_channels=shapes["res2"].channels,
        middle_channels=shapes["res3"].channels,
        coarse_channels=shapes["res4"].channels,
        key_dim=keys.KEY_DIM,
        code_dim=keys.CODE_DIM,
        decoder_dim=keys.DECODER_DIM,
        detail_dim=keys.DETAIL_DIM,
        top_k=keys.TOP_K,
    )

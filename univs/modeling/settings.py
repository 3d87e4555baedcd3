"""From a configuration to the settings of the model's parts."""

from __future__ import annotations

from collections.abc import Mapping

from detectron2.config import CfgNode
from detectron2.layers import ShapeSpec

from univs.modeling.class_embeddings import ClassEmbeddings
from univs.modeling.clip_losses import TrainingSettings
from univs.modeling.losses.criterion import CriterionSettings
from univs.modeling.losses.mask import PointSettings
from univs.modeling.losses.matcher import MatcherSettings
from univs.modeling.losses.weights import LossWeights
from univs.modeling.mask_decoder import MaskDecoderSettings
from univs.modeling.pixel_decoder import PixelDecoderSettings
from univs.modeling.prompt_encoder import VisualPromptSettings
from univs.modeling.targets import TargetSettings
from univs.modeling.text import FrozenTextEncoder
from univs.modeling.training_prompts import TrainingPromptSettings


def class_ranges(cfg: CfgNode) -> dict[str, range]:
    """Rows of the class table by short name of the data set."""
    entries = cfg.MODEL.UNIVS.TEXT.CLASS_RANGES
    return {name: range(first, first + count) for name, first, count in entries}


def criterion_settings(cfg: CfgNode) -> CriterionSettings:
    """Settings of matcher and criterion."""
    loss, matcher = cfg.MODEL.UNIVS.LOSS, cfg.MODEL.UNIVS.MATCHER
    return CriterionSettings(
        matcher=MatcherSettings(matcher.CLASS_WEIGHT, matcher.MASK_WEIGHT, matcher.DICE_WEIGHT, loss.NUM_POINTS),
        points=PointSettings(loss.NUM_POINTS, loss.OVERSAMPLE_RATIO, loss.IMPORTANCE_RATIO),
        deep_supervision=loss.DEEP_SUPERVISION,
    )


def loss_weights(cfg: CfgNode) -> LossWeights:
    """Weights of the loss terms."""
    loss = cfg.MODEL.UNIVS.LOSS
    return LossWeights(
        classes=loss.CLASS_WEIGHT,
        mask=loss.MASK_WEIGHT,
        dice=loss.DICE_WEIGHT,
        identity=loss.REID_WEIGHT,
        long_video=cfg.MODEL.UNIVS.LONG_VIDEO.ENABLED,
    )


def target_settings(cfg: CfgNode) -> TargetSettings:
    """How many objects are kept, and how detection data are prompted."""
    keys = cfg.MODEL.UNIVS.TARGETS
    return TargetSettings(
        max_objects=keys.MAX_OBJECTS,
        visual_prompt_share=keys.VISUAL_PROMPT_SHARE,
        visual_prompt_datasets=frozenset(keys.VISUAL_PROMPT_DATASETS),
        crowded_datasets=frozenset(keys.CROWDED_DATASETS),
    )


def training_settings(cfg: CfgNode) -> TrainingSettings:
    """Everything that training on clips needs to know."""
    keys = cfg.MODEL.UNIVS
    prompts = keys.TRAINING_PROMPTS
    return TrainingSettings(
        targets=target_settings(cfg),
        prompts=TrainingPromptSettings(prompts.POINT_SHARE, prompts.BOX_SHARE, prompts.PUBLISHED_FEATURE_ORDER),
        criterion=criterion_settings(cfg),
        weights=loss_weights(cfg),
        clip_frames=cfg.INPUT.CLIP_FRAMES if keys.LONG_VIDEO.ENABLED else 0,
        use_prompts=keys.PROMPT_AS_QUERIES,
    )


def class_embeddings(cfg: CfgNode, encoder: FrozenTextEncoder | None) -> ClassEmbeddings:
    """Embeddings of the classes of data sets."""
    text = cfg.MODEL.UNIVS.TEXT
    return ClassEmbeddings(class_ranges(cfg), text.CLASS_EMBEDDINGS, text.DIM, encoder)


def pixel_decoder_settings(cfg: CfgNode, shapes: Mapping[str, ShapeSpec]) -> PixelDecoderSettings:
    """Sizes of the pixel decoder over backbone maps of the given shapes."""
    keys = cfg.MODEL.UNIVS.PIXEL_DECODER
    return PixelDecoderSettings(
        in_channels={name: shapes[name].channels for name in keys.IN_FEATURES},
        hidden_dim=cfg.MODEL.UNIVS.HIDDEN_DIM,
        encoder_layers=keys.ENCODER_LAYERS,
        feedforward_dim=keys.FEEDFORWARD_DIM,
        heads=keys.NUM_HEADS,
        points=keys.NUM_POINTS,
    )


def mask_decoder_settings(cfg: CfgNode) -> MaskDecoderSettings:
    """Sizes and options of the mask decoder."""
    keys = cfg.MODEL.UNIVS
    return MaskDecoderSettings(
        hidden_dim=keys.HIDDEN_DIM,
        num_queries=keys.NUM_QUERIES,
        num_heads=keys.NUM_HEADS,
        feedforward_dim=keys.FEEDFORWARD_DIM,
        num_layers=keys.DECODER_LAYERS,
        prompt_layers=keys.PROMPT_ATTENTION_LAYERS,
        text_dim=keys.TEXT.DIM,
        query_attention=keys.SELF_ATTENTION,
        temporal_positions=keys.TEMPORAL_POSITIONS,
        language_to_vision=keys.LANGUAGE_TO_VISION,
        visual_prompts=VisualPromptSettings(keys.PROMPT_TOKENS, keys.NEGATIVE_CLICKS, keys.INDEPENDENT_PROMPTS),
        dense_memory=keys.DENSE_MEMORY.ENABLED,
        dense_dim=keys.DENSE_MEMORY.CODE_DIM if keys.DENSE_MEMORY.ENABLED else 0,
    )

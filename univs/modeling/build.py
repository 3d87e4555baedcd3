"""From a configuration to the settings of the parts, and to the whole model."""

from __future__ import annotations

from detectron2.config import CfgNode

from univs.modeling.losses.criterion import CriterionSettings
from univs.modeling.losses.mask import PointSettings
from univs.modeling.losses.matcher import MatcherSettings
from univs.modeling.losses.weights import LossWeights
from univs.modeling.targets import TargetSettings


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
        class_ranges=class_ranges(cfg),
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
    """Which objects are kept, and how detection data are prompted."""
    keys = cfg.MODEL.UNIVS.TARGETS
    return TargetSettings(
        max_objects=keys.MAX_OBJECTS,
        class_ranges=class_ranges(cfg),
        visual_prompt_share=keys.VISUAL_PROMPT_SHARE,
        visual_prompt_datasets=frozenset(keys.VISUAL_PROMPT_DATASETS),
        crowded_datasets=frozenset(keys.CROWDED_DATASETS),
    )

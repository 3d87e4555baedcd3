"""The whole model, as Detectron2 knows it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from detectron2.config import CfgNode, configurable
from detectron2.modeling import META_ARCH_REGISTRY, build_backbone
from torch import Tensor, nn

from univs.errors import UserError
from univs.layers.draws import Draws
from univs.modeling import backbones  # noqa: F401  (registers them)
from univs.modeling import settings as configured
from univs.modeling.class_embeddings import ClassEmbeddings
from univs.modeling.clip_losses import ClipLosses, TrainingSettings
from univs.modeling.dense_memory import DenseMemory
from univs.modeling.dense_parts import build_dense_memory, build_prompt_answer
from univs.modeling.long_video import LongVideoLosses
from univs.modeling.mask_decoder import MASK_DECODER_REGISTRY, MaskDecoder
from univs.modeling.pixel_decoder import PixelDecoder
from univs.modeling.prompt_answer import PromptAnswer
from univs.modeling.text import FrozenTextEncoder, build_text_encoder
from univs.structures import FrameFeatures


@dataclass
class ModelParts:
    """The trained parts; the decoders are None in a model whose dense parts stand alone."""

    backbone: nn.Module
    pixel_decoder: PixelDecoder | None
    mask_decoder: MaskDecoder | None
    dense_memory: DenseMemory | None = None
    prompt_answer: PromptAnswer | None = None


@dataclass(frozen=True)
class InputSettings:
    """How pictures enter: mean and deviation of RGB in 0..255, and the divisor of the padded height and width."""

    pixel_mean: tuple[float, ...] = (123.675, 116.28, 103.53)
    pixel_std: tuple[float, ...] = (58.395, 57.12, 57.375)
    size_divisibility: int = 32


@META_ARCH_REGISTRY.register()
class UniVS(nn.Module):
    """Prompts become queries, queries become masks.

    Training gives weighted losses, inference what the mask decoder says about each clip. Text encoder and class
    embeddings are frozen and no part of the state. ``mask_decoder`` and ``pixel_decoder``, and the dense parts, may be
    None (see ``ModelParts``).
    """

    @configurable
    def __init__(
        self,
        *,
        parts: ModelParts,
        inputs: InputSettings,
        training: TrainingSettings,
        class_embeddings: ClassEmbeddings,
        text_encoder: FrozenTextEncoder | None = None,
        draws: Draws | None = None,
    ) -> None:
        super().__init__()
        self.backbone = parts.backbone
        self.pixel_decoder = parts.pixel_decoder
        self.mask_decoder = parts.mask_decoder
        self.dense_memory = parts.dense_memory
        self.prompt_answer = parts.prompt_answer
        self.text_encoder = text_encoder
        self.class_embeddings = class_embeddings
        self.draws = draws or Draws()
        self.size_divisibility = inputs.size_divisibility
        self.register_buffer("pixel_mean", torch.tensor(inputs.pixel_mean).view(-1, 1, 1), persistent=False)
        self.register_buffer("pixel_std", torch.tensor(inputs.pixel_std).view(-1, 1, 1), persistent=False)
        self.losses: ClipLosses | LongVideoLosses | None = None
        if parts.mask_decoder is not None:
            self.losses = ClipLosses(
                parts.mask_decoder, training, class_embeddings, self.draws, self.encode_expressions
            )
            if training.clip_frames:
                self.losses = LongVideoLosses(self.losses)

    @classmethod
    def from_config(
        cls, cfg: CfgNode, draws: Draws | None = None, text_encoder: FrozenTextEncoder | None = None
    ) -> dict[str, Any]:
        """Arguments of the constructor from a configuration; ``text_encoder`` instead of the configured one."""
        draws = draws or Draws(max(cfg.SEED, 0))
        text_encoder = text_encoder or build_text_encoder(cfg)
        return {
            "parts": _build_parts(cfg, draws),
            "inputs": InputSettings(
                tuple(cfg.MODEL.PIXEL_MEAN), tuple(cfg.MODEL.PIXEL_STD), cfg.MODEL.UNIVS.SIZE_DIVISIBILITY
            ),
            "training": configured.training_settings(cfg),
            "class_embeddings": configured.class_embeddings(cfg, text_encoder),
            "text_encoder": text_encoder,
            "draws": draws,
        }

    @property
    def device(self) -> torch.device:
        """Where the model runs."""
        return self.pixel_mean.device

    def forward(self, batched_inputs: Sequence[Mapping[str, Any]]) -> dict[str, Tensor] | list[dict[str, Any]]:
        """Losses of a batch in training; what is seen in each clip in inference.

        Args:
            batched_inputs: B samples with ``image``, a list of T tensors [3, H, W] (or one of them) of RGB in 0..255.
                Training: see ``TargetBuilder`` for the rest. Inference: optionally ``dataset_name`` (its classes are
                scored) or ``class_embeddings`` [V, D], ``prompt_classes`` (True: the classes are prompts too) or
                ``prompts`` (``PromptTokens``).

        Returns:
            Training: weighted losses by name. Inference: per sample a dict with ``prediction``, a ``ClipPrediction``
            of B = 1, and ``image_size`` and ``padded_size``, (height, width) of the network input without and with
            padding.
        """
        if not self.training:
            return [self._inference(sample) for sample in batched_inputs]
        if self.losses is None:
            raise UserError("This model has no mask decoder to train; set MODEL.UNIVS.QUERIES to True.")
        return self.losses(self.encode(self.normalised_frames(batched_inputs)), batched_inputs)

    def normalised_frames(self, samples: Sequence[Mapping[str, Any]]) -> Tensor:
        """All frames of all samples [B * T, 3, H, W], normalised; smaller ones padded with zeros, the mean colour."""
        frames = [frame for sample in samples for frame in _frames_of(sample)]
        frames = [(frame.to(self.device).float() - self.pixel_mean) / self.pixel_std for frame in frames]
        height, width = (max(frame.shape[side] for frame in frames) for side in (1, 2))
        padded = [F.pad(frame, (0, width - frame.shape[2], 0, height - frame.shape[1])) for frame in frames]
        return torch.stack(padded)

    def encode(self, images: Tensor, queries: bool = True) -> FrameFeatures:
        """Features of F normalised frames [F, 3, H, W], padded on the right and at the bottom as the model needs it.

        The backbone's own maps are kept where the model has dense parts; without decoders, or when
        no ``queries`` will be asked, there are no levels, and the mask features have no channels.
        """
        height, width = images.shape[-2:]
        below, right = (-side % self.size_divisibility for side in (height, width))
        maps = self.backbone(F.pad(images, (0, right, 0, below)))
        padded_size = (height + below, width + right)
        if self.pixel_decoder is None or not queries:
            levels, mask_features = [], images.new_zeros(len(images), 0, padded_size[0] // 4, padded_size[1] // 4)
        else:
            levels, mask_features = self.pixel_decoder(maps)
        is_dense = self.dense_memory is not None or self.prompt_answer is not None
        return FrameFeatures(levels, mask_features, (height, width), padded_size, dict(maps) if is_dense else {})

    @torch.no_grad()
    def encode_expressions(self, sentences: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Embeddings of the words [N, L, D] (zero where there is none) and of the whole sentences [N, D]."""
        if self.text_encoder is None:
            raise UserError("Sentences need a text encoder, and MODEL.UNIVS.TEXT.ENCODER is NONE.")
        encoder = self.text_encoder.to(self.device)
        words, used = encoder.tokens(sentences)
        return words * used.unsqueeze(2), encoder.encode(sentences)

    @torch.no_grad()
    def _inference(self, sample: Mapping[str, Any]) -> dict[str, Any]:
        features = self.encode(self.normalised_frames([sample]))
        classes = sample.get("class_embeddings")
        if classes is None:
            classes = self.class_embeddings(sample.get("dataset_name", ""), self.device)
        prompts = sample.get("prompts")
        if sample.get("prompt_classes", False) and classes is not None:
            sources = self.mask_decoder.sources(features).maps
            prompts = self.mask_decoder.prompt_encoder.text.categories(classes, sources)
        prediction = self.mask_decoder(features, prompts, class_embeddings=classes)
        return {
            "prediction": prediction,
            "image_size": features.image_size,
            "padded_size": features.padded_size,
        }


def _frames_of(sample: Mapping[str, Any]) -> list[Tensor]:
    """The frames [3, H, W] of a sample; a picture is a clip of one frame."""
    image = sample["image"]
    return [image] if isinstance(image, Tensor) and image.dim() == 3 else list(image)


def _build_parts(cfg: CfgNode, draws: Draws) -> ModelParts:
    backbone = build_backbone(cfg)
    shapes = backbone.output_shape()
    keys = cfg.MODEL.UNIVS
    if not keys.QUERIES and not keys.DENSE_MEMORY.ENABLED:
        raise UserError("MODEL.UNIVS.QUERIES and MODEL.UNIVS.DENSE_MEMORY.ENABLED are both off: nothing would segment.")
    decoder = MASK_DECODER_REGISTRY.get(keys.MASK_DECODER) if keys.QUERIES else None
    return ModelParts(
        backbone=backbone,
        pixel_decoder=PixelDecoder(configured.pixel_decoder_settings(cfg, shapes)) if keys.QUERIES else None,
        mask_decoder=decoder(configured.mask_decoder_settings(cfg), draws) if keys.QUERIES else None,
        dense_memory=build_dense_memory(cfg, shapes),
        prompt_answer=build_prompt_answer(cfg, shapes),
    )

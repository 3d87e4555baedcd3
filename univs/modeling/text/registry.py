"""The registry of text encoders and what each of them offers."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from detectron2.config import CfgNode
from fvcore.common.registry import Registry
from torch import Tensor

from univs.errors import UserError

TEXT_ENCODER_REGISTRY = Registry("TEXT_ENCODER")
TEXT_ENCODER_REGISTRY.__doc__ = "Text encoders by class name; each is made by its ``from_config(cfg)``."
NO_ENCODER = "NONE"


class FrozenTextEncoder(ABC):
    """Turns texts into embeddings; never trained, and therefore no part of a model's state.

    dim: D, width of the embeddings. Weights are read when the first text is encoded.
    """

    dim: int

    @classmethod
    @abstractmethod
    def from_config(cls, cfg: CfgNode) -> FrozenTextEncoder:
        """Make the encoder that MODEL.UNIVS.TEXT describes."""

    @abstractmethod
    def encode(self, texts: Sequence[str]) -> Tensor:
        """One embedding per text, [N, D]."""

    @abstractmethod
    def tokens(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Embeddings of the words [N, L, D], and which of them the encoder means to be used, bool [N, L]."""

    @abstractmethod
    def encode_classes(self, names: Sequence[str]) -> Tensor:
        """One embedding per class name as data sets write them ("fire_hydrant"), [N, D]."""

    @abstractmethod
    def fingerprint(self) -> str:
        """Hash of everything that the embeddings depend on besides the text."""

    @abstractmethod
    def to(self, device: torch.device | str) -> FrozenTextEncoder:
        """Move to a device, in place."""


def build_text_encoder(cfg: CfgNode) -> FrozenTextEncoder | None:
    """The encoder named MODEL.UNIVS.TEXT.ENCODER; None for "NONE". UserError for an unknown name."""
    name = cfg.MODEL.UNIVS.TEXT.ENCODER
    if name == NO_ENCODER:
        return None
    if name not in TEXT_ENCODER_REGISTRY:
        known = ", ".join(sorted(entry for entry, _ in TEXT_ENCODER_REGISTRY))
        raise UserError(f"MODEL.UNIVS.TEXT.ENCODER is '{name}'; there are {known} and {NO_ENCODER}.")
    return TEXT_ENCODER_REGISTRY.get(name).from_config(cfg)


def warn_of_truncation(text: str, limit: int, dropped: str) -> None:
    """Tell the user which end of a text the encoder does not read."""
    start = text if len(text) <= 40 else f"{text[:40]}..."
    warnings.warn(
        f"The text '{start}' is longer than the {limit} tokens that the encoder reads; not read: '{dropped.strip()}'.",
        stacklevel=3,
    )

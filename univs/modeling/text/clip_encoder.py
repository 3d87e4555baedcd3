"""The text tower of CLIP RN50x4 (Radford et al. 2021) with prompt templates."""

from __future__ import annotations

import functools
import hashlib
import logging
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from detectron2.config import CfgNode
from torch import Tensor, nn

from univs.errors import UserError
from univs.modeling.text.registry import TEXT_ENCODER_REGISTRY, FrozenTextEncoder, warn_of_truncation
from univs.modeling.text.templates import BARE_TEMPLATE, class_sentences, clean_class_name, expression_sentences
from univs.modeling.weight_files import read_checkpoint

WIDTH, HEADS, LAYERS = 640, 10, 12
HUB_MODEL, DEFAULT_HUB_NAME = "RN50x4", "openai"
# texts whose templates are made together, and rows of similar length that go through the tower together
TEXTS_AT_ONCE = 16
ROWS_AT_ONCE = 64


@TEXT_ENCODER_REGISTRY.register()
class ClipTextEncoder(FrozenTextEncoder):
    """Sentences are the mean over 81 templates, words the 77 positions of the bare text; nothing is normalised.

    weights: file with the tower's state, or a name that Open CLIP knows for RN50x4; read when first needed.
    tower: the tower itself, instead of weights.
    """

    dim = WIDTH

    def __init__(self, weights: str = DEFAULT_HUB_NAME, tower: nn.Module | None = None) -> None:
        self._weights = weights
        self._device = torch.device("cpu")
        if tower is not None:
            self.tower = tower.requires_grad_(False).eval()

    @classmethod
    def from_config(cls, cfg: CfgNode) -> ClipTextEncoder:
        """Weights from MODEL.UNIVS.TEXT.WEIGHTS; without, those that Open CLIP calls "openai"."""
        return cls(cfg.MODEL.UNIVS.TEXT.WEIGHTS or DEFAULT_HUB_NAME)

    @functools.cached_property
    def tower(self) -> nn.Module:
        """Open CLIP's text transformer with the weights loaded."""
        tower = build_tower()
        shapes = {name: value.shape for name, value in tower.state_dict().items()}
        tower.load_state_dict(tower_state(self._weights, shapes))
        return tower.requires_grad_(False).eval().to(self._device)

    @functools.cached_property
    def tokenizer(self) -> ClipTokenizer:  # noqa: F821
        """The tokenizer; imported late because Open CLIP takes seconds to import."""
        from univs.modeling.text.tokenizer import ClipTokenizer

        return ClipTokenizer()

    def to(self, device: torch.device | str) -> ClipTextEncoder:
        """Move to a device, in place."""
        self._device = torch.device(device)
        if "tower" in self.__dict__:
            self.tower.to(self._device)
        return self

    def encode(self, texts: Sequence[str]) -> Tensor:
        """Embeddings of expressions, [N, 640]."""
        for text in texts:
            self._warn_if_cut(text)
        return self._mean_over_sentences([expression_sentences(text) for text in texts])

    def encode_classes(self, names: Sequence[str]) -> Tensor:
        """Embeddings of class names, [N, 640]."""
        return self._mean_over_sentences([class_sentences(clean_class_name(name)) for name in names])

    def tokens(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Features of all 77 positions of the bare text [N, 77, 640]; all are meant to be used, bool [N, 77]."""
        for text in texts:
            self._warn_if_cut(text)
        rows = self.tokenizer.rows([BARE_TEMPLATE.replace("{}", text) for text in texts]).to(self._device)
        return self.features(rows), torch.ones_like(rows, dtype=torch.bool)

    @torch.no_grad()
    def features(self, rows: Tensor) -> Tensor:
        """Projected features [N, L, 640] of rows of tokens [N, L], L at most 77."""
        length, tower = rows.shape[1], self.tower
        x = tower.token_embedding(rows) + tower.positional_embedding[:length]
        x = tower.transformer(x, attn_mask=tower.attn_mask[:length, :length])
        return tower.ln_final(x) @ tower.text_projection

    def sentence_features(self, rows: Tensor) -> Tensor:
        """Features [N, 640] of rows [N, 77] at the largest token, which is the end token where there is one."""
        ends = rows.argmax(1)
        sentences = torch.empty(len(rows), self.dim, device=rows.device)
        for group in ends.argsort().split(ROWS_AT_ONCE):
            # no position sees a later one, so what follows the last end of the group can be left out
            features = self.features(rows[group, : int(ends[group].max()) + 1])
            sentences[group] = features[torch.arange(len(group), device=rows.device), ends[group]]
        return sentences

    def fingerprint(self) -> str:
        """Hash of the tower's weights."""
        digest = hashlib.sha256(type(self).__name__.encode())
        for name, value in sorted(self.tower.state_dict().items()):
            digest.update(name.encode())
            digest.update(value.cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()

    def _mean_over_sentences(self, sentences: Sequence[Sequence[str]]) -> Tensor:
        """Mean sentence feature of every text, [N, 640]."""
        means = [torch.zeros(0, self.dim, device=self._device)]
        for start in range(0, len(sentences), TEXTS_AT_ONCE):
            group = sentences[start : start + TEXTS_AT_ONCE]
            rows = self.tokenizer.rows([sentence for text in group for sentence in text]).to(self._device)
            means.append(self.sentence_features(rows).unflatten(0, (len(group), -1)).mean(1))
        return torch.cat(means)

    def _warn_if_cut(self, text: str) -> None:
        dropped = self.tokenizer.unread(text)
        if dropped:
            from univs.modeling.text.tokenizer import CONTEXT

            warn_of_truncation(text, CONTEXT, dropped)


def build_tower() -> nn.Module:
    """Open CLIP's text transformer with the sizes of RN50x4, not initialised with trained weights."""
    from open_clip.transformer import QuickGELU, TextTransformer

    return TextTransformer(
        context_length=77, width=WIDTH, heads=HEADS, layers=LAYERS, output_dim=WIDTH, act_layer=QuickGELU
    )


def tower_state(weights: str, shapes: Mapping[str, Sequence[int]]) -> dict[str, Tensor]:
    """State of the tower from a file, or from Open CLIP's hub where ``weights`` is no file.

    A file may hold the state of the tower alone or of a whole CLIP model, plain or under "model" or "state_dict", or
    be the archive of TorchScript in which CLIP was published; ``shapes`` by key are what is wanted of it.
    Raises UserError if it cannot be read or lacks keys.
    """
    local = Path(weights).is_file() or Path(weights).suffix
    state = read_checkpoint(weights)["model"] if local else _hub_state(weights)
    missing = sorted(shapes.keys() - state.keys())
    if missing:
        raise UserError(f"The text encoder's weights '{weights}' lack {len(missing)} entries, first '{missing[0]}'.")
    unequal = [key for key in sorted(shapes) if tuple(state[key].shape) != tuple(shapes[key])]
    if unequal:
        raise UserError(
            f"The text encoder's weights '{weights}' are not those of {HUB_MODEL}: '{unequal[0]}' has the shape "
            f"{list(state[unequal[0]].shape)} instead of {list(shapes[unequal[0]])}."
        )
    return {key: state[key].float() for key in shapes}


def _hub_state(name: str) -> dict[str, Tensor]:
    import open_clip

    known = open_clip.list_pretrained_tags_by_model(HUB_MODEL)
    if name not in known:
        raise UserError(
            f"'{name}' is neither a file nor a name that Open CLIP knows for {HUB_MODEL} ({', '.join(known)})."
        )
    warnings.warn(
        f"The text encoder's weights '{name}' are read through Open CLIP, which fetches some 400 MB the first time.",
        stacklevel=2,
    )
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)  # of a machine without a network, each attempt would be told several times
    try:
        return open_clip.create_model(HUB_MODEL, pretrained=name).state_dict()
    except Exception as error:  # whatever goes wrong on the way to a hub
        reason = str(error).split(". ")[0]
        raise UserError(
            f"The text encoder's weights '{name}' are not on this machine and could not be fetched ({reason}); name a "
            f"file of CLIP {HUB_MODEL} in MODEL.UNIVS.TEXT.WEIGHTS, or, where only names of published classes are "
            "asked for, the published table of classes in MODEL.UNIVS.TEXT.CLASS_EMBEDDINGS (`univs demo` takes keys "
            "as --set KEY=VALUE)."
        ) from error
    finally:
        logging.disable(before)

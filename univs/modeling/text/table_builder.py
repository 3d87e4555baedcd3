"""Makes the table of the static text encoder from a small sentence encoder of the BERT family (all-MiniLM-L6-v2).

Every word piece is encoded alone, as [CLS] piece [SEP]; the mean of the outputs is scaled to unit length, the mean of
all pieces is taken away, and the leading principal directions are kept as 8-bit integers.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from univs.modeling.text.static_encoder import StaticTextEncoder

FUNCTION_WORD_WEIGHT = 0.1
PIECES_AT_ONCE = 512
LARGEST = 127


@dataclass
class SentenceModel:
    """A BERT encoder: summed embeddings, then layers that normalise after the residual."""

    words: Tensor  # [V, C]
    places: Tensor  # [P, C], the place's embedding plus that of the first segment
    norm: nn.LayerNorm
    layers: nn.TransformerEncoder

    @torch.no_grad()
    def encode(self, tokens: Tensor) -> Tensor:
        """Unit-length mean of the outputs [N, C] for rows of tokens [N, L]."""
        x = self.norm(self.words[tokens] + self.places[: tokens.shape[1]])
        return F.normalize(self.layers(x).mean(1), dim=1)


def read_sentence_model(folder: Path) -> SentenceModel:
    """Read config.json and model.safetensors in the layout of Hugging Face's BERT."""
    config = json.loads((folder / "config.json").read_text())
    state = {key.removeprefix("bert."): value for key, value in load_file(folder / "model.safetensors").items()}
    dim, eps = config["hidden_size"], config["layer_norm_eps"]
    norm = nn.LayerNorm(dim, eps=eps)
    norm.load_state_dict(_pair(state, "embeddings.LayerNorm"))
    layer = nn.TransformerEncoderLayer(
        dim, config["num_attention_heads"], config["intermediate_size"], 0.0, "gelu", eps, batch_first=True
    )
    layers = nn.TransformerEncoder(layer, config["num_hidden_layers"], enable_nested_tensor=False).eval()
    for number, target in enumerate(layers.layers):
        target.load_state_dict(_layer_state(state, f"encoder.layer.{number}"))
    segment = state["embeddings.token_type_embeddings.weight"][0]
    places = state["embeddings.position_embeddings.weight"] + segment
    return SentenceModel(state["embeddings.word_embeddings.weight"], places, norm, layers)


def _pair(state: Mapping[str, Tensor], name: str, prefix: str = "") -> dict[str, Tensor]:
    return {f"{prefix}{leaf}": state[f"{name}.{leaf}"] for leaf in ("weight", "bias")}


def _layer_state(state: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    """State of torch's encoder layer from that of BERT's."""
    packed = {
        f"self_attn.in_proj_{leaf}": torch.cat(
            [state[f"{name}.attention.self.{part}.{leaf}"] for part in ("query", "key", "value")]
        )
        for leaf in ("weight", "bias")
    }
    return {
        **packed,
        **_pair(state, f"{name}.attention.output.dense", "self_attn.out_proj."),
        **_pair(state, f"{name}.attention.output.LayerNorm", "norm1."),
        **_pair(state, f"{name}.intermediate.dense", "linear1."),
        **_pair(state, f"{name}.output.dense", "linear2."),
        **_pair(state, f"{name}.output.LayerNorm", "norm2."),
    }


def piece_embeddings(model: SentenceModel, vocabulary: Sequence[str]) -> tuple[list[str], Tensor]:
    """The pieces that texts can contain (no "[CLS]" and the like) and their embeddings [V, C]."""
    start, end = vocabulary.index("[CLS]"), vocabulary.index("[SEP]")
    numbers = [n for n, piece in enumerate(vocabulary) if piece and not (len(piece) > 1 and piece[0] == "[")]
    rows = torch.tensor([(start, number, end) for number in numbers])
    embeddings = torch.cat([model.encode(group) for group in rows.split(PIECES_AT_ONCE)])
    return [vocabulary[number] for number in numbers], embeddings


def principal_directions(embeddings: Tensor, dim: int) -> Tensor:
    """Embeddings [V, C] without their mean, in their ``dim`` leading principal directions, [V, dim]."""
    centred = embeddings.double() - embeddings.double().mean(0)
    directions = torch.linalg.eigh(centred.t() @ centred).eigenvectors.flip(1)[:, :dim]
    # the sign of an eigenvector is free: its largest entry is made positive, so that every machine makes the same table
    signs = directions.gather(0, directions.abs().argmax(0, keepdim=True)).sign()
    return (centred @ (directions * signs)).float()


def write_table(path: Path, pieces: Sequence[str], vectors: Tensor) -> None:
    """Write the table of `StaticTextEncoder`: pieces and the directions of their vectors [V, D] as 8-bit integers."""
    small = (Path(__file__).parent / "function_words.txt").read_text().split()
    weights = torch.ones(len(pieces), dtype=torch.float16)
    weights[[number for number, piece in enumerate(pieces) if piece in set(small)]] = FUNCTION_WORD_WEIGHT
    directions = (vectors / vectors.abs().amax(1, keepdim=True) * LARGEST).round().to(torch.int8)
    packed = np.frombuffer(zlib.compress("\n".join(pieces).encode("utf-8"), 9), np.uint8)
    tensors = {"directions": directions, "weights": weights, "pieces": torch.from_numpy(packed.copy())}
    save_file(tensors, path)


def share_of_categories_found(encoder: StaticTextEncoder, sentences: Mapping[str, Sequence[str]], top: int) -> float:
    """Share of sentences one of whose categories is among the ``top`` most similar of all categories.

    sentences: the right categories by sentence.
    """
    categories = sorted({category for right in sentences.values() for category in right})
    similarity = encoder.encode(list(sentences)) @ encoder.encode(categories).t()
    best = similarity.topk(min(top, len(categories)), dim=1).indices.tolist()
    hits = [
        any(categories[number] in right for number in row) for row, right in zip(best, sentences.values(), strict=True)
    ]
    return sum(hits) / len(hits)

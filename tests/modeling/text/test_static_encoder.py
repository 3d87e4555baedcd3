"""The static text encoder, its table, and the making of the table."""

from __future__ import annotations

import json

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from tools.build_text_table import main
from univs.config import get_config
from univs.errors import UserError
from univs.modeling.text import StaticTextEncoder, build_text_encoder
from univs.modeling.text.static_encoder import MAX_PIECES, WordPieces, split_words
from univs.modeling.text.table_builder import principal_directions, write_table

PIECES = ["the", "brown", "dog", "dogs", "##s", "run", "##ning", "re", "##run", ".", "e"]


@pytest.fixture(scope="module")
def vectors():
    return torch.randn(len(PIECES), 8, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def encoder(vectors, tmp_path_factory):
    path = tmp_path_factory.mktemp("table") / "table.safetensors"
    write_table(path, PIECES, vectors)
    return StaticTextEncoder(path)


def test_words_are_lower_case_without_accents_and_invisible_signs():
    assert split_words("Café\tNAÏVE") == ["cafe", "naive"]
    assert split_words("don't stop: 3.5%") == ["don", "'", "t", "stop", ":", "3", ".", "5", "%"]
    assert split_words("zero\u200bwidth \u72d7\u5728") == ["zerowidth", "\u72d7", "\u5728"]


def test_words_split_into_their_longest_pieces():
    pieces = WordPieces(PIECES)
    names = [[PIECES[n] for n in pieces.split(text)] for text in ("dogs running.", "rerun", "dog cat", "")]
    assert names == [["dogs", "run", "##ning", "."], ["re", "##run"], ["dog"], []]


def test_sentences_are_weighted_sums_of_unit_length(encoder, vectors):
    unit = F.normalize(vectors, dim=1)
    expected = F.normalize(0.1 * unit[0] + unit[1] + unit[2], dim=0)
    embeddings = encoder.encode(["The brown dog", "brown"])
    torch.testing.assert_close(embeddings[0], expected, atol=0.02, rtol=0)
    torch.testing.assert_close(embeddings.norm(dim=1), torch.ones(2))
    assert encoder.encode(["", "xyz"]).abs().sum() == 0
    assert encoder.encode([]).shape == (0, 8)


def test_class_names_are_cleaned(encoder):
    torch.testing.assert_close(encoder.encode_classes(["Brown_Dog (2)"]), encoder.encode(["brown dog"]))


def test_tokens_are_padded_and_masked(encoder, vectors):
    embeddings, mask = encoder.tokens(["brown dogs.", "dog"])
    assert embeddings.shape == (2, 3, 8)
    assert mask.tolist() == [[True, True, True], [True, False, False]]
    torch.testing.assert_close(embeddings[1, 0], F.normalize(vectors[2], dim=0), atol=0.02, rtol=0)
    assert embeddings[1, 1:].abs().sum() == 0


def test_a_text_that_is_too_long_is_cut_with_a_warning(encoder):
    with pytest.warns(UserWarning, match="not read: 'running'"):
        _, mask = encoder.tokens(["dog " * MAX_PIECES + "running"])
    assert mask.shape == (1, MAX_PIECES)


def test_other_files_are_refused(tmp_path):
    path = tmp_path / "other.safetensors"
    save_file({"x": torch.zeros(1)}, path)
    for wrong in (path, tmp_path / "absent.safetensors"):
        with pytest.raises(UserError, match="cannot be read"):
            StaticTextEncoder(wrong).encode(["dog"])


def test_principal_directions_keep_what_differs():
    basis = torch.linalg.qr(torch.randn(6, 6, generator=torch.Generator().manual_seed(1))).Q
    hidden = torch.randn(40, 6, generator=torch.Generator().manual_seed(2)) * torch.tensor([5.0, 3, 1e-3, 1e-3, 0, 0])
    reduced = principal_directions(hidden @ basis + 7.0, 2)
    centred = hidden - hidden.mean(0)
    torch.testing.assert_close(reduced @ reduced.t(), centred @ centred.t(), atol=1e-2, rtol=1e-3)


def _bert_layer_names():
    attention = [f"attention.self.{part}" for part in ("query", "key", "value")] + ["attention.output.dense"]
    return {
        **dict.fromkeys(attention, (8, 8)),
        "intermediate.dense": (16, 8),
        "output.dense": (8, 16),
        "attention.output.LayerNorm": (8,),
        "output.LayerNorm": (8,),
    }


def _bert(folder):
    """A folder with a tiny BERT of random weights."""
    generator = torch.Generator().manual_seed(0)
    state = {
        f"embeddings.{part}_embeddings.weight": torch.randn(rows, 8, generator=generator)
        for part, rows in (("word", 9), ("position", 4), ("token_type", 2))
    }
    layer = {f"encoder.layer.0.{name}": shape for name, shape in _bert_layer_names().items()}
    for name, shape in {"embeddings.LayerNorm": (8,), **layer}.items():
        state[f"{name}.weight"] = torch.randn(shape, generator=generator)
        state[f"{name}.bias"] = torch.randn(shape[0], generator=generator)
    save_file(state, folder / "model.safetensors")
    sizes = {"hidden_size": 8, "num_attention_heads": 2, "intermediate_size": 16, "num_hidden_layers": 1}
    (folder / "config.json").write_text(json.dumps({**sizes, "layer_norm_eps": 1e-12}))
    vocabulary = ["[PAD]", "[CLS]", "[SEP]", "bear", "dog", "cat", "the", "##s", "["]
    (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n")
    return state


def _mean_output(state, numbers):
    """Unit-length mean output of a row of tokens, written out."""

    def linear(x, name):
        return x @ state[f"{name}.weight"].t() + state[f"{name}.bias"]

    def norm(x, name):
        return F.layer_norm(x, (8,), state[f"{name}.weight"], state[f"{name}.bias"], 1e-12)

    places = state["embeddings.position_embeddings.weight"][: len(numbers)]
    x = (
        state["embeddings.word_embeddings.weight"][numbers]
        + places
        + state["embeddings.token_type_embeddings.weight"][0]
    )
    x, layer = norm(x, "embeddings.LayerNorm"), "encoder.layer.0"
    parts = [linear(x, f"{layer}.attention.self.{part}").view(-1, 2, 4) for part in ("query", "key", "value")]
    scores = torch.einsum("ihd,jhd->hij", parts[0], parts[1]) / 2.0
    attended = torch.einsum("hij,jhd->ihd", scores.softmax(-1), parts[2]).flatten(1)
    x = norm(x + linear(attended, f"{layer}.attention.output.dense"), f"{layer}.attention.output.LayerNorm")
    hidden = F.gelu(linear(x, f"{layer}.intermediate.dense"))
    x = norm(x + linear(hidden, f"{layer}.output.dense"), f"{layer}.output.LayerNorm")
    return F.normalize(x.mean(0), dim=0)


def test_the_tool_makes_the_table_of_a_sentence_encoder(tmp_path, capsys):
    state = _bert(tmp_path)
    (tmp_path / "check.json").write_text(json.dumps({"the bear": ["bear"], "dogs": ["dog"]}))
    output = tmp_path / "table.safetensors"
    main(["--model", str(tmp_path), "--output", str(output), "--dim", "5", "--check", str(tmp_path / "check.json")])
    printed = capsys.readouterr().out
    assert "6 word pieces" in printed and "among the best 1" in printed

    # six pieces less their mean span five dimensions: nothing but the rounding to 8 bits is lost
    encoded = torch.stack([_mean_output(state, [1, number, 2]) for number in (3, 4, 5, 6, 7, 8)])
    expected = F.normalize(encoded - encoded.mean(0), dim=1)
    embeddings = StaticTextEncoder(output).encode(["bear", "dog", "cat"])
    torch.testing.assert_close(embeddings @ embeddings.t(), expected[:3] @ expected[:3].t(), atol=0.02, rtol=0)


def test_the_table_that_comes_with_the_library():
    encoder = build_text_encoder(get_config(None, ["MODEL.UNIVS.TEXT.ENCODER", "StaticTextEncoder"]))
    assert encoder.dim == 256
    names = ["bear", "bird", "car", "person", "bicycle"]
    sentences = ["a furry grizzly", "the swan near the bank", "the driver's limousine", "a woman", "two cyclists"]
    similarity = encoder.encode(sentences) @ encoder.encode_classes(names).t()
    assert similarity.argmax(1).tolist() == [0, 1, 2, 3, 4]

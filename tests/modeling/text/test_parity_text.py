"""Stored values of the tokenizer, the templates and the text tower."""

from __future__ import annotations

import pytest
import torch

from tests import parity
from univs.modeling.text.clip_encoder import ClipTextEncoder, build_tower
from univs.modeling.text.templates import class_sentences, clean_class_name, expression_sentences
from univs.modeling.text.tokenizer import ClipTokenizer


@pytest.fixture(scope="module")
def tokenizer():
    return ClipTokenizer()


@pytest.mark.parametrize("case", parity.cases("text_tokenizer"))
def test_parity_tokenizer(case, tokenizer):
    for entry in case.json["strings"]:
        text = entry["text"]
        assert tokenizer.encode(text) == entry["ids"], text
        row = tokenizer.rows([text])[0].tolist()
        assert row[: len(entry["row"])] == entry["row"] and not any(row[len(entry["row"]) :]), text
        assert tokenizer.decode(entry["ids"]) == entry["decoded"], text
        assert clean_class_name(text) == entry["clean"], text


@pytest.mark.parametrize("case", parity.cases("text_tokenizer"))
def test_parity_templates(case, tokenizer):
    for key, output, sentences in (
        ("class_names", "class_rows", class_sentences),
        ("expressions", "expression_rows", expression_sentences),
    ):
        case.check(output, torch.stack([tokenizer.rows(sentences(text)) for text in case.json[key]]))


@pytest.mark.parametrize("case", parity.cases("text_encoder"))
def test_parity_text_encoder(case):
    tower = parity.fill(build_tower(), case.tag, "lang_encoder.", name_of=str)
    encoder = ClipTextEncoder(tower=tower).to(parity.DEVICE)
    expressions, frames = case.inputs["expressions"], case.config["frames"]
    chosen = [expression_sentences(text)[number] for text in expressions for number in case.config["templates_used"]]
    rows = encoder.tokenizer.rows(chosen).to(parity.DEVICE)
    case.check("words", encoder.features(rows))
    case.check("sentence", encoder.sentence_features(rows))
    words, used = encoder.tokens(expressions)
    assert used.all()
    case.check("expression_words", words.unsqueeze(2).expand(-1, -1, frames, -1))
    case.check("expression_sentence", encoder.encode(expressions).unsqueeze(1).expand(-1, frames, -1))
    case.check("class_embedding", encoder.encode_classes([case.inputs["class_name"]])[0])

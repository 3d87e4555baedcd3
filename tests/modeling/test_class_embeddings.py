"""Class embeddings by data set: from a table, from names, or refused with a reason."""

from __future__ import annotations

import pytest
import torch

from univs.errors import UserError
from univs.modeling.class_embeddings import ClassEmbeddings

RANGES = {"animals": range(0, 3), "plants": range(3, 5)}


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "table.pth"
    torch.save(torch.arange(20.0).view(5, 4), path)
    return path


def test_a_data_set_has_its_rows_of_the_table(table):
    embeddings = ClassEmbeddings(RANGES, table, 4)
    assert embeddings("plants").tolist() == [[12, 13, 14, 15], [16, 17, 18, 19]]
    assert embeddings("stones") is None
    assert embeddings.num_classes == {"animals": 3, "plants": 2}


def test_embeddings_can_be_given():
    embeddings = ClassEmbeddings(RANGES, "", 4)
    embeddings.set_embeddings("stones", torch.ones(2, 4))
    assert embeddings("stones").shape == (2, 4)
    assert embeddings.num_classes["stones"] == 2


def test_names_become_embeddings(monkeypatch, tmp_path):
    monkeypatch.setenv("UNIVS_CACHE", str(tmp_path))

    class Lengths:
        def fingerprint(self):
            return "lengths"

        def encode_classes(self, names):
            return torch.tensor([[float(len(name))] for name in names])

    embeddings = ClassEmbeddings({}, "", 1, Lengths())
    embeddings.set_names("animals", ["cat", "horse"])
    assert embeddings("animals").tolist() == [[3], [5]]


def test_names_of_a_data_set_become_embeddings_at_first_use(monkeypatch, tmp_path):
    monkeypatch.setenv("UNIVS_CACHE", str(tmp_path))
    asked = []

    class Lengths:
        def fingerprint(self):
            return "lengths"

        def encode_classes(self, names):
            asked.append(tuple(names))
            return torch.tensor([[float(len(name))] for name in names])

    for _ in range(2):  # the second time from the disk
        embeddings = ClassEmbeddings({"plants": range(3, 5), "trees": range(3, 6)}, "", 1, Lengths())
        embeddings.names_of = {"plants": ("oak", "nettle"), "trees": ("oak",)}.__getitem__
        assert embeddings("plants").tolist() == [[3], [6]]
    assert asked == [("oak", "nettle")]
    with pytest.raises(UserError, match="3 classes for 'trees', its vocabulary 1"):
        embeddings("trees")


def test_what_is_missing_is_named(table):
    with pytest.raises(UserError, match="'plants'.*CLASS_EMBEDDINGS"):
        ClassEmbeddings(RANGES, "", 4)("plants")
    with pytest.raises(UserError, match="text encoder"):
        ClassEmbeddings(RANGES, "", 4).set_names("animals", ["cat"])
    with pytest.raises(UserError, match="5 rows.*up to 9"):
        ClassEmbeddings(RANGES | {"stones": range(5, 9)}, table, 4)("animals")
    with pytest.raises(UserError, match="7 columns"):
        ClassEmbeddings(RANGES, table, 7)("animals")


def test_names_that_the_table_has_need_no_encoder(table):
    embeddings = ClassEmbeddings(RANGES, table, 4)
    embeddings.names_of = {"animals": ["cat", "sea_horse", "Rose"], "plants": ["rose", "fern(s)"]}.__getitem__
    assert embeddings.of_names(["ferns", "Sea-horse", "rose"])[:, 0].tolist() == [16, 4, 8]
    with pytest.raises(UserError, match="ENCODER is NONE, and the table of classes has no 'wolf'"):
        embeddings.of_names(["cat", "wolf"])
    with pytest.raises(UserError, match="there is no table"):
        ClassEmbeddings(RANGES, "", 4).of_names(["cat"])

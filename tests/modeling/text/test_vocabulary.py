"""Tables of class embeddings, their cache, and the CLIP encoder's ways to get weights."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from univs.config import get_config
from univs.errors import UserError
from univs.modeling.text import ClipTextEncoder, build_text_encoder, class_table, read_class_table
from univs.modeling.text import vocabulary as vocabulary_module
from univs.modeling.text.clip_encoder import DEFAULT_HUB_NAME, tower_state


class CountingEncoder:
    """Embeds a name as its length and counts how often it is asked."""

    def __init__(self, fingerprint="one"):
        self.calls, self._fingerprint = 0, fingerprint

    def fingerprint(self):
        return self._fingerprint

    def encode_classes(self, names):
        self.calls += 1
        return torch.tensor([[float(len(name))] for name in names])


def test_table_is_made_once_and_then_read(tmp_path):
    encoder = CountingEncoder()
    for _ in range(2):
        assert class_table(encoder, ["cat", "zebra"], tmp_path).tolist() == [[3.0], [5.0]]
    assert encoder.calls == 1
    class_table(encoder, ["zebra", "cat"], tmp_path)  # the order matters
    other = CountingEncoder("two")
    class_table(other, ["cat", "zebra"], tmp_path)  # so does the encoder
    assert (encoder.calls, other.calls) == (2, 1)
    assert not list(tmp_path.glob("*.part"))


def test_a_damaged_table_is_made_anew(tmp_path):
    encoder = CountingEncoder()
    class_table(encoder, ["cat"], tmp_path)
    next(tmp_path.iterdir()).write_bytes(b"broken")
    assert class_table(encoder, ["cat"], tmp_path).tolist() == [[3.0]]
    assert encoder.calls == 2


def test_without_a_writable_folder_the_table_is_still_made(tmp_path, caplog):
    (tmp_path / "file").write_text("")
    assert class_table(CountingEncoder(), ["cat"], tmp_path / "file" / "cache").shape == (1, 1)
    assert "could not be kept" in caplog.text


def test_cache_folder_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("UNIVS_CACHE", str(tmp_path))
    assert vocabulary_module.cache_folder() == tmp_path
    monkeypatch.delenv("UNIVS_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert vocabulary_module.cache_folder() == tmp_path / "univs"


def test_tables_are_read_from_three_kinds_of_files(tmp_path):
    table = torch.arange(6.0).view(3, 2)
    torch.save(table, tmp_path / "a.pth")
    np.save(tmp_path / "b.npy", table.numpy())
    save_file({"any": table}, tmp_path / "c.safetensors")
    torch.save({"any": torch.nn.Parameter(table.half())}, tmp_path / "d.pth")
    for name in ("a.pth", "b.npy", "c.safetensors", "d.pth"):
        torch.testing.assert_close(read_class_table(tmp_path / name, 2), table)
    with pytest.raises(UserError, match=r"4 columns, found \(3, 2\)"):
        read_class_table(tmp_path / "a.pth", 4)
    with pytest.raises(UserError, match="does not exist"):
        read_class_table(tmp_path / "absent.pth", 2)
    with pytest.raises(UserError, match="cannot be read"):
        read_class_table(tmp_path / "absent.npy", 2)


def test_tables_have_all_their_numbers(tmp_path):
    torch.save(torch.zeros(1).expand(10**9, 2), tmp_path / "a.pth")
    np.save(tmp_path / "b.npy", np.zeros((3, 2)))
    data = (tmp_path / "b.npy").read_bytes()
    (tmp_path / "b.npy").write_bytes(data.replace(b"(3, 2), }         ", b"(3000000000, 2), }"))
    for name in ("a.pth", "b.npy"):
        with pytest.raises(UserError, match="cannot be read"):
            read_class_table(tmp_path / name, 2)


class _Code:
    def __reduce__(self):
        return (print, ("executed",))


def test_no_code_is_run_from_files(tmp_path, capsys):
    torch.save(_Code(), tmp_path / "bad.pth")
    with pytest.raises(UserError):
        read_class_table(tmp_path / "bad.pth", 2)
    with pytest.raises(UserError):
        tower_state(str(tmp_path / "bad.pth"), {})
    assert "executed" not in capsys.readouterr().out


@pytest.mark.parametrize("wrapper", [None, "model", "state_dict"])
def test_tower_weights_are_found_in_every_wrapping(tmp_path, wrapper):
    state = {"a": torch.ones(2, dtype=torch.float16), "visual.b": torch.zeros(1)}
    torch.save(state if wrapper is None else {wrapper: state}, tmp_path / "clip.pt")
    loaded = tower_state(str(tmp_path / "clip.pt"), {"a": (2,)})
    assert list(loaded) == ["a"] and loaded["a"].dtype == torch.float32
    with pytest.raises(UserError, match="lack 1 entries, first 'c'"):
        tower_state(str(tmp_path / "clip.pt"), {"a": (2,), "c": (1,)})
    with pytest.raises(UserError, match=r"not those of RN50x4: 'a' has the shape \[2\] instead of \[3\]"):
        tower_state(str(tmp_path / "clip.pt"), {"a": (3,)})


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_tower_weights_are_found_in_the_published_archive(tmp_path):
    torch.jit.save(torch.jit.script(nn.Linear(2, 3).half()), str(tmp_path / "RN50x4.pt"))
    loaded = tower_state(str(tmp_path / "RN50x4.pt"), {"weight": (3, 2), "bias": (3,)})
    assert loaded["weight"].dtype == torch.float32


def test_a_name_that_is_neither_file_nor_hub_is_refused():
    with pytest.raises(UserError, match=f"neither a file nor .*{DEFAULT_HUB_NAME}"):
        tower_state("no_such_weights", {})
    with pytest.raises(UserError, match="clip.pt does not exist"):
        tower_state("absent/clip.pt", {})


class _Tower(nn.Module):
    """A stand-in for the text tower: every position becomes its token and the sum of the tokens before it."""

    def __init__(self):
        super().__init__()
        self.token_embedding = nn.Embedding(49408, 640)
        self.token_embedding.weight.data = torch.arange(49408.0)[:, None].expand(-1, 640).clone()
        self.positional_embedding = nn.Parameter(torch.zeros(77, 640))
        self.register_buffer("attn_mask", torch.zeros(77, 77))
        self.ln_final = nn.Identity()
        self.text_projection = nn.Parameter(torch.eye(640) / 49408)

    def transformer(self, x, attn_mask):
        assert attn_mask.shape == (x.shape[1], x.shape[1])
        return x.cumsum(1)


@pytest.fixture(scope="module")
def clip():
    return ClipTextEncoder(tower=_Tower())


def test_sentences_are_read_at_their_end_and_averaged(clip):
    rows = [clip.tokenizer.rows([sentence]) for sentence in ("a dog.", "a photo of a dog.")]
    features = clip.sentence_features(torch.cat(rows))
    torch.testing.assert_close(features[:, 0], torch.stack([row.sum() / 49408.0 for row in rows]))
    assert clip.encode(["dog", "cat"]).shape == (2, 640)
    assert clip.encode([]).shape == (0, 640)
    assert clip.encode_classes(["Fire_Hydrant"]).tolist() == clip.encode_classes(["fire hydrant"]).tolist()


def test_long_expressions_are_cut_with_a_warning(clip):
    with pytest.warns(UserWarning, match="not read: 'cat'"):
        words, used = clip.tokens(["dog " * 76 + "cat"])
    assert words.shape == (1, 77, 640) and used.all()


def test_encoders_are_built_by_name():
    assert build_text_encoder(get_config(None, ["MODEL.UNIVS.TEXT.ENCODER", "NONE"])) is None
    assert isinstance(build_text_encoder(get_config()), ClipTextEncoder)
    with pytest.raises(UserError, match="ClipTextEncoder, StaticTextEncoder and NONE"):
        build_text_encoder(get_config(None, ["MODEL.UNIVS.TEXT.ENCODER", "other"]))


def test_weights_that_cannot_be_fetched_ask_for_a_file(monkeypatch, caplog):
    import open_clip

    def offline(*args, **kwargs):
        logging.error("no network, attempt 1")
        raise OSError("no network. Try again")

    monkeypatch.setattr(open_clip, "create_model", offline)
    with (
        pytest.warns(UserWarning, match="fetches some 400 MB"),
        pytest.raises(UserError, match=r"fetched \(no network\); name .*MODEL.UNIVS.TEXT.WEIGHTS.*CLASS_EMBEDDINGS"),
    ):
        ClipTextEncoder().tower  # noqa: B018
    assert not caplog.records
    logging.error("heard again")
    assert caplog.records


def test_fingerprint_follows_the_weights():
    tower = _Tower()
    before = ClipTextEncoder(tower=tower).fingerprint()
    assert ClipTextEncoder(tower=tower).fingerprint() == before
    tower.text_projection.data[0, 0] += 1
    assert ClipTextEncoder(tower=tower).fingerprint() != before

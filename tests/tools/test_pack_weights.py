"""Putting trained parts together into one weights file."""

from __future__ import annotations

from pathlib import Path

import pack_weights
import pytest
import torch

from univs.errors import UserError
from univs.modeling.weights import read_checkpoint, save_weights


@pytest.fixture
def parts(tmp_path: Path) -> Path:
    """Two training runs that hold the same parts with other values: 1 in the first, 2 in the second."""
    for number, name in ((1.0, "first"), (2.0, "second")):
        state = {
            f"{part}.{kind}": torch.full((2, 3), number)
            for part in ("backbone", "dense_memory", "dense_memory_head")
            for kind in ("weight", "bias")
        }
        save_weights(state, tmp_path / f"{name}.safetensors")
    return tmp_path


def run(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr("sys.argv", ["pack_weights.py", *words])
    return pack_weights.main()


def test_each_part_comes_from_its_file_in_half_precision(parts: Path) -> None:
    state = pack_weights.pack(
        [f"dense_memory={parts}/first.safetensors", f"backbone,dense_memory_head={parts}/second.safetensors"]
    )
    assert {name: float(value[0, 0]) for name, value in state.items()} == {
        "backbone.weight": 2,
        "backbone.bias": 2,
        "dense_memory.weight": 1,
        "dense_memory.bias": 1,
        "dense_memory_head.weight": 2,
        "dense_memory_head.bias": 2,
    }
    assert {value.dtype for value in state.values()} == {torch.float16}


def test_what_is_written_can_be_read(
    parts: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    output = parts / "packed.safetensors"
    assert run(monkeypatch, "--part", f"backbone={parts}/first.safetensors", "--output", str(output)) == 0
    state = read_checkpoint(output)["model"]
    assert sorted(state) == ["backbone.bias", "backbone.weight"]
    assert torch.equal(state["backbone.bias"], torch.ones(2, 3, dtype=torch.float16))
    assert "2 tensors" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ("backbone", "must be NAME"),
        ("head={}/first.safetensors", "holds no part 'head'"),
        ("backbone={}/missing.safetensors", "missing.safetensors"),
    ],
)
def test_a_mistake_is_one_sentence_and_leaves_no_file(
    parts: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], part: str, message: str
) -> None:
    output = parts / "packed.safetensors"
    assert run(monkeypatch, "--part", part.format(parts), "--output", str(output)) == 2
    told = capsys.readouterr().err
    assert told.startswith("pack_weights: ") and message in told and told.count("\n") == 1
    assert not output.exists()


def test_a_part_is_named_whole(parts: Path) -> None:
    with pytest.raises(UserError, match="holds no part 'dense'"):
        pack_weights.pack([f"dense={parts}/first.safetensors"])

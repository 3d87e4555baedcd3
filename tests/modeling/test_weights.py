"""Files of weights: what is read, what is refused, and what of it fits."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from univs.errors import UserError
from univs.modeling.weights import load_state, read_checkpoint, save_weights, write_atomically


class Harmful:
    """Runs a command when it is unpickled."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.path),)


def small_model() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 2))


def test_safetensors_come_back_with_strided_tensors_made_whole(tmp_path: Path) -> None:
    state = {"a": torch.arange(6.0).reshape(2, 3).t(), "b": torch.tensor(3, dtype=torch.int64)}
    save_weights(state, tmp_path / "new" / "w.safetensors", {"steps": "7"})
    loaded = read_checkpoint(tmp_path / "new" / "w.safetensors")["model"]
    assert loaded.keys() == state.keys() and all(torch.equal(loaded[key], state[key]) for key in state)


@pytest.mark.parametrize("wrapped", [True, False])
def test_pytorch_files_may_wrap_the_state(tmp_path: Path, wrapped: bool) -> None:
    state = {"a": torch.ones(2)}
    torch.save({"model": state, "iteration": 4} if wrapped else state, tmp_path / "w.pth")
    content = read_checkpoint(tmp_path / "w.pth")
    assert torch.equal(content["model"]["a"], state["a"]) and content.get("iteration") == (4 if wrapped else None)


@pytest.mark.parametrize("suffix", [".pkl", ".pth"])
def test_files_that_run_something_are_refused_and_run_nothing(tmp_path: Path, suffix: str) -> None:
    trap, file = tmp_path / "trap", tmp_path / f"w{suffix}"
    if suffix == ".pkl":
        file.write_bytes(pickle.dumps({"model": Harmful(trap), "__author__": "x"}))
    else:
        torch.save({"model": Harmful(trap)}, file)
    with pytest.raises(UserError, match="cannot be read"):
        read_checkpoint(file)
    assert not trap.exists()


def test_detectrons_pickles_hold_arrays(tmp_path: Path) -> None:
    arrays = {"conv_w": np.ones((2, 2), np.float32), "conv_w_momentum": np.zeros(3)}
    (tmp_path / "c2.pkl").write_bytes(pickle.dumps({"blobs": arrays}))
    content = read_checkpoint(tmp_path / "c2.pkl")
    assert list(content["model"]) == ["conv_w"] and content["matching_heuristics"]
    zoo = {"model": {"a": np.arange(3)}, "__author__": "somebody"}
    (tmp_path / "zoo.pkl").write_bytes(pickle.dumps(zoo))
    content = read_checkpoint(tmp_path / "zoo.pkl")
    assert content["model"]["a"].tolist() == [0, 1, 2] and not content["matching_heuristics"]


@pytest.mark.parametrize("name", ["w.safetensors", "w.pth", "w.pkl"])
def test_damaged_and_missing_files_are_told(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match="does not exist"):
        read_checkpoint(tmp_path / name)
    (tmp_path / name).write_bytes(b"no weights at all")
    with pytest.raises(UserError, match="cannot be read"):
        read_checkpoint(tmp_path / name)


def test_a_tensor_alone_is_no_state(tmp_path: Path) -> None:
    torch.save(torch.ones(3), tmp_path / "w.pth")
    with pytest.raises(UserError, match="it is one tensor"):
        read_checkpoint(tmp_path / "w.pth")


def test_what_does_not_fit_is_listed_and_refused() -> None:
    model = small_model()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = {
        "0.weight": torch.zeros(2, 3),
        "0.bias": torch.zeros(5),
        "1.weight": torch.zeros(2, 2),
        "more": torch.ones(1),
    }
    with pytest.raises(UserError) as caught:
        load_state(model, state, source="w.pth")
    told = str(caught.value)
    assert "w.pth" in told and "1 missing in the file (1.bias)" in told and "1 left over in the file (more)" in told
    assert "0.bias [5] instead of [2]" in told
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    report = load_state(model, state, partial=True)
    assert not report.complete and not model[0].weight.any() and torch.equal(model[0].bias, before["0.bias"])


def test_long_lists_are_cut_short() -> None:
    report = load_state(nn.ModuleList([nn.Linear(1, 1) for _ in range(9)]), {"0.bias": torch.ones(1)}, partial=True)
    assert "17 missing" in report.describe(limit=2) and "and 15 more" in report.describe(limit=2)


def test_weights_of_another_model_are_refused_even_in_part() -> None:
    with pytest.raises(UserError, match="no parameter in common"):
        load_state(small_model(), {"x": torch.ones(1)}, partial=True)


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def fail(file) -> None:
        file.write(b"half")
        raise OSError(28, "No space left on device")

    with pytest.raises(UserError, match="No space left"):
        write_atomically(path, fail)
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]

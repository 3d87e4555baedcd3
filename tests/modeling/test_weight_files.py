"""Files that run something, or claim more than they hold, are refused, and nothing of them is run."""

from __future__ import annotations

import io
import json
import os
import pickle
import random
import warnings
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch

from univs.errors import UserError
from univs.modeling.weight_files import read_checkpoint, read_content, read_metadata


class Call:
    """What makes a pickle call something when it is read."""

    def __init__(self, *call: Any):
        self.call = call

    def __reduce__(self) -> tuple:
        return self.call


def write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def torch_bytes(content: Any, **options: Any) -> bytes:
    file = io.BytesIO()
    torch.save(content, file, **options)
    return file.getvalue()


def compressed(data: bytes, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """The same archive with compressed parts."""
    packed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as source, zipfile.ZipFile(packed, "w", method) as target:
        for part in source.infolist():
            target.writestr(part.filename, source.read(part))
    return packed.getvalue()


def claiming(shape: list[int]) -> bytes:
    """A safetensors file of four bytes of numbers that claims a shape."""
    header = json.dumps({"a": {"dtype": "F32", "shape": shape, "data_offsets": [0, 4]}}).encode()
    return len(header).to_bytes(8, "little") + header + bytes(4)


# --- what is read -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_arrays_of_every_protocol_come_back(tmp_path: Path, protocol: int) -> None:
    arrays = {
        "turned": np.arange(6, dtype=np.float32).reshape(2, 3).T,
        "other order": np.arange(3, dtype=">i4"),
        "scalar": np.float64(3),
        "empty": np.zeros((0, 3)),
        "yes": np.array([True, False]),
        "half": np.ones(2, np.float16),
    }
    content = {"model": OrderedDict(arrays), "__author__": "someone"}
    loaded = read_checkpoint(write(tmp_path / "w.pkl", pickle.dumps(content, protocol)))["model"]
    assert loaded.keys() == arrays.keys()
    for name, array in arrays.items():
        assert loaded[name].shape == np.shape(array) and loaded[name].tolist() == array.tolist()


def test_a_pickle_may_hold_tensors(tmp_path: Path) -> None:
    model = {"a": torch.arange(6.0).reshape(2, 3).t(), "b": torch.ones(2, dtype=torch.float16)}
    file = write(tmp_path / "w.pkl", pickle.dumps({"model": model, "matching_heuristics": True}))
    content = read_checkpoint(file)
    assert content["matching_heuristics"] and all(torch.equal(content["model"][name], model[name]) for name in model)


def test_words_among_the_weights_of_the_oldest_files_are_left_out(tmp_path: Path) -> None:
    file = write(tmp_path / "w.pkl", pickle.dumps({"blobs": {"conv1_w": np.ones(2), "order": "NCHW"}}, 2))
    assert list(read_checkpoint(file)["model"]) == ["conv1_w"]


@pytest.mark.parametrize("options", [{}, {"_use_new_zipfile_serialization": False}], ids=["archive", "older"])
def test_pytorch_files_of_both_kinds_are_read_whatever_their_name(tmp_path: Path, options: dict) -> None:
    name = "w.pkl" if not options else "w.pth"
    file = write(tmp_path / name, torch_bytes({"state_dict": {"a": torch.ones(2)}, "epoch": 3}, **options))
    content = read_checkpoint(file)
    assert torch.equal(content["model"]["a"], torch.ones(2)) and content["epoch"] == 3


def test_texts_beside_tensors_are_read_without_them(tmp_path: Path) -> None:
    safetensors.torch.save_file({"a": torch.ones(1)}, tmp_path / "w.safetensors", {"key": "value"})
    assert read_metadata(tmp_path / "w.safetensors") == {"key": "value"}
    assert read_metadata(write(tmp_path / "w.pth", torch_bytes({}))) == {}
    with pytest.raises(UserError, match="cannot be read"):
        read_metadata(write(tmp_path / "broken.safetensors", b"\xff" * 20))


# --- what is refused ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".pkl", ".pth", ".safetensors"])
@pytest.mark.parametrize("place", ["whole", "entry", "key", "beside"])
def test_nothing_in_a_file_is_run(tmp_path: Path, suffix: str, place: str) -> None:
    trap = tmp_path / "trap"
    bad = Call(os.mkdir, (str(trap),))
    content = {
        "whole": bad,
        "entry": {"model": {"a": bad}},
        "key": {"model": {Call(os.mkdir, (str(trap),)): 1}},
        "beside": {"model": {"a": torch.ones(1)}, "optimizer": bad},
    }[place]
    data = pickle.dumps(content) if suffix != ".pth" else torch_bytes(content)
    with pytest.raises(UserError, match="cannot be read"):
        read_checkpoint(write(tmp_path / f"w{suffix}", data))
    assert not trap.exists()


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (Call(np.ndarray, ((10**12,),)), "array without values"),
        (Call(bytes, (10**12,)), "neither a number nor an array"),
        (np.array([{}], object), "which are no numbers"),
        (np.array([("x", 1)], [("name", "U3"), ("value", "i4")]), "which are no numbers"),
        (Call(eval, ("1",)), "builtins.eval"),
        (3, "no tensor"),
        ("text", "no tensor"),
    ],
    ids=["endless array", "endless bytes", "objects", "records", "eval", "number", "text"],
)
def test_pickles_hold_arrays_of_numbers_only(tmp_path: Path, call: Any, told: str) -> None:
    file = write(tmp_path / "w.pkl", pickle.dumps({"model": {"a": call}, "__author__": "someone"}, 4))
    with pytest.raises(UserError, match=told):
        read_checkpoint(file)


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"\x80\x02Nr\xff\xff\xff\x7f.", "remembered values"),
        (b"\x80\x05\x96\xff\xff\xff\xff\xff\x00\x00\x00.", "only 1 remain"),
        (pickle.dumps({"a": np.ones(9)})[:-20], "cannot be read"),
        (pickle.dumps({"a": np.ones(9)}, 2).replace(b"K\x09\x85", b"J\xff\xff\xff\x7f\x85"), "claims the shape"),
        (pickle.dumps([np.ones(1)]), "no arrays by name"),
    ],
    ids=["memo", "length", "cut", "shape", "list"],
)
def test_sizes_that_a_pickle_claims_are_checked(tmp_path: Path, data: bytes, told: str) -> None:
    with pytest.raises(UserError, match=told):
        read_checkpoint(write(tmp_path / "w.pkl", data))


def test_archives_that_grow_when_they_are_read_are_refused(tmp_path: Path) -> None:
    bomb = compressed(torch_bytes({"a": torch.zeros(1_000_000)}))
    assert len(bomb) < 20_000
    with pytest.raises(UserError, match="compressed archive"):
        read_checkpoint(write(tmp_path / "w.pth", bomb))


def test_archives_whose_parts_lie_over_each_other_are_refused(tmp_path: Path) -> None:
    data = torch_bytes({"a": torch.zeros(5000), "b": torch.ones(5000)})
    directory = data.index(b"PK\x01\x02")
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        part = next(item for item in archive.infolist() if item.filename.endswith("data/1"))
    # the size that the directory claims for one part, packed and unpacked
    place = data.index(part.file_size.to_bytes(4, "little") * 2, directory)
    place = data.index(part.file_size.to_bytes(4, "little") * 2, place + 1)
    forged = data[:place] + (10**8).to_bytes(4, "little") * 2 + data[place + 8 :]
    with pytest.raises(UserError, match="claim to be larger"):
        read_checkpoint(write(tmp_path / "w.pth", forged))


@pytest.mark.filterwarnings("ignore:Validating sparse")
@pytest.mark.parametrize(
    ("tensor", "told"),
    [
        (torch.zeros(1).expand(10**6, 10**6), r"claims the shape \[1000000, 1000000\]"),
        (torch.eye(3).to_sparse(), "no plain tensor"),
        (torch.zeros(3, device="meta"), "no plain tensor"),
    ],
    ids=["expanded", "sparse", "no values"],
)
def test_tensors_have_all_their_numbers(tmp_path: Path, tensor: torch.Tensor, told: str) -> None:
    with pytest.raises(UserError, match=told):
        read_checkpoint(write(tmp_path / "w.pth", torch_bytes({"a": tensor})))


@pytest.mark.parametrize("shape", [[10**9, 10**9], [10**6], [-1]])
def test_shapes_that_a_header_claims_are_checked(tmp_path: Path, shape: list[int]) -> None:
    with pytest.raises(UserError, match="cannot be read"):
        read_checkpoint(write(tmp_path / "w.safetensors", claiming(shape)))
    with pytest.raises(UserError, match="cannot be read"):
        read_checkpoint(write(tmp_path / "x.safetensors", (2**40).to_bytes(8, "little") + b"{}"))


STATE = {"a": torch.arange(6.0).reshape(2, 3), "b.c": torch.ones(2, dtype=torch.float16), "n": torch.tensor(3)}
ARRAYS = {name: value.numpy() for name, value in STATE.items()}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("archive.pth", torch_bytes({"model": STATE, "step": 3})),
        ("older.pth", torch_bytes(STATE, _use_new_zipfile_serialization=False)),
        ("ours.safetensors", safetensors.torch.save(STATE)),
        ("arrays.pkl", pickle.dumps({"model": ARRAYS}, 2)),
        ("newer.pkl", pickle.dumps({"model": ARRAYS}, 5)),
        ("tensors.pkl", pickle.dumps({"model": STATE}, 4)),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_damage_anywhere_is_either_harmless_or_told(tmp_path: Path, name: str, data: bytes) -> None:
    chance, refused = random.Random(name), 0
    assert read_checkpoint(write(tmp_path / name, data))["model"].keys() == STATE.keys()
    for _ in range(150):
        damaged = bytearray(data)
        for _ in range(chance.choice([1, 2, 4])):
            damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        try:
            read_checkpoint(write(tmp_path / name, bytes(damaged[: chance.randrange(1, 2 * len(data))])))
        except UserError:
            refused += 1
    assert refused > 50


# --- TorchScript --------------------------------------------------------------------------------------------------


class Part(torch.nn.Module):
    """Has a parameter, a half-precision one, a buffer, a part, and plain attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.arange(6.0).reshape(2, 3))
        self.small = torch.nn.Parameter(torch.ones(3, dtype=torch.float16))
        self.register_buffer("steps", torch.tensor(7))
        self.inner = torch.nn.Sequential(torch.nn.Linear(2, 1))
        self.width = 3

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[N, 2] -> [N, 1]."""
        return self.inner(x) + self.weight.sum()


@pytest.fixture
def script(tmp_path: Path) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TorchScript is about to go
        torch.jit.save(torch.jit.script(Part()), str(tmp_path / "w.pt"))
    return tmp_path / "w.pt"


def test_the_state_of_a_torchscript_module_is_read_without_its_program(script: Path) -> None:
    state, wanted = read_checkpoint(script)["model"], Part().state_dict()
    assert wanted.keys() <= state.keys()
    for name in ("weight", "small", "steps"):
        assert torch.equal(state[name], wanted[name]) and state[name].dtype == wanted[name].dtype


def changed(path: Path, part: str, data: bytes) -> Path:
    """The same archive with other content in one part."""
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(path.with_name("changed.pt"), "w") as target:
        for item in source.infolist():
            target.writestr(item, data if item.filename.endswith(part) else source.read(item))
    return path.with_name("changed.pt")


def test_a_torchscript_archive_runs_nothing_and_claims_nothing(script: Path, tmp_path: Path) -> None:
    trap = tmp_path / "trap"
    with pytest.raises(UserError, match="no part of a module's state"):
        read_content(changed(script, "w/data.pkl", pickle.dumps(Call(os.mkdir, (str(trap),)), 2)))
    with pytest.raises(UserError, match="numbers in the part 0 of 2 bytes"):
        read_content(changed(script, "data/0", b"ab"))
    assert not trap.exists()


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", "is empty"),
        (torch_bytes({"a": torch.ones(50)})[:400], "its end is missing"),
        (torch_bytes({"model": {}, "x": Call(os.mkdir, ("trap",))}), r"\(\w+\.mkdir, which is never run\)\.$"),
        (torch_bytes(torch.ones(3, 2)), "one tensor; MODEL.UNIVS.TEXT.CLASS_EMBEDDINGS takes"),
    ],
    ids=["empty", "cut", "code", "table"],
)
def test_the_reason_is_told(tmp_path: Path, data: bytes, told: str) -> None:
    with pytest.raises(UserError, match=told):
        read_checkpoint(write(tmp_path / "w.pth", data))


def test_a_folder_is_no_file_of_weights(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="are a folder; name a file in it"):
        read_checkpoint(tmp_path)

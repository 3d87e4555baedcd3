"""Reading files of weights without running anything that they contain, and without believing the sizes they claim."""

from __future__ import annotations

import io
import pickle
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from univs.errors import UserError
from univs.modeling.pickled_arrays import load_arrays
from univs.modeling.script_archives import CONSTANTS, read_script_archive

_ARCHIVE_START = b"PK\x03\x04"
# how training programs wrap a model's state
_WRAPPERS = ("model", "state_dict")
# what PyTorch says of a function or class that a file names
_REFUSED = re.compile(r"\bGLOBAL ([A-Za-z_][\w.]*)")


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Content of a checkpoint: a dict with at least ``model``, tensors by name.

    Understands our own and other ``.safetensors``, PyTorch files (``.pth``, ``.pt``, ``.bin``; weights only, also
    those of TorchScript) and Detectron2's ``.pkl`` (arrays only; ``matching_heuristics`` is then True if its names
    follow the model zoo's).

    Raises:
        UserError: the file is missing, is damaged, holds more than numbers, or claims more of them than it has.
    """
    content = read_content(path)
    try:
        content = _unwrapped(content)
        for name, value in content["model"].items():
            check_tensor(name, value)
    except pickle.UnpicklingError as error:
        raise _unreadable(path, error) from error
    return content


def read_content(path: str | Path) -> Any:
    """What a file of weights holds, as it was stored: usually tensors by name, or one tensor.

    Raises:
        UserError: as for ``read_checkpoint``.
    """
    path = Path(path)
    if path.is_dir():
        raise UserError(f"The weights {path} are a folder; name a file in it.")
    if not path.is_file():
        raise UserError(f"The weights file {path} does not exist; check MODEL.WEIGHTS or --weights.")
    if not path.stat().st_size:
        raise UserError(f"The weights file {path} is empty; fetch it again.")
    try:
        return _reader_of(path)(path)
    except Exception as error:  # a damaged or hostile file can make its reader raise anything
        raise _unreadable(path, error) from error


def read_metadata(path: str | Path) -> dict[str, str]:
    """The texts that a ``.safetensors`` file holds beside its tensors; empty for other files.

    Raises:
        UserError: the file is damaged.
    """
    if Path(path).suffix != ".safetensors" or not Path(path).is_file():
        return {}
    try:
        with safetensors.safe_open(path, "pt") as file:
            return dict(file.metadata() or {})
    except (safetensors.SafetensorError, OSError) as error:
        raise _unreadable(path, error) from error


def check_tensor(name: object, value: object) -> None:
    """Whether an entry is a plain tensor whose values are all there.

    Raises:
        pickle.UnpicklingError: it is not.
    """
    if not isinstance(name, str) or not isinstance(value, Tensor):
        raise pickle.UnpicklingError(f"its entry {str(name)[:60]!r} is a {type(value).__name__} and no tensor")
    if value.layout != torch.strided or value.is_quantized or value.device.type != "cpu":
        raise pickle.UnpicklingError(f"its entry {name[:60]!r} is no plain tensor")
    if value.numel() * value.element_size() > value.untyped_storage().nbytes():
        raise pickle.UnpicklingError(
            f"its entry {name[:60]!r} claims the shape {list(value.shape)}, for which it has not enough numbers"
        )


def _unwrapped(content: Any) -> dict[str, Any]:
    if isinstance(content, Tensor):
        raise pickle.UnpicklingError("it is one tensor; MODEL.UNIVS.TEXT.CLASS_EMBEDDINGS takes a table of embeddings")
    if not isinstance(content, Mapping):
        raise pickle.UnpicklingError("it holds no tensors by name")
    for wrapper in _WRAPPERS:
        if isinstance(content.get(wrapper), Mapping):
            rest = {name: value for name, value in content.items() if name != wrapper}
            return {"model": dict(content[wrapper]), **rest}
    return {"model": dict(content)}


def _unreadable(path: str | Path, error: Exception) -> UserError:
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return UserError(f"The weights file {path} cannot be read: {reason.rstrip('.')}.")


def _reader_of(path: Path) -> Any:
    """The reader of a file's kind; PyTorch's archives are known by their first bytes, whatever they are called."""
    with path.open("rb") as file:
        if file.read(4) == _ARCHIVE_START:
            return _read_torch
    return {".safetensors": _read_safetensors, ".pkl": _read_pickle}.get(path.suffix, _read_torch)


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    return safetensors.torch.load_file(path)


def _read_torch(path: Path) -> Any:
    with path.open("rb") as file:
        return _load_torch(file, path.stat().st_size)


def _load_torch(file: IO[bytes], size: int) -> Any:
    """Content of a PyTorch file of ``size`` bytes."""
    if file.read(4) == _ARCHIVE_START:
        with _archive(file) as archive:
            is_script = any(name.endswith(f"/{CONSTANTS}") for name in archive.namelist())
            _check_archive(archive, size, is_script)
            if is_script:
                return read_script_archive(archive)
    file.seek(0)
    try:
        return torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        # PyTorch's own words advise to switch the protection off.
        named = _REFUSED.search(str(error))
        code = f" ({named[1]}, which is never run)" if named else ""
        raise pickle.UnpicklingError(f"it is damaged, or holds more than tensors and plain values{code}") from None


def _archive(file: IO[bytes]) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(file)
    except zipfile.BadZipFile as error:
        raise pickle.UnpicklingError("its end is missing; fetch it again") from error


def _check_archive(archive: zipfile.ZipFile, size: int, is_script: bool) -> None:
    """PyTorch stores the parts of its archives as they are; others could grow to any size when they are read.

    Only the code of TorchScript is compressed, which is never read.
    """
    parts = [part for part in archive.infolist() if not (is_script and "/code/" in part.filename)]
    if any(part.compress_type != zipfile.ZIP_STORED for part in parts):
        raise pickle.UnpicklingError("it is a compressed archive, and PyTorch writes none; unpack it first")
    if sum(part.file_size for part in parts) > size:
        raise pickle.UnpicklingError(f"its parts claim to be larger than the {size} bytes of the file")


def _read_pickle(path: Path) -> dict[str, Any]:
    content = load_arrays(path.read_bytes(), lambda data: _load_torch(io.BytesIO(data), len(data)))
    if not isinstance(content, dict):
        raise pickle.UnpicklingError("it holds no arrays by name")
    author, named = content.get("__author__"), isinstance(content.get("model"), dict)
    state = content["model"] if named else content.get("blobs", content)
    if not named:  # Detectron's own: beside weights there are momenta and a few words
        state = {key: item for key, item in state.items() if isinstance(item, Tensor) and not key.endswith("_momentum")}
    return {
        "model": state,
        "__author__": author or ("unknown" if named else "Caffe2"),
        "matching_heuristics": bool(content.get("matching_heuristics", not named)),
    }

"""Files of weights: reading and writing them without running anything that they contain."""

from __future__ import annotations

import io
import os
import pickle
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np
import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from univs.errors import UserError
from univs.modeling.published_names import from_published

_PUBLISHED_PREFIX = "sem_seg_head."


@dataclass
class LoadReport:
    """What did not fit: names of the model without a value, names of the file without a place, unequal shapes."""

    missing: list[str] = field(default_factory=list)
    left_over: list[str] = field(default_factory=list)
    other_shape: list[str] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        return not (self.missing or self.left_over or self.other_shape)

    def describe(self, limit: int = 8) -> str:
        """One line that names what did not fit, at most ``limit`` names of each kind."""
        parts = []
        for title, names in (
            ("missing in the file", self.missing),
            ("left over in the file", self.left_over),
            ("of another shape", self.other_shape),
        ):
            if names:
                more = f" and {len(names) - limit} more" if len(names) > limit else ""
                parts.append(f"{len(names)} {title} ({', '.join(names[:limit])}{more})")
        return "; ".join(parts)


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Content of a checkpoint: a dict with at least ``model``, tensors by name.

    Understands our own and other ``.safetensors``, PyTorch files (``.pth``, ``.pt``, ``.bin``; weights only) and
    Detectron2's ``.pkl`` (arrays only; ``matching_heuristics`` is then True if its names follow the model zoo's).

    Raises:
        UserError: the file is missing, is damaged, or holds more than numbers.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"The weights file {path} does not exist; check MODEL.WEIGHTS or --weights.")
    reader = {".safetensors": _read_safetensors, ".pkl": _read_pickle}.get(path.suffix, _read_torch)
    try:
        content = reader(path)
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, OSError, KeyError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"The weights file {path} cannot be read: {reason}") from error
    return content if isinstance(content.get("model"), Mapping) else {"model": content}


def save_weights(state: Mapping[str, Tensor], path: str | Path, metadata: Mapping[str, str] | None = None) -> None:
    """Write tensors by name as safetensors, whole or not at all."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
    data = safetensors.torch.save(tensors, dict(metadata or {}))
    write_atomically(Path(path), lambda file: file.write(data))


def write_atomically(path: Path, write: Callable[[IO[bytes]], Any]) -> None:
    """Let ``write`` fill a temporary file beside ``path`` and rename it, so that no half file ever has the name.

    Raises:
        UserError: the folder cannot be written to or the disk is full.
    """
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
            temporary = Path(file.name)
            write(file)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o666 & ~_file_mask())
        os.replace(temporary, path)
    except OSError as error:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
        raise UserError(f"{path} cannot be written: {error.strerror or error}.") from error


def _file_mask() -> int:
    """Permissions that this process takes from new files; it can only be read by setting it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask


def load_state(model: nn.Module, state: Mapping[str, Tensor], partial: bool = False, source: str = "") -> LoadReport:
    """Load tensors into ``model``; a published state's names are translated first.

    With ``partial`` what fits is loaded and the rest is reported. Parameters that the model does not store (a frozen
    text encoder) are not missed.

    Raises:
        UserError: something does not fit and ``partial`` is off; the model is unchanged then.
    """
    state = translate_names(state)
    own = model.state_dict()
    report = LoadReport(
        missing=sorted(own.keys() - state.keys()),
        left_over=sorted(state.keys() - own.keys()),
        other_shape=sorted(
            f"{name} {list(state[name].shape)} instead of {list(own[name].shape)}"
            for name in own.keys() & state.keys()
            if state[name].shape != own[name].shape
        ),
    )
    if not report.complete and not partial:
        raise UserError(
            f"The weights {source} do not fit the model: {report.describe()}. Use the configuration that they were "
            "trained with, or set MODEL.WEIGHTS_PARTIAL to load what fits."
        )
    fitting = {name: state[name] for name in own.keys() & state.keys() if state[name].shape == own[name].shape}
    if not fitting:
        raise UserError(f"The weights {source} have no parameter in common with the model.")
    model.load_state_dict(fitting, strict=False)
    return report


def translate_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Names of a state without the prefix of DistributedDataParallel, and ours in the place of published ones."""
    names = {name.removeprefix("module."): tensor for name, tensor in state.items()}
    if not any(name.startswith(_PUBLISHED_PREFIX) for name in names):
        return names
    return {_our_name(name): tensor for name, tensor in names.items()}


def _our_name(key: str) -> str:
    try:
        return from_published(key)
    except KeyError:
        return key


def _read_safetensors(path: Path) -> dict[str, Any]:
    return {"model": safetensors.torch.load_file(path)}


def _read_torch(path: Path) -> dict[str, Any]:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        # PyTorch's own words advise to switch the protection off.
        raise pickle.UnpicklingError("it is damaged, or holds more than tensors and plain values") from None
    if not isinstance(content, Mapping):
        raise pickle.UnpicklingError("it holds no tensors by name")
    return dict(content)


def _read_pickle(path: Path) -> dict[str, Any]:
    content = _ArraysOnly(io.BytesIO(path.read_bytes()), encoding="latin1").load()
    author = content.get("__author__")
    state = content["model"] if author else content.get("blobs", content)
    arrays = {name: value for name, value in state.items() if not name.endswith("_momentum")}
    tensors = {
        name: value if isinstance(value, Tensor) else torch.from_numpy(np.asarray(value))
        for name, value in arrays.items()
    }
    return {
        "model": tensors,
        "__author__": author or "Caffe2",
        "matching_heuristics": bool(content.get("matching_heuristics", not author)),
    }


class _ArraysOnly(pickle.Unpickler):
    """Reads pickles of NumPy arrays in plain containers; anything else could run code and is refused."""

    _ALLOWED = {
        ("collections", "OrderedDict"),
        ("numpy", "dtype"),
        ("numpy", "ndarray"),
        ("numpy.core.multiarray", "_reconstruct"),
        ("numpy.core.multiarray", "scalar"),
        ("numpy._core.multiarray", "_reconstruct"),
        ("numpy._core.multiarray", "scalar"),
        ("_codecs", "encode"),
    }

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self._ALLOWED:
            raise pickle.UnpicklingError(f"it holds {module}.{name}, which is neither a number nor an array")
        return super().find_class(module, name)

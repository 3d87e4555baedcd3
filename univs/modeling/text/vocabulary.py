"""Tables of class embeddings for lists of names, kept on disk."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from pickle import UnpicklingError

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from univs.errors import UserError
from univs.modeling.text.registry import FrozenTextEncoder
from univs.modeling.weight_files import check_tensor, read_content

_logger = logging.getLogger(__name__)


def class_table(encoder: FrozenTextEncoder, names: Sequence[str], cache: Path | None = None) -> Tensor:
    """Embeddings of class names, [V, D] on the CPU.

    Made once per encoder and list and then read from ``cache`` (default: `cache_folder`); a file there is named by a
    hash of the names and of the encoder's weights, so it can never be stale.
    """
    content = json.dumps([encoder.fingerprint(), list(names)])
    digest = hashlib.sha256(content.encode()).hexdigest()[:32]
    path = (cache or cache_folder()) / f"classes-{digest}.safetensors"
    try:
        return load_file(path)["embeddings"]
    except (OSError, SafetensorError, KeyError):
        pass  # not there yet, or damaged: made anew
    table = encoder.encode_classes(names).cpu().contiguous()
    _store(table, path)
    return table


def cache_folder() -> Path:
    """Folder of cached tables: $UNIVS_CACHE, else $XDG_CACHE_HOME/univs, else ~/.cache/univs."""
    if os.environ.get("UNIVS_CACHE"):
        return Path(os.environ["UNIVS_CACHE"])
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "univs"


def _store(table: Tensor, path: Path) -> None:
    """Write the table in one step, so that no other process sees half of it."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, scratch = tempfile.mkstemp(dir=path.parent, suffix=".part")
        os.close(handle)
        save_file({"embeddings": table}, scratch)
        os.replace(scratch, path)
    except OSError as error:
        _logger.warning("The class embeddings could not be kept in %s: %s", path.parent, error)


def read_class_table(path: str | Path, dim: int) -> Tensor:
    """Class embeddings [V, dim] from a file: a tensor (.pth, .pt), an array (.npy) or the one tensor of a dictionary.

    Raises UserError if the file cannot be read or holds something else.
    """
    path = Path(path)
    if path.suffix == ".npy":
        table = _read_array(path)
    else:
        table = read_content(path)
        if isinstance(table, Mapping) and len(table) == 1:
            (table,) = table.values()
    if not isinstance(table, Tensor) or table.dim() != 2 or table.shape[1] != dim:
        found = tuple(table.shape) if isinstance(table, Tensor) else type(table).__name__
        raise UserError(f"The class embeddings '{path}' must be a table with {dim} columns, found {found}.")
    try:
        check_tensor("embeddings", table)
    except UnpicklingError as error:
        raise UserError(f"The class embeddings '{path}' cannot be read: {error}.") from error
    return table.detach().float()


def _read_array(path: Path) -> Tensor:
    try:
        # mapped, so that a header that claims more numbers than the file has is an error before memory is taken
        return torch.from_numpy(np.array(np.load(path, mmap_mode="r", allow_pickle=False)))
    except Exception as error:  # a damaged or hostile file can make the reader raise anything
        raise UserError(f"The class embeddings '{path}' cannot be read: {error}") from error

"""Pickles of NumPy arrays, read by a reader that knows nothing else and calls nothing that they name.

Model zoos once stored weights so. A pickle is a program: here its calls can reach only the few functions below, which
turn bytes into numbers after the sizes that they claim have been checked.
"""

from __future__ import annotations

import io
import math
import pickle
import pickletools
import re
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

_NUMBER = re.compile(r"b1|[iu][1248]|f[248]")
_MEMO_WRITES = ("PUT", "BINPUT", "LONG_BINPUT")
_DIMENSIONS = 32


def load_arrays(data: bytes, load_torch: Callable[[bytes], Any]) -> Any:
    """Content of a pickle of arrays in plain containers; every array is a tensor in memory of its own.

    ``load_torch`` reads, safely, what PyTorch stored as a file within the pickle.

    Raises:
        pickle.UnpicklingError: it holds something else, or claims sizes that it does not have.
    """
    _check_operations(data)
    return _finished(_ArrayUnpickler(data, load_torch).load())


def _check_operations(data: bytes) -> None:
    """Refuse truncated strings, and far places in the memo, up to which a reader would fill the memory."""
    for count, (operation, argument, _) in enumerate(pickletools.genops(data)):
        if operation.name in _MEMO_WRITES and int(argument) > count:
            raise pickle.UnpicklingError(f"it claims {argument} remembered values at its {count}. operation")


class _NumberType:
    """What stands for ``numpy.dtype``."""

    def __init__(self, code: str = "", *_: object) -> None:
        self.code, self.order = code, "="

    def __setstate__(self, state: tuple) -> None:
        self.order = state[1] if state[1] in ("<", ">") else "="

    def to_numpy(self) -> np.dtype:
        if not isinstance(self.code, str) or not _NUMBER.fullmatch(self.code):
            raise pickle.UnpicklingError(f"it holds an array of {str(self.code)[:20]!r}, which are no numbers")
        return np.dtype(self.order + self.code)


class _Array:
    """What stands for ``numpy.ndarray`` until its state is known."""

    tensor: Tensor | None = None

    def __setstate__(self, state: tuple) -> None:
        _, shape, number, fortran, data = state
        self.tensor = _tensor(data, number, shape, "F" if fortran else "C")


class _Storage:
    """What stands for a storage of PyTorch."""

    def __init__(self, storage: object) -> None:
        if not isinstance(storage, torch.storage.TypedStorage):
            raise pickle.UnpicklingError(f"it holds a {type(storage).__name__} in the place of a tensor's values")
        self.values = torch.tensor([], dtype=storage.dtype).set_(storage)


def _tensor(data: bytes | str, number: _NumberType, shape: Sequence[int], order: str) -> Tensor:
    """Values of a C or Fortran ordered array of the given shape."""
    kind = number.to_numpy()
    data = data.encode("latin1") if isinstance(data, str) else data
    if not isinstance(shape, tuple) or len(shape) > _DIMENSIONS or not all(type(n) is int and n >= 0 for n in shape):
        raise pickle.UnpicklingError("it holds an array without a proper shape")
    if math.prod(shape) * kind.itemsize != len(data):
        raise pickle.UnpicklingError(
            f"it holds an array that claims the shape {list(shape)}, {math.prod(shape) * kind.itemsize} bytes, "
            f"and has {len(data)}"
        )
    array = np.frombuffer(data, kind).reshape(shape, order=order)
    return torch.from_numpy(np.array(array, kind.newbyteorder("="), order="C"))


def _uncalled(*_: object) -> None:
    """What ``numpy.ndarray`` means: a name to pass on; called, it would take memory for a shape without values."""
    raise pickle.UnpicklingError("it asks for an array without values")


def _reconstructed(*_: object) -> _Array:
    return _Array()


def _scalar(number: _NumberType, data: bytes | str) -> Tensor:
    return _tensor(data, number, (), "C")


def _from_buffer(data: bytes, number: _NumberType, shape: tuple, order: str) -> Tensor:
    return _tensor(bytes(data), number, shape, order)


def _encoded(text: str, encoding: str) -> bytes:
    """Bytes as Python 2 wrote them."""
    if encoding not in ("latin1", "latin-1"):
        raise pickle.UnpicklingError(f"it holds text in the encoding {str(encoding)[:20]!r}")
    return text.encode("latin1")


def _no_bytes() -> bytes:
    """How old pickles write an empty string of bytes; with an argument it would be a call for memory."""
    return b""


def _rebuilt(storage: _Storage, offset: int, size: tuple, stride: tuple, *_: object) -> Tensor:
    # as_strided refuses what lies outside of the storage
    return storage.values.as_strided(size, stride, offset)


_MEANINGS: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("numpy", "dtype"): _NumberType,
    ("numpy", "ndarray"): _uncalled,
    ("numpy.core.multiarray", "_reconstruct"): _reconstructed,
    ("numpy.core.multiarray", "scalar"): _scalar,
    ("numpy.core.numeric", "_frombuffer"): _from_buffer,
    ("_codecs", "encode"): _encoded,
    ("__builtin__", "bytes"): _no_bytes,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuilt,
}


class _ArrayUnpickler(pickle.Unpickler):
    """Finds the functions of this file and nothing else."""

    def __init__(self, data: bytes, load_torch: Callable[[bytes], Any]) -> None:
        super().__init__(io.BytesIO(data), encoding="latin1")
        self._load_torch = load_torch

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("torch.storage", "_load_from_bytes"):
            return lambda data: _Storage(self._load_torch(data))
        meaning = _MEANINGS.get((module.replace("numpy._core", "numpy.core"), name))
        if meaning is None:
            raise pickle.UnpicklingError(f"it holds {module}.{name}, which is neither a number nor an array")
        return meaning


def _finished(content: Any) -> Any:
    """The same with tensors in the place of the arrays of the outer two levels, where weights are."""
    if not isinstance(content, dict):
        return content
    return {
        key: {name: _value(item) for name, item in value.items()} if isinstance(value, dict) else _value(value)
        for key, value in content.items()
    }


def _value(item: Any) -> Any:
    return item.tensor if isinstance(item, _Array) else item

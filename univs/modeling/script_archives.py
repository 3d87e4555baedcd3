"""The tensors in an archive of TorchScript, such as the files in which CLIP was published; its program is not run.

Such an archive holds code, and beside it the attributes of the module and its parts as a pickle with tensors in files
of their own. Here only these are read, every class of the program being a plain holder of attributes.
"""

from __future__ import annotations

import io
import math
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

CONSTANTS = "constants.pkl"
_ATTRIBUTES = "data.pkl"
_NUMBERS = {
    "BoolStorage": torch.bool,
    "ByteStorage": torch.uint8,
    "CharStorage": torch.int8,
    "ShortStorage": torch.int16,
    "IntStorage": torch.int32,
    "LongStorage": torch.int64,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "FloatStorage": torch.float32,
    "DoubleStorage": torch.float64,
}
# how deep the parts of a module lie within each other at most
_DEPTH = 64


def read_script_archive(archive: zipfile.ZipFile) -> dict[str, Tensor]:
    """Parameters and buffers of the stored module, by name.

    Raises:
        pickle.UnpicklingError: it holds something else, or claims sizes that it does not have.
    """
    reader = _AttributeUnpickler(archive)
    named: dict[str, Tensor] = {}
    _collect(reader.load(), "", named, 0)
    return named


class _Holder:
    """What stands for an object of the program."""

    attributes: Mapping[str, Any] = {}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self.attributes = state if isinstance(state, Mapping) else {}


class _AttributeUnpickler(pickle.Unpickler):
    """Knows tensors, plain containers and holders of attributes."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        (place,) = [name for name in archive.namelist() if name.count("/") == 1 and name.endswith(f"/{_ATTRIBUTES}")]
        self._archive, self._folder = archive, place.removesuffix(_ATTRIBUTES)
        super().__init__(io.BytesIO(archive.read(place)))

    def find_class(self, module: str, name: str) -> Any:
        if module.split(".")[0] == "__torch__":
            return _Holder
        if module == "torch" and name in _NUMBERS:
            return _NUMBERS[name]
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _tensor
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        raise pickle.UnpicklingError(f"it holds {module}.{name}, which is no part of a module's state")

    def persistent_load(self, place: Any) -> Tensor:
        """The numbers of a tensor [N], which lie in a file of their own."""
        _, number, key, _, count = place
        data = self._archive.read(f"{self._folder}data/{key}")
        if not isinstance(number, torch.dtype) or len(data) != count * number.itemsize:
            raise pickle.UnpicklingError(f"it claims {count} numbers in the part {str(key)[:20]} of {len(data)} bytes")
        return torch.frombuffer(bytearray(data), dtype=number) if data else torch.empty(0, dtype=number)


def _tensor(values: Tensor, offset: int, size: tuple, stride: tuple, *_: object) -> Tensor:
    if math.prod(size) > len(values):
        raise pickle.UnpicklingError(f"it claims a tensor of the shape {list(size)} with {len(values)} numbers")
    return values.as_strided(size, stride, offset)


def _collect(item: Any, name: str, named: dict[str, Tensor], depth: int) -> None:
    """Put the tensors of a module and of its parts into ``named``."""
    if isinstance(item, Tensor):
        named[name] = item
    elif isinstance(item, _Holder) and depth < _DEPTH:
        for key, value in item.attributes.items():
            _collect(value, f"{name}.{key}" if name else str(key), named, depth + 1)

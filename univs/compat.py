"""Make Detectron2 usable on current PyTorch, NumPy and Pillow.

Two Detectron2 call themselves 0.6: the release of 2022 in its Python part only, and today's upstream repository, with
or without its compiled extension. ``apply()`` makes either importable, and must run before ``detectron2`` is first
imported. Nothing on disk is changed, and every shim only adds a name that is missing.

Importing this module is cheap: PyTorch and Detectron2 are imported by ``apply()``.
"""

from __future__ import annotations

import codecs
import importlib
import importlib.util
import os
import sys
import types
import warnings
from collections.abc import Callable
from typing import Any

from univs.errors import UserError

_PILLOW_NAMES = {"LINEAR": "BILINEAR", "CUBIC": "BICUBIC", "ANTIALIAS": "LANCZOS"}
_NUMPY_ALIASES = {"bool": bool, "int": int, "float": float, "object": object, "str": str}
_HARMLESS_WARNINGS = (
    r".*torch\.cuda\.amp\.(autocast|GradScaler).*deprecated.*",
    r".*torch\.jit\.script. is deprecated.*",
    r".*torch\.meshgrid: in an upcoming release.*",
    r".*pkg_resources is deprecated.*",
)
_added: list[str] | None = None


def apply() -> list[str]:
    """Make Detectron2 importable; later calls do nothing.

    Returns:
        The names that this process had to add, for bug reports.

    Raises:
        UserError: Detectron2 is not installed.
    """
    global _added
    if _added is None:
        if importlib.util.find_spec("detectron2") is None:
            raise UserError(
                "Detectron2 is not installed in this environment; run `make install` in the project's folder, "
                "or `python tools/install_detectron2.py` with this Python."
            )
        _silence_harmless_warnings()
        added = [
            *_restore_pillow_names(),
            *_restore_numpy_aliases(),
            *_replace_pkg_resources(),
            *_allow_numpy_scalars_in_checkpoints(),
            *_replace_extension(),
        ]
        _added = added
    return list(_added)


def _silence_harmless_warnings() -> None:
    for message in _HARMLESS_WARNINGS:
        warnings.filterwarnings("ignore", message=message)


def _restore_pillow_names() -> list[str]:
    """Pillow 10 removed names of filters that the release uses as default arguments."""
    from PIL import Image

    missing = [old for old in _PILLOW_NAMES if not hasattr(Image, old)]
    for old in missing:
        setattr(Image, old, getattr(Image, _PILLOW_NAMES[old]))
    return [f"PIL.Image.{old}" for old in missing]


def _restore_numpy_aliases() -> list[str]:
    """NumPy 1.24 removed aliases of Python types that the release and lvis use."""
    import numpy

    # vars(), since numpy answers a look-up of a removed alias with an error or a warning
    missing = [alias for alias in _NUMPY_ALIASES if alias not in vars(numpy)]
    for alias in missing:
        setattr(numpy, alias, _NUMPY_ALIASES[alias])
    return [f"numpy.{alias}" for alias in missing]


def _replace_pkg_resources() -> list[str]:
    """Setuptools 81 removed ``pkg_resources``; Detectron2's model zoo asks it for one function."""
    if importlib.util.find_spec("pkg_resources") is not None:
        return []

    def resource_filename(package: str, resource: str) -> str:
        spec = importlib.util.find_spec(package)
        if spec is None or not spec.submodule_search_locations:
            raise ModuleNotFoundError(f"no package named {package!r}", name=package)
        return os.path.join(spec.submodule_search_locations[0], *resource.split("/"))

    stand_in = types.ModuleType("pkg_resources", "Stand-in that knows resource_filename only.")
    # A module without a spec would make a later find_spec("pkg_resources") raise ValueError.
    stand_in.__spec__ = importlib.util.spec_from_loader("pkg_resources", loader=None)
    stand_in.resource_filename = resource_filename
    sys.modules["pkg_resources"] = stand_in
    return ["pkg_resources"]


def _allow_numpy_scalars_in_checkpoints() -> list[str]:
    """Let the safe mode of ``torch.load`` read the NumPy scalars that training states hold."""
    import numpy
    import torch

    if not hasattr(torch.serialization, "add_safe_globals"):
        return []  # torch.load is not in safe mode by default there
    multiarray = getattr(numpy, "_core", None) or numpy.core
    scalar = multiarray.multiarray.scalar
    dtype_classes = {type(numpy.dtype(code)) for code in "?bBhHiIlLqQefdFD"}
    # the bytes of a scalar are pickled as text with its encoding
    allowed = [
        codecs.encode,
        scalar,
        numpy.dtype,
        numpy.ndarray,
        *sorted(dtype_classes, key=lambda kind: kind.__name__),
    ]
    # NumPy 1 and 2 pickle the function under different module names
    if _torch_version() >= (2, 6):
        allowed += [(scalar, "numpy.core.multiarray.scalar"), (scalar, "numpy._core.multiarray.scalar")]
    torch.serialization.add_safe_globals(allowed)
    return ["torch.serialization: NumPy scalars"]


def _torch_version() -> tuple[int, int]:
    import torch

    major, minor = torch.__version__.split(".")[:2]
    return int(major), int(minor)


class _MissingExtension(types.ModuleType):
    """Stands for the absent compiled module: importable, and unusable with a clear error."""

    __file__ = ""

    @staticmethod
    def get_compiler_version() -> str:
        return "not built"

    @staticmethod
    def get_cuda_version() -> str:
        return "not built"

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("__"):
            raise AttributeError(name)

        def fail(*args: Any, **kwargs: Any) -> None:
            raise NotImplementedError(
                f"detectron2._C.{name} needs Detectron2's compiled extension, which is not installed; only rotated "
                "boxes, Detectron2's own DeformConv and its fast COCO evaluation use it."
            )

        return fail


def _replace_extension() -> list[str]:
    """Put a stub in the place of ``detectron2._C``, only where the package cannot be imported without it.

    Upstream imports the extension lazily and has fall-backs of its own that hang on the ImportError, so the stub must
    not be there for it.
    """
    try:
        importlib.import_module("detectron2.layers")
        return []
    except ImportError as error:
        if "_C" not in str(error):
            raise
    import detectron2

    stub = _MissingExtension("detectron2._C")
    sys.modules["detectron2._C"] = stub
    detectron2._C = stub
    importlib.import_module("detectron2.layers")
    return ["detectron2._C", *_replace_fast_coco_evaluation()]


def _replace_fast_coco_evaluation() -> list[str]:
    """COCOEvaluator of the release takes the compiled evaluation by default: give it the plain one."""
    if importlib.util.find_spec("pycocotools") is None:
        return []
    from pycocotools.cocoeval import COCOeval

    name = "detectron2.evaluation.fast_eval_api"
    fast_evaluation = types.ModuleType(name)
    fast_evaluation.COCOeval_opt = COCOeval
    sys.modules[name] = fast_evaluation
    return [name]

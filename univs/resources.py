"""Files that come with the library: configs and weights, from a clone as well as from an installed package."""

from __future__ import annotations

from pathlib import Path

from univs.errors import UserError

_PACKAGE = Path(__file__).resolve().parent
# An installed package holds the configs inside; in a clone they lie beside the package.
_CONFIG_FOLDERS = (_PACKAGE / "configs", _PACKAGE.parent / "configs")
_WEIGHT_FOLDER = _PACKAGE / "weights"


def config_file(name: str) -> Path:
    """Path of a shipped config, named by its path under ``configs/``, such as ``mini/univs_mini.yaml``.

    Raises:
        UserError: no config has this name; the message lists those that are near.
    """
    folder = next((folder for folder in _CONFIG_FOLDERS if folder.is_dir()), _CONFIG_FOLDERS[0])
    path = folder / name
    if path.is_file():
        return path
    near = sorted(found.relative_to(folder).as_posix() for found in folder.rglob(f"{Path(name).stem[:5]}*.yaml"))
    raise UserError(f"No config {name!r} comes with the library; there are: {', '.join(near) or 'none like it'}.")


def weights_file(name: str) -> Path:
    """Path of weights that come with the library, such as ``univs_mini.safetensors``.

    Raises:
        UserError: no weights have this name; the message lists those that there are.
    """
    path = _WEIGHT_FOLDER / name
    if path.is_file():
        return path
    there = sorted(found.name for found in _WEIGHT_FOLDER.glob("*.safetensors"))
    raise UserError(f"No weights {name!r} come with the library; there are: {', '.join(there) or 'none'}.")

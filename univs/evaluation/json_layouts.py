"""Results that are one JSON file: the file itself, or the folder that holds it."""

from __future__ import annotations

from pathlib import Path

from univs.errors import UserError


def one_json(path: Path) -> Path:
    """The JSON file at ``path`` or, of a folder, the only one in it.

    Raises:
        UserError: none or several.
    """
    if path.is_file():
        return path
    found = sorted(file for file in path.glob("*.json") if file.is_file())
    if len(found) != 1:
        names = ", ".join(file.name for file in found[:4]) or "none"
        raise UserError(f"{path} must be a JSON file, or a folder with one in it; found: {names}.")
    return found[0]

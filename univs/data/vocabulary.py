"""Lists of class names, kept as text files in ``vocabularies``.

One name a line, class 1 first; a tab and the word "stuff" behind a name mark what has no instances (sky, grass). Empty
lines and lines that begin with "# " are left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from univs.errors import UserError

FOLDER = Path(__file__).parent / "vocabularies"
STUFF = "stuff"
# data sets with the classes of another one
SAME_CLASSES = {"burst": "lvis", "viposeg": "vipseg", "entityseg": "entityseg_panoptic"}


@dataclass(frozen=True)
class Vocabulary:
    """Class names; ``is_thing[i]`` says whether class ``names[i]`` has instances."""

    names: tuple[str, ...]
    is_thing: tuple[bool, ...]


def read_vocabulary(name: str) -> Vocabulary:
    """Read the vocabulary that comes with the library under this name, or a user's file of the same form.

    Raises UserError for a name that is neither, an empty file, or a word other than "stuff" behind a name.
    """
    path = FOLDER / f"{SAME_CLASSES.get(name, name)}.txt"
    if not path.is_file():
        path = Path(name)
    if not path.is_file():
        known = ", ".join(sorted([*SAME_CLASSES, *(file.stem for file in FOLDER.glob("*.txt"))]))
        raise UserError(f"There is no vocabulary and no file '{name}'; vocabularies are {known}.")
    return parse_vocabulary(path.read_text(encoding="utf-8"), str(path))


def class_names(dataset: str) -> tuple[str, ...]:
    """Names of the classes of a data set, by its short name; class 1 first.

    Raises UserError where the library has no list of them.
    """
    return read_vocabulary(dataset).names


def parse_vocabulary(text: str, source: str) -> Vocabulary:
    """The vocabulary in a text; ``source`` is named in errors."""
    names, is_thing = [], []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("# "):
            continue
        name, _, kind = line.partition("\t")
        if kind.strip() not in ("", STUFF):
            raise UserError(f"{source}, line {number}: '{kind.strip()}' behind a name; only '{STUFF}' is known.")
        names.append(name.strip())
        is_thing.append(not kind)
    if not names:
        raise UserError(f"{source} holds no class names.")
    return Vocabulary(tuple(names), tuple(is_thing))

"""Reading the JSON files of data sets, with an answer to whoever wrote them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from univs.errors import UserError


def read_json(path: Path) -> Any:
    """Read a JSON file of a data set.

    Raises:
        UserError: the file is missing or is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path} is missing; see datasets/README.md for the layout that is expected there.") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not valid JSON ({error}); fetch or build the data set again.") from None


@contextmanager
def complete_entries(path: Path) -> Iterator[None]:
    """Say which file it was if an entry in it lacks something.

    Raises:
        UserError: a key was missing, or a value was of another kind.
    """
    try:
        yield
    except KeyError as error:
        raise UserError(f"An entry of {path} has no {error}; see datasets/README.md for what is expected.") from None
    except (TypeError, AttributeError, ValueError) as error:
        raise UserError(f"An entry of {path} is not as datasets/README.md describes it: {error}.") from None


def checked_id(value: Any) -> int:
    """An object id, as masks of one byte per pixel can hold it beside what is pasted into clips.

    Raises:
        ValueError: it is not within 1..199.
    """
    if not 1 <= int(value) <= 199:
        raise ValueError(f"the object id {value} is not within 1..199")
    return int(value)

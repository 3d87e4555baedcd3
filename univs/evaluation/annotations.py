"""Annotations in JSON: tables of entries, lists of segments and run-length masks, checked where they are read."""

from __future__ import annotations

import gc
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from univs.errors import UserError
from univs.evaluation.benchmark import BrokenSequence
from univs.evaluation.metrics.coded_tracks import CodedTracks, MalformedMask
from univs.evaluation.metrics.panoptic_matching import FrameSegments

try:
    from msgspec.json import decode as parse  # twice as fast
except ImportError:  # an environment of the user's own
    from json import loads as parse

NUMBERS = (int, float)
LARGEST = 1 << 63
KINDS = {dict: "an object", list: "a list", str: "a text", int: "an integer", float: "a number"}


def read_json(path: Path, kind: type) -> Any:
    """Content of a JSON file, a ``kind`` (dict or list).

    Raises:
        UserError: the file is missing, cut off, no JSON, or something else inside.
    """
    try:
        with _no_collection():
            content = _parsed(path.read_bytes())
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}.") from error
    except json.JSONDecodeError as error:
        raise UserError(
            f"{path} is not whole JSON: {error.msg} in line {error.lineno}, column {error.colno}; write it again."
        ) from error
    except (UnicodeDecodeError, RecursionError) as error:
        raise UserError(f"{path} is not JSON text ({type(error).__name__}).") from error
    if not isinstance(content, kind):
        raise UserError(f"{path} holds {_kind_of(content)} where {KINDS[kind]} is expected.")
    return content


def _parsed(text: bytes) -> Any:
    try:
        return parse(text)
    except (ValueError, RecursionError):
        return json.loads(text)  # knows NaN and other encodings, or says where what is wrong


@contextmanager
def _no_collection() -> Iterator[None]:
    """Millions of new objects of which none is garbage; looking for it again and again takes a fifth of the time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def member(entry: Any, name: str, kind: type, where: str) -> Any:
    """``entry[name]`` of a ``kind``; a float holds any number, an int no float.

    Raises:
        UserError: it is missing or of another kind; ``where`` names the file and the entry.
    """
    if type(entry) is dict and type(value := entry.get(name)) is kind and (kind not in NUMBERS or _is(value, kind)):
        return value
    if not isinstance(entry, dict):
        raise UserError(f"{where} is {_kind_of(entry)} where an object with {name!r} is expected.")
    if name not in entry:
        raise UserError(f"{where} has no {name!r}.")
    value = entry[name]
    if not _is(value, kind):
        raise UserError(f"{where} has {name} = {_short(value)} where {KINDS[kind]} is expected.")
    return value


def members(entry: Any, name: str, kind: type, where: str) -> list[Any]:
    """``entry[name]``, a list whose values are all of a ``kind``.

    Raises:
        UserError: it is missing or something else.
    """
    values = member(entry, name, list, where)
    for place, value in enumerate(values):
        if not _is(value, kind):
            raise UserError(f"{where} has {_short(value)} at place {place} of {name}, where {KINDS[kind]} is expected.")
    return values


def crowd_of(entry: Mapping[str, Any], where: str) -> int:
    """Whether an entry stands for a crowd, ``iscrowd``, as a number; 0 where it does not say.

    Raises:
        UserError: it is neither 0 nor 1, nor a truth value.
    """
    value = entry.get("iscrowd", 0)
    if not (isinstance(value, int) and value in (0, 1)):
        raise UserError(f"{where} has iscrowd = {_short(value)} where 0 or 1 is expected.")
    return int(value)


def _is(value: Any, kind: type) -> bool:
    """Whether a value is of a kind; integers are those of 64 bits."""
    if kind in NUMBERS and isinstance(value, int):
        return not isinstance(value, bool) and -LARGEST <= value < LARGEST
    return isinstance(value, kind) and (kind is not float or math.isfinite(value))


def _kind_of(value: Any) -> str:
    return next((text for kind, text in KINDS.items() if _is(value, kind)), _short(value))


def _short(value: Any) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= 40 else f"{text[:37]}..."


def unique_by(entries: Iterable[Any], key: Callable[[Any], Any], where: str, what: str) -> dict[Any, Any]:
    """Entries by key.

    Raises:
        UserError: two with one key.
    """
    found: dict[Any, Any] = {}
    for entry in entries:
        name = key(entry)
        if name in found:
            raise UserError(f"{where} has {what} {name!r} twice.")
        found[name] = entry
    return found


def thing_categories(content: Mapping[str, Any], path: Path) -> dict[int, bool]:
    """Category id -> whether it is a thing, of a panoptic ground truth, in its order.

    Raises:
        UserError: a malformed or repeated category.
    """
    where = f"A category of {path}"
    entries = member(content, "categories", list, str(path))
    by_id = unique_by(entries, lambda entry: member(entry, "id", int, where), str(path), "the category id")
    return {category: bool(member(entry, "isthing", int, where)) for category, entry in by_id.items()}


def frame_segments(
    listing: Sequence[Any], places: Mapping[int, int], where: str, of_truth: bool, repeated: str = "add"
) -> FrameSegments:
    """The list of segments of a frame as arrays.

    Args:
        listing: ``segments_info``.
        places: category id -> place in the category table.
        where: file and frame for messages.
        of_truth: true segments need an area and may have unknown categories, which count nowhere.
        repeated: what a second entry of one id does: "add" its area to the first, or "replace" it.

    Raises:
        BrokenSequence: a malformed entry or, of a prediction, an unknown category.
    """
    rows = _plain_rows(listing, places)
    if rows is None:
        rows = [_segment(entry, places, where, of_truth) for entry in listing]
    found: dict[int, list[int]] = {}
    for row in rows:
        known = found.get(row[0])
        if known is None or repeated == "replace":
            found[row[0]] = row
        else:
            known[3] = known[3] + row[3] if min(known[3], row[3]) >= 0 else -1
    table = np.array(list(found.values()), np.int64).reshape(-1, 4)
    return FrameSegments(table[:, 0], table[:, 1], table[:, 2] == 1, table[:, 3])


def _plain_rows(listing: Sequence[Any], places: Mapping[int, int]) -> list[list[int]] | None:
    """What ``_segment`` gives of every entry, if there is nothing about them that needs a closer look."""
    try:
        rows = [[e["id"], places[e["category_id"]], e.get("iscrowd", 0), e["area"]] for e in listing]
    except (KeyError, TypeError, AttributeError):
        return None
    plain = all(type(value) is int for row in rows for value in row)
    return rows if plain and max(map(max, rows), default=0) < LARGEST else None


def _segment(entry: Any, places: Mapping[int, int], where: str, of_truth: bool) -> list[int]:
    """Id, place of the category, crowd, area (-1: not stated) of one entry."""
    try:
        number = member(entry, "id", int, f"A segment of {where}")
        at = f"Segment {number} of {where}"
        category = member(entry, "category_id", int, at)
        area = member(entry, "area", float, at) if of_truth or "area" in entry else -1
        if abs(area) >= LARGEST:
            raise UserError(f"{at} has the area {area}, more than a picture can have.")
        crowd = crowd_of(entry, at)
    except UserError as error:
        raise BrokenSequence(str(error)) from error
    if category not in places and not of_truth:
        known = f"one of {len(places)} from {min(places)} to {max(places)}" if places else "one of none"
        raise BrokenSequence(f"{at} has the unknown category {category}; {known} is expected.")
    return [number, places.get(category, len(places)), crowd, int(area)]


def check_listed(segments: FrameSegments, ids: np.ndarray, where: str, picture: str) -> None:
    """See that the ids of a predicted picture (void 0 apart) are those that are listed.

    Raises:
        BrokenSequence: one that is only in the list or only in the picture.
    """
    painted, known = set(ids.tolist()), set(segments.ids.tolist())
    unlisted, absent = painted - known - {0}, known - painted
    if unlisted:
        raise BrokenSequence(f"{picture} has the segment id {min(unlisted)}, which {where} does not list.")
    if absent:
        raise BrokenSequence(f"{where} lists the segment id {min(absent)}, which {picture} does not have.")


def coded_tracks(tracks: Sequence[Sequence[Any]], names: Sequence[str]) -> CodedTracks:
    """Tracks of masks, each None or a compressed run-length code; ``names`` say file and track for messages.

    Raises:
        BrokenSequence: something else, or runs that do not fill the picture.
    """
    try:
        return CodedTracks.of(tracks)
    except MalformedMask as error:
        raise BrokenSequence(f"{names[error.row]}, frame {error.frame}: {error.problem}.") from error

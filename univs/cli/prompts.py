"""Prompts as they are written on a command line.

``ID:x,y@FRAME`` and the like; without ``@FRAME`` frame 0 is meant. Coordinates are pixels of the video.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from univs.errors import UserError

if TYPE_CHECKING:
    from univs.inference.session import VideoSession

Edit = Callable[["VideoSession"], None]
Point = tuple[float, float]

_ID = re.compile(r"(\d+):(.*)", re.DOTALL)
_FRAME = re.compile(r"(.*)@(\d+)", re.DOTALL)


@dataclass(frozen=True)
class LinePrompt:
    """One prompt of the command line: its kind, and what it does to a session."""

    kind: str
    edit: Edit


def add_prompt_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that prompt objects, each of which may be given many times."""
    group = parser.add_argument_group("prompts", "each may be given many times; several kinds may go to one object ID")
    for option, form, text in (
        ("--click", "ID:x,y@FRAME", "a click on the object"),
        ("--negative-click", "ID:x,y@FRAME", "a click beside the object, where it is not"),
        ("--box", "ID:x0,y0,x1,y1@FRAME", "a box round the object"),
        ("--mask", "PNG@FRAME", "a mask of the video's size: one object per value of the palette, 0 is background"),
        ("--scribble", "ID:x,y;x,y;...@FRAME", "a stroke on the object"),
        ("--negative-scribble", "ID:x,y;x,y;...@FRAME", "a stroke beside the object"),
        ("--text", 'ID:"SENTENCE"', "a sentence that describes the object, which is looked for from frame 0 on"),
        ("--name", "ID:NAME", "what the object is called in the results"),
    ):
        group.add_argument(option, metavar=form, action="append", default=[], help=text)
    group.add_argument(
        "--categories", metavar="NAMES", help="find all objects of these categories: person,dog or a file of names"
    )
    group.add_argument("--every", type=int, metavar="N", help="frames between two searches for categories (default: 5)")


def parse_prompts(arguments: argparse.Namespace) -> list[LinePrompt]:
    """All prompts of a command line; UserError names the one that is malformed and the form it should have."""
    prompts = [_click("--click", value, 1) for value in arguments.click]
    prompts += [_click("--negative-click", value, 0) for value in arguments.negative_click]
    prompts += [_box(value) for value in arguments.box]
    prompts += [_mask(value) for value in arguments.mask]
    prompts += [_scribble("--scribble", value, 1) for value in arguments.scribble]
    prompts += [_scribble("--negative-scribble", value, 0) for value in arguments.negative_scribble]
    prompts += [_text(value) for value in arguments.text]
    if arguments.categories:
        names = read_categories(arguments.categories)
        prompts.append(LinePrompt("category", lambda session: session.discover(names, arguments.every)))
    return prompts + [_name(value) for value in arguments.name]


def read_categories(value: str) -> list[str]:
    """Category names, separated by commas, or the lines of a text file."""
    path = Path(value)
    if path.is_file():
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"--categories {value}: not a text file of names, one on a line.") from error
        names = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
        if not names:
            raise UserError(f"--categories {value}: the file holds no names; write one on a line.")
        return names
    if path.suffix == ".txt" or "/" in value:
        raise UserError(
            f"--categories {value}: there is no such file; check the path, or give names such as person,dog."
        )
    return value.split(",")


def _click(option: str, value: str, label: int) -> LinePrompt:
    object_id, frame, text = _parts(option, value, "ID:x,y@FRAME")
    (point,) = _points(option, value, text, "ID:x,y@FRAME", exactly=1)
    return LinePrompt("point", lambda session: session.add_click(object_id, frame, [point], [label]))


def _box(value: str) -> LinePrompt:
    form = "ID:x0,y0,x1,y1@FRAME"
    object_id, frame, text = _parts("--box", value, form)
    corners = _numbers("--box", value, text, form, count=4)
    return LinePrompt("box", lambda session: session.add_box(object_id, frame, corners))


def _mask(value: str) -> LinePrompt:
    from univs.video.palette import read_palette_mask

    found = _FRAME.fullmatch(value)
    path, frame = (found[1], int(found[2])) if found and not Path(value).exists() else (value, 0)
    ids = read_palette_mask(path)

    def edit(session: VideoSession) -> None:
        if ids.shape != session.size:
            height, width = session.size
            raise UserError(
                f"--mask {value}: the mask has {ids.shape[1]}x{ids.shape[0]} pixels, the video {width}x{height}; "
                "give a mask of the video's own size."
            )
        session.add_id_map(frame, ids)

    return LinePrompt("mask", edit)


def _scribble(option: str, value: str, label: int) -> LinePrompt:
    form = "ID:x,y;x,y;...@FRAME"
    object_id, frame, text = _parts(option, value, form)
    stroke = _points(option, value, text, form)
    return LinePrompt("scribble", lambda session: session.add_scribble(object_id, frame, [stroke], [label]))


def _text(value: str) -> LinePrompt:
    found = _ID.fullmatch(value)
    if not found or not found[2].strip():
        raise UserError(f'--text {value!r} is malformed; write ID:"SENTENCE", for example 1:"the dog on the left".')
    return LinePrompt("text", lambda session: session.add_text(int(found[1]), found[2]))


def _name(value: str) -> LinePrompt:
    found = _ID.fullmatch(value)
    if not found or not found[2].strip():
        raise UserError(f"--name {value!r} is malformed; write ID:NAME, for example 1:bus.")
    return LinePrompt("name", lambda session: session.rename(int(found[1]), found[2].strip()))


def _parts(option: str, value: str, form: str) -> tuple[int, int, str]:
    """Object id, frame and the text between them."""
    found = _FRAME.fullmatch(value)
    text, frame = (found[1], int(found[2])) if found else (value, 0)
    numbered = _ID.fullmatch(text)
    if not numbered:
        raise UserError(f"{option} {value!r} is malformed; write {form}.")
    return int(numbered[1]), frame, numbered[2]


def _points(option: str, value: str, text: str, form: str, exactly: int | None = None) -> list[Point]:
    pairs = [_numbers(option, value, pair, form, count=2) for pair in text.split(";") if pair.strip()]
    if not pairs or (exactly is not None and len(pairs) != exactly):
        raise UserError(f"{option} {value!r} is malformed; write {form}.")
    return [(x, y) for x, y in pairs]


def _numbers(option: str, value: str, text: str, form: str, count: int) -> list[float]:
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) != count:
        raise UserError(f"{option} {value!r} is malformed; write {form}.")
    return numbers

"""Session files: prompts, settings and results of a session in one zip file that holds plain data only.

``session.json`` everything said, ``masks.bin`` the stored masks one after another, ``index.npy`` which bytes of it
belong to which frame. The file is documented in docs/SESSION.md; nothing in it is ever executed, and sizes are checked
first.
"""

from __future__ import annotations

import glob
import hashlib
import io
import json
import os
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from univs.errors import UserError
from univs.inference.canonical import from_plain, to_plain
from univs.inference.mask_store import Entry, FrameTable
from univs.inference.results import GapMasks, ResultBook
from univs.inference.settings import SessionSettings
from univs.inference.timeline import CategorySearch, GapKey, Timeline, TrackedObject, UserFrame
from univs.structures import MaskPrompt
from univs.video.files import written_whole

FORMAT = "univs-session"
VERSION = 1
MEMBERS = ("session.json", "index.npy", "masks.bin")
MOST_BYTES = {"session.json": 256 << 20, "index.npy": 1 << 30, "masks.bin": 64 << 30}
_PROBE = 1 << 20
_CHUNK = 1 << 20
_INDEX = np.dtype([("table", "<i4"), ("frame", "<i8"), ("offset", "<i8"), ("length", "<i4"), ("score", "<f4")])


@dataclass
class SessionContents:
    """What a session file holds besides masks.

    video: where the video was (``path``, ``beside``: relative to the session file), its fingerprint, size and length.
    finished: ranges (first, last) of frames given out. position: the next frame to step to.
    """

    video: dict[str, Any]
    model: str
    settings: SessionSettings
    timeline: Timeline
    finished: list[tuple[int, int]]
    position: int


def write(path: Path, contents: SessionContents, book: ResultBook) -> None:
    """Write a session file; it appears under its name when it is whole.

    Raises:
        UserError: it cannot be written.
    """
    tables, index = _tables(book)
    plain = {
        "format": FORMAT,
        "version": VERSION,
        "video": contents.video,
        "model": contents.model,
        "settings": contents.settings.plain(),
        "timeline": _timeline_to_plain(contents.timeline),
        "finished": contents.finished,
        "position": contents.position,
        "grid": list(book.grid),
        "tables": tables,
    }
    buffer = io.BytesIO()
    np.save(buffer, index, allow_pickle=False)
    with written_whole(path) as partial, zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("session.json", json.dumps(plain, ensure_ascii=False, indent=1))
        archive.writestr("index.npy", buffer.getvalue())
        info = zipfile.ZipInfo("masks.bin")  # stored as it is: masks are compressed already
        with archive.open(info, "w", force_zip64=True) as member:
            for part in _parts(book):
                member.write(part)


def read(path: Path) -> tuple[SessionContents, Callable[[ResultBook], None]]:
    """Contents of a session file, and a function that fills a book with its masks.

    Raises:
        UserError: no such file, not a session file, a newer one, or a damaged one.
    """
    plain, index = _checked(path, _read_plain)
    contents = _checked(path, lambda _: _contents(plain))
    return contents, lambda book: _checked(path, lambda archive: _fill(book, plain, index, archive))


def describe_video(origin: str | None, size: tuple[int, int], length: int, path: Path) -> dict[str, Any]:
    """What a session file notes about its video. ``origin``: path, folder or glob; None for frames in memory."""
    video = {"path": None, "beside": None, "size": list(size), "length": length, "fingerprint": None}
    if origin is not None:
        video |= {"path": os.path.abspath(origin), "fingerprint": fingerprint(origin)}
        video["beside"] = os.path.relpath(os.path.abspath(origin), os.path.abspath(path.parent))
    return video


def locate_video(contents: SessionContents, path: Path) -> str:
    """Where the video of a session file is now: beside it as before, else where it was.

    Raises:
        UserError: it is at neither place.
    """
    beside, before = contents.video.get("beside"), contents.video.get("path")
    places = ([str(path.parent / beside)] if beside else []) + ([before] if before else [])
    for place in places:
        if os.path.exists(place) or glob.glob(place):
            return place
    where = f"{before} is not there any more" if before else "it was made with frames in memory"
    raise UserError(f"The video of {path} is missing ({where}); say where it is, with the same frames.")


def fingerprint(origin: str) -> str:
    """Name of a video's contents: of a file its size and beginning, of a folder the names and sizes of its files."""
    path = Path(origin)
    name = hashlib.sha256()
    if path.is_dir():
        for each in sorted(path.iterdir()):
            name.update(f"{each.name} {each.stat().st_size}\n".encode())
    elif path.is_file():
        name.update(str(path.stat().st_size).encode())
        with path.open("rb") as file:
            name.update(file.read(_PROBE))
    return name.hexdigest()[:32]


# ---- masks


def _tables(book: ResultBook) -> tuple[list[dict], np.ndarray]:
    """Plain names of all tables, and their entries as rows; table 0 holds the answers, numbered in order."""
    tables: list[dict] = [{"answers": list(book.answers)}]
    rows = [(0, place, *entry) for place, entry in enumerate(book.answers.values())]
    for key, masks in book.gaps.items():
        for side, table in [(0, masks.final), *masks.halves.items()]:
            rows += [(len(tables), frame, *table.get(frame)) for frame in table.frames().tolist()]
            tables.append({"gap": list(key), "side": side, "first": table.first})
    return tables, np.array(rows, _INDEX)


def _parts(book: ResultBook) -> Iterator[bytes]:
    for start in range(0, book.store.size, _CHUNK):
        yield book.store.read(Entry(start, min(_CHUNK, book.store.size - start), 0.0))


def _fill(book: ResultBook, plain: dict, index: np.ndarray, archive: zipfile.ZipFile) -> None:
    if tuple(plain["grid"]) != book.grid:
        return  # another model looks at the video on another grid: its masks are computed anew
    with archive.open("masks.bin") as member:
        while part := member.read(_CHUNK):
            book.store.write(part, 0.0)
    if ((index["offset"] < 0) | (index["length"] < 0) | (index["offset"] + index["length"] > book.store.size)).any():
        raise ValueError("masks lie outside the file")
    tables = plain["tables"]
    digests = list(tables[0]["answers"])
    gaps = [_table(book, table) for table in tables[1:]]
    for table, frame, *entry in index.tolist():
        if table == 0:
            book.answers[digests[frame]] = Entry(*entry)
        else:
            gaps[table - 1].put(frame, Entry(*entry))


def _table(book: ResultBook, plain: dict) -> FrameTable:
    left, right, expires = plain["gap"]
    first = int(plain["first"])
    masks = book.gaps.setdefault(GapKey(left, right, bool(expires)), GapMasks(FrameTable(first)))
    return masks.final if plain["side"] == 0 else masks.halves.setdefault(int(plain["side"]), FrameTable(first))


# ---- plain data


def _read_plain(archive: zipfile.ZipFile) -> tuple[dict, np.ndarray]:
    members = {info.filename: info for info in archive.infolist()}
    if set(members) != set(MEMBERS):
        raise ValueError("it does not hold what a session file holds")
    if any(members[name].file_size > most for name, most in MOST_BYTES.items()):
        raise ValueError("it is larger than a session can be")
    if members["masks.bin"].compress_type != zipfile.ZIP_STORED:
        raise ValueError("its masks are packed in another way")
    plain = json.loads(archive.read("session.json"))
    if plain["format"] != FORMAT:
        raise ValueError("it is of another format")
    if plain["version"] > VERSION:
        raise UserError(f"{archive.filename} was written by a newer version of univs; update univs to open it.")
    index = np.load(io.BytesIO(archive.read("index.npy")), allow_pickle=False)
    if index.dtype != _INDEX or index.ndim != 1:
        raise ValueError("its index is of another form")
    return plain, index


def _checked(path: Path, work: Callable[[zipfile.ZipFile], Any]) -> Any:
    try:
        with zipfile.ZipFile(path) as archive:
            return work(archive)
    except FileNotFoundError as error:
        raise UserError(f"There is no session file {path}; check the path.") from error
    except UserError:
        raise
    except _DAMAGE as error:
        raise UserError(f"{path} is no session file, or it is damaged: {error}.") from error


_DAMAGE = (OSError, zipfile.BadZipFile, ValueError, KeyError, TypeError, IndexError, AttributeError, EOFError)


def _contents(plain: dict) -> SessionContents:
    known = {field.name for field in fields(SessionSettings)}
    settings = SessionSettings(**{name: value for name, value in plain["settings"].items() if name in known})
    finished = [(int(first), int(last)) for first, last in plain["finished"]]
    timeline = _timeline_from_plain(plain["timeline"])
    return SessionContents(plain["video"], str(plain["model"]), settings, timeline, finished, int(plain["position"]))


def _timeline_to_plain(timeline: Timeline) -> dict:
    return {
        "next_id": timeline.next_id,
        "objects": [_object_to_plain(item) for item in timeline.objects.values()],
        "searches": [
            {"names": list(s.names), "every": s.every, "done": sorted(s.done), "found": s.found}
            for s in timeline.searches
        ],
    }


def _timeline_from_plain(plain: dict) -> Timeline:
    objects = [_object_from_plain(item) for item in plain["objects"]]
    searches = tuple(
        CategorySearch(tuple(s["names"]), int(s["every"]), frozenset(map(int, s["done"])), bool(s["found"]))
        for s in plain["searches"]
    )
    return Timeline({item.object_id: item for item in objects}, searches, int(plain["next_id"]))


def _object_to_plain(item: TrackedObject) -> dict:
    return {
        "id": item.object_id,
        "name": item.name,
        "category": item.category,
        "score": item.score,
        "discovered": item.discovered,
        "frames": [_frame_to_plain(frame) for frame in item.frames],
        "sentences": [to_plain(sentence) for sentence in item.sentences],
        "searched": item.searched,
        "replaced": [list(key) for key in item.replaced],
    }


def _object_from_plain(plain: dict) -> TrackedObject:
    return TrackedObject(
        object_id=int(plain["id"]),
        name=plain["name"],
        category=plain["category"],
        score=plain["score"],
        discovered=bool(plain["discovered"]),
        frames=tuple(_frame_from_plain(frame) for frame in plain["frames"]),
        sentences=tuple(from_plain(sentence) for sentence in plain["sentences"]),
        searched=int(plain["searched"]),
        replaced=tuple(GapKey(*key) for key in plain["replaced"]),
    )


def _frame_to_plain(item: UserFrame) -> dict:
    base = None if item.base is None else to_plain(item.base)
    return {"frame": item.frame, "prompts": [to_plain(prompt) for prompt in item.prompts], "base": base}


def _frame_from_plain(plain: dict) -> UserFrame:
    base = plain["base"]
    mask = from_plain(base) if base is not None else None
    if mask is not None and not isinstance(mask, MaskPrompt):
        raise ValueError("a base is no mask")
    return UserFrame(int(plain["frame"]), tuple(from_plain(prompt) for prompt in plain["prompts"]), mask)

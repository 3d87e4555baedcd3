"""Parts of scored sequences on disk, so that memory stays flat and an interrupted scoring goes on where it was.

One SQLite file holds a .npz archive of plain arrays and JSON per sequence; nothing that is read from it is ever
executed. Parts go through the same code whoever measured them, so that a summary is the same bit for bit.
"""

from __future__ import annotations

import io
import json
import sqlite3
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from univs.errors import UserError
from univs.evaluation.benchmark import Parts
from univs.evaluation.fingerprints import Fingerprint

SECONDS_BETWEEN_COMMITS = 1.0
"""A killed scoring loses at most this much; a commit for every picture would cost more than measuring it."""

SCHEMA = """
CREATE TABLE IF NOT EXISTS about (fingerprint TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS parts (
    sequence TEXT PRIMARY KEY, content BLOB NOT NULL, own_table TEXT NOT NULL, own_files TEXT NOT NULL
);
"""
Table = list[tuple[str, float]]


def encode(parts: Parts) -> bytes:
    """Parts as the bytes of a .npz archive: their arrays, and everything else as JSON.

    Raises:
        TypeError: something that is neither an array, a number, a text, a list nor a dictionary.
    """
    arrays: dict[str, np.ndarray] = {}
    tree = json.dumps(_to_plain(parts, arrays), ensure_ascii=False)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, tree=np.frombuffer(tree.encode(), np.uint8), **arrays)
    return buffer.getvalue()


def decode(content: bytes) -> Parts:
    """Parts from the bytes that ``encode`` made."""
    with np.load(io.BytesIO(content), allow_pickle=False) as archive:
        return _from_plain(json.loads(archive["tree"].tobytes().decode()), archive)


def _to_plain(value: Any, arrays: dict[str, np.ndarray]) -> Any:
    """JSON of a value: arrays go to ``arrays``, lists and dictionaries are marked so that keys keep their types."""
    if isinstance(value, np.ndarray):
        if value.dtype.hasobject:
            raise TypeError("an array of Python objects cannot be kept")
        arrays[f"array{len(arrays)}"] = value
        return {"array": f"array{len(arrays) - 1}"}
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, list | tuple):
        return [_to_plain(item, arrays) for item in value]
    if isinstance(value, Mapping):
        return {"items": [[_to_plain(key, arrays), _to_plain(item, arrays)] for key, item in value.items()]}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"parts are plain data; {type(value).__name__} is not")


def _from_plain(value: Any, archive: Mapping[str, np.ndarray]) -> Any:
    if isinstance(value, list):
        return [_from_plain(item, archive) for item in value]
    if isinstance(value, dict):
        if "array" in value:
            return archive[value["array"]]
        return {_as_key(_from_plain(key, archive)): _from_plain(item, archive) for key, item in value["items"]}
    return value


def _as_key(key: Any) -> Any:
    return tuple(key) if isinstance(key, list) else key


class PartStore(Mapping[str, Parts]):
    """Parts by sequence, read from disk one at a time; those of other files or options are thrown away.

    Leaving a ``with`` block closes the file; what was put is kept.
    """

    def __init__(self, path: Path, fingerprint: Fingerprint) -> None:
        """Open or begin a store.

        Raises:
            UserError: the file cannot be written.
        """
        self._path, self._own = path, fingerprint.own
        try:
            self._connection = self._open(fingerprint)
        except sqlite3.DatabaseError:
            with self._errors():  # damaged, or no store at all: nothing in it is worth keeping
                path.unlink(missing_ok=True)
                self._connection = self._open(fingerprint)
        self._committed = time.monotonic()
        self._closed = False

    def put(self, sequence: str, content: bytes, own_table: Table) -> None:
        """Keep the encoded parts of a sequence, and the benchmark's table over this sequence alone."""
        with self._errors():
            row = (sequence, content, json.dumps(own_table), self._own[sequence])
            self._connection.execute("INSERT OR REPLACE INTO parts VALUES (?, ?, ?, ?)", row)
            if time.monotonic() - self._committed > SECONDS_BETWEEN_COMMITS:
                self._connection.commit()
                self._committed = time.monotonic()

    def own_table(self, sequence: str) -> Table:
        """The benchmark's table over this sequence alone."""
        return [(name, value) for name, value in json.loads(self._column("own_table", sequence))]

    def __getitem__(self, sequence: str) -> Parts:
        return decode(self._column("content", sequence))

    def __contains__(self, sequence: object) -> bool:
        found = self._connection.execute("SELECT 1 FROM parts WHERE sequence = ?", (sequence,)).fetchone()
        return found is not None

    def __iter__(self) -> Iterator[str]:
        yield from [row[0] for row in self._connection.execute("SELECT sequence FROM parts ORDER BY rowid")]

    def __len__(self) -> int:
        return self._connection.execute("SELECT COUNT(*) FROM parts").fetchone()[0]

    def close(self, keep: bool = True) -> None:
        """Close the file, or remove it; once is enough."""
        if self._closed:
            return
        self._closed = True
        with self._errors():
            self._connection.commit()
            self._connection.close()
            if not keep:
                self._path.unlink(missing_ok=True)

    def _open(self, fingerprint: Fingerprint) -> sqlite3.Connection:
        with self._errors(sqlite3.OperationalError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            connection = sqlite3.connect(self._path)
            connection.executescript(SCHEMA)
            if connection.execute("SELECT fingerprint FROM about").fetchall() != [(fingerprint.common,)]:
                connection.executescript(f"DROP TABLE about; DROP TABLE parts; {SCHEMA}")
                connection.execute("INSERT INTO about VALUES (?)", (fingerprint.common,))
            kept = connection.execute("SELECT sequence, own_files FROM parts").fetchall()
            stale = [(sequence,) for sequence, own in kept if self._own.get(sequence) != own]
            connection.executemany("DELETE FROM parts WHERE sequence = ?", stale)
            connection.commit()
            return connection

    def _column(self, column: str, sequence: str) -> Any:
        row = self._connection.execute(f"SELECT {column} FROM parts WHERE sequence = ?", (sequence,)).fetchone()
        if row is None:
            raise KeyError(sequence)
        return row[0]

    @contextmanager
    def _errors(self, kind: type[sqlite3.Error] = sqlite3.Error) -> Iterator[None]:
        try:
            yield
        except (kind, OSError) as error:
            raise UserError(f"{self._path} cannot be written ({error}); choose another output folder.") from error

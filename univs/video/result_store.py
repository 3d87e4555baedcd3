"""Results on disk while they are made, so that memory does not grow with the video.

A small SQLite file holds the run-length code of every object in every frame. It can be read by frame (to draw) and by
object (to write per-object files), and a frame that is written again replaces itself.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pycocotools import mask as coco_mask

from univs.errors import UserError
from univs.structures import FrameResult, ObjectResult

SCHEMA = """
CREATE TABLE frames (frame INTEGER PRIMARY KEY, lost INTEGER NOT NULL);
CREATE TABLE objects (
    object INTEGER, frame INTEGER, score REAL, category TEXT, name TEXT, counts TEXT,
    PRIMARY KEY (object, frame)
) WITHOUT ROWID;
CREATE INDEX objects_by_frame ON objects (frame);
"""


@dataclass(frozen=True)
class ObjectFrame:
    """One object in one frame: its score, and its mask as COCO run-length ``counts`` of the video's size."""

    frame: int
    score: float
    category: str | None
    name: str | None
    counts: str


class ResultStore:
    """The results so far, in a file that ``close`` removes."""

    def __init__(self, path: Path, size: tuple[int, int]) -> None:
        """Begin an empty store at ``path`` for masks of ``size`` (height, width)."""
        self._path = path
        self._size = size
        path.unlink(missing_ok=True)
        with self._errors():
            self._connection = sqlite3.connect(path, check_same_thread=False)
            # The store does not outlive the run, so a power cut may spoil it.
            self._connection.execute("PRAGMA synchronous = OFF")
            self._connection.execute("PRAGMA journal_mode = MEMORY")
            self._connection.executescript(SCHEMA)

    def put(self, result: FrameResult) -> None:
        """Keep the objects of a frame; what was there for this frame goes.

        Raises:
            UserError: the disk is full or the folder vanished.
        """
        rows = [
            (item.object_id, result.index, float(item.score), item.category, item.name, encode(item.mask))
            for item in result.objects
        ]
        with self._errors(), self._connection:
            self._replace_frame(result.index, lost=False)
            self._connection.executemany("INSERT INTO objects VALUES (?, ?, ?, ?, ?, ?)", rows)

    def put_lost(self, index: int) -> None:
        """Note a frame that could not be decoded."""
        with self._errors(), self._connection:
            self._replace_frame(index, lost=True)

    def frames(self, lost: bool = False) -> list[int]:
        """Numbers of the frames with results (or of the lost ones), in order."""
        query = "SELECT frame FROM frames WHERE lost = ? ORDER BY frame"
        return [row[0] for row in self._connection.execute(query, (int(lost),))]

    def object_ids(self) -> list[int]:
        """Ids of all objects, in order."""
        return [row[0] for row in self._connection.execute("SELECT DISTINCT object FROM objects ORDER BY object")]

    def object_frames(self, object_id: int) -> Iterator[ObjectFrame]:
        """The frames of one object, in order, one at a time."""
        query = "SELECT frame, score, category, name, counts FROM objects WHERE object = ? ORDER BY frame"
        for row in self._connection.execute(query, (object_id,)):
            yield ObjectFrame(*row)

    def result(self, index: int) -> FrameResult:
        """The objects of one frame with their masks [H, W]."""
        query = "SELECT object, counts, score, category, name FROM objects WHERE frame = ? ORDER BY object"
        rows = self._connection.execute(query, (index,)).fetchall()
        return FrameResult(index, [ObjectResult(row[0], self.decode(row[1]), *row[2:]) for row in rows])

    def decode(self, counts: str) -> np.ndarray:
        """Boolean mask [H, W] of a run-length code."""
        return coco_mask.decode({"size": list(self._size), "counts": counts.encode()}).astype(bool)

    def close(self) -> None:
        """Remove the file."""
        self._connection.close()
        self._path.unlink(missing_ok=True)

    def _replace_frame(self, index: int, lost: bool) -> None:
        self._connection.execute("DELETE FROM objects WHERE frame = ?", (index,))
        self._connection.execute("INSERT OR REPLACE INTO frames VALUES (?, ?)", (index, int(lost)))

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            raise UserError(
                f"{self._path.parent} cannot be written ({error}); free some space or choose another."
            ) from error


def encode(mask: np.ndarray) -> str:
    """COCO run-length counts of a boolean mask [H, W]."""
    return coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8))["counts"].decode()

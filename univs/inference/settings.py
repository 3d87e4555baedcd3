"""The numbers a session works with; a task chooses some of them, a user may choose all."""

from __future__ import annotations

from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class SessionSettings:
    """Budgets and thresholds of a session.

    cached_frames: frames whose features are held (each some tens of megabytes).
    text_interval, text_threshold: a sentence is looked for in every so many-th frame, until its score is this high.
    discovery_interval, discovery_threshold: frames between two category searches, and the score a find must have.
    same_iou, covered_share: a find is a known object from this IoU on, or when so much of it is covered by known ones.
    expire_frames: a found object is given up after so many empty frames in a row.
    undo_steps: edits that can be undone.
    """

    cached_frames: int = 4
    text_interval: int = 5
    text_threshold: float = 0.3
    discovery_interval: int = 5
    discovery_threshold: float = 0.5
    same_iou: float = 0.5
    covered_share: float = 0.7
    expire_frames: int = 30
    undo_steps: int = 100

    def plain(self) -> dict[str, float]:
        """The settings as plain data."""
        return asdict(self)

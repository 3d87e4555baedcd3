"""The parts of a session and how they hold together."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from univs.inference.answering import AnswerDesk
from univs.inference.discovery import Finder
from univs.inference.feature_cache import FeatureCache
from univs.inference.following import Follower
from univs.inference.propagation import Propagation
from univs.inference.protocol import Segmenter
from univs.inference.results import ResultBook
from univs.inference.settings import SessionSettings
from univs.inference.timeline import History
from univs.inference.viewing import Viewer
from univs.video.source import VideoSource


@dataclass(frozen=True)
class SessionParts:
    """history: what was said. book: computed masks. features: of the last frames. followers: the passes of both
    directions (1 and -1) with their memories. propagation: sweeps. viewer: what can be seen."""

    history: History
    book: ResultBook
    features: FeatureCache
    followers: dict[int, Follower]
    propagation: Propagation
    viewer: Viewer


def assemble(
    segmenter: Segmenter, source: VideoSource, settings: SessionSettings, lock: threading.RLock
) -> SessionParts:
    """The parts of a new session on a video."""
    geometry = segmenter.geometry(source.size)
    history, book = History(settings.undo_steps), ResultBook(geometry.grid)
    features = FeatureCache(segmenter, source, settings.cached_frames)
    desk = AnswerDesk(segmenter, features, book, source.size)
    followers = {side: Follower(segmenter, features, desk, side, settings.expire_frames) for side in (1, -1)}
    finder = Finder(segmenter, desk, book, geometry, settings)
    propagation = Propagation(history, book, followers, finder, lock)
    return SessionParts(history, book, features, followers, propagation, Viewer(book, desk, geometry))

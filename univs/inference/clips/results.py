"""What a stream of clips gives out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class FrameMasks:
    """The followed objects of one frame.

    index: frame of the video. ids: of the N objects. masks: bool [N, Ho, Wo] at the video's own size.
    """

    index: int
    ids: tuple[int, ...]
    masks: Tensor


@dataclass(frozen=True)
class SemanticFrame:
    """Classes of one frame. index: frame of the video. classes: int64 [Ho, Wo], 0-based."""

    index: int
    classes: Tensor


@dataclass(frozen=True)
class FrameTokens:
    """What the network holds of one frame, for use by other programs.

    index: frame of the video. queries: [C, Q] contents of the learnable queries before their norm. mask_features:
    [C, Ho/r, Wo/r], reduced by the ratio r of the settings.
    """

    index: int
    queries: Tensor
    mask_features: Tensor


@dataclass(frozen=True)
class Segment:
    """A segment of a panoptic map: its id in the map, its class (0-based), and whether that class is countable."""

    id: int
    category: int
    is_thing: bool


@dataclass(frozen=True)
class Instances:
    """M instances of a picture: scores [M], classes [M] int64 (0-based), masks bool [M, Ho, Wo], boxes [M, 4] in pixels
    (first column, first row, last column, last row)."""

    scores: Tensor
    classes: Tensor
    boxes: Tensor
    masks: Tensor


@dataclass(frozen=True)
class ImageResult:
    """What was asked for of one picture, at its own size.

    index: its number. semantic: [K, Ho, Wo] sums of probabilities. panoptic: int32 [Ho, Wo], 0 where nothing is, with
    its ``segments``. instances: sorted by score.
    """

    index: int
    semantic: Tensor | None = None
    panoptic: Tensor | None = None
    segments: tuple[Segment, ...] = ()
    instances: Instances | None = None


@dataclass(frozen=True)
class PanopticFrame:
    """The segments of one frame. index: frame of the video. ``ids()`` reads the map, int32 [Ho, Wo], 0 for nothing."""

    index: int
    ids: Callable[[], Tensor]


@dataclass(frozen=True)
class VideoSegments:
    """The segments of a whole video, in the order in which they were numbered; ``tracks`` the rows of their objects
    where these are the best queries of the first clip."""

    segments: tuple[Segment, ...]
    tracks: tuple[int, ...] = ()


@dataclass(frozen=True)
class TrackScore:
    """One entry of a video's result: an object (a number), one of its classes (0-based), and the score of both."""

    track: int
    category: int
    score: float


@dataclass(frozen=True)
class VideoTracks:
    """The tracks of a whole video. entries: in the order of the result. ``segmentations(track)`` reads the run-length
    codes of an object one after the other, one per frame, of ``size`` (Ho, Wo)."""

    entries: tuple[TrackScore, ...]
    segmentations: Callable[[int], Iterator[dict[str, object]]]
    size: tuple[int, int]
    frames: int

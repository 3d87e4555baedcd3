"""How the published way through a video differs from task to task: numbers, and words that choose code."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace

from detectron2.config import CfgNode

from univs.errors import UserError

# frames that found objects of a user's video may be out of sight
FORGET_AFTER = 300


@dataclass(frozen=True)
class Corrections:
    """Published behaviour that is plainly a mistake for a user, put right. All off: as published.

    late_finds: objects may be found although the first clip showed none.
    every_frame: every frame is given out, also with clips of one frame or a stride as long as the clip.
    first_tokens: an object that is found in a later clip remembers its mask in its first frame.
    aligned_end: a shorter last clip (stride above 1) extends the state by its new frames only.
    unseen_frames: a found object is nowhere in the frames of a window in which it was not seen; as published it may
        cover them, for logits of 0 count as its mask.
    regular_windows: windows of found objects are given out in time whatever memory and stride are; as published only
        after clips whose first frame leaves the rest ``memory_frames`` when divided by the window's length.
    """

    late_finds: bool = False
    every_frame: bool = False
    first_tokens: bool = False
    aligned_end: bool = False
    unseen_frames: bool = False
    regular_windows: bool = False

    @classmethod
    def all(cls) -> Corrections:
        """Everything put right."""
        return cls(**{item.name: True for item in fields(cls)})


@dataclass(frozen=True)
class ClipSettings:
    """Settings of a `ClipStream`.

    clip_frames (n), stride (s): clips cover frames i .. i + n - 1 for i = 0, s, 2 s, ...
    memory_frames: latest slots of prompt tokens, and of embeddings, that are read. window_frames: decides how often
        tracks and panoptic maps are given out.
    objects: what starts objects: "masks", "sentences", "discovery", "best_queries" (the best of the first clip are all
        there ever are), "none".
    result: "masks" (one mask per object and frame), "tracks", "panoptic", "semantic", "image", "tokens".
    learnable: the learnable queries are needed.
    vocabulary: short name of the classes that are asked about; empty for none.
    slots: one slot of embeddings per "frame" or per "clip".
    consistency_threshold, early_factor: an object less similar to its past is inconsistent; the factor holds while the
        first frame of the clip is below n.
    lost: what becomes of an inconsistent object: "zero" (its slots fade), "skip" (it stays untouched).
    overlap: "owner" (a pixel belongs to one object), "veto" (objects that own too little are skipped), "none".
    stuff_help: masks of stuff objects are filled from the semantic map of the learnable queries.
    discovery: "instances", "panoptic" or empty. discovery_interval: in frames.
    matching: how queries are matched with objects: "softmax", "cosine", "mean_cosine" or empty.
    match_threshold: least similarity of a match; masks need mask_match_factor times as much.
    forget_after: found objects that were seen in none of so many frames end, which bounds what long videos cost; 0:
        never.
    class_threshold: least score of a find; in the first clip at least first_score_floor, later later_score_factor times
        as much.
    nms_threshold, stability_threshold, object_threshold: of overlaps, of mask qualities, of the segments of an image.
    overlap_threshold, entity_overlap_threshold: share of a mask that must be its own: panoptic segments, entities.
    max_objects: most objects of a result. seed: of the random choice of prompt tokens.
    compression_ratio: pixels of the video per cell of reduced mask features, along each side.
    image_outputs: which results an image has: "panoptic", "instances", "semantic".
    min_size, max_size: pixels of the shorter side of what the network sees, and most pixels of the longer one; 0 leaves
        frames as they are. square: frames are padded to a square of this many pixels, 0 for none.
    """

    clip_frames: int = 5
    stride: int = 1
    memory_frames: int = 5
    window_frames: int = 5
    objects: str = "masks"
    result: str = "masks"
    learnable: bool = False
    vocabulary: str = ""
    slots: str = "frame"
    consistency_threshold: float = 0.5
    early_factor: float = 1.0
    lost: str = "zero"
    overlap: str = "owner"
    stuff_help: bool = False
    discovery: str = ""
    discovery_interval: int = 1
    matching: str = ""
    match_threshold: float = 0.1
    mask_match_factor: float = 1.0
    forget_after: int = 0
    class_threshold: float = 0.05
    first_score_floor: float = 0.0
    later_score_factor: float = 1.0
    nms_threshold: float = 0.85
    stability_threshold: float = 0.0
    object_threshold: float = 0.05
    overlap_threshold: float = 0.8
    entity_overlap_threshold: float = 0.5
    max_objects: int = 100
    image_outputs: tuple[str, ...] = ("panoptic", "instances", "semantic")
    min_size: int = 0
    max_size: int = 1333
    square: int = 0
    seed: int = 0
    compression_ratio: int = 32
    corrections: Corrections = field(default_factory=Corrections)

    def __post_init__(self) -> None:
        if not 1 <= self.stride <= self.clip_frames:
            raise UserError(
                f"Clips of {self.clip_frames} frames cannot start every {self.stride} frames; the stride lies between "
                "1 and the clip's length."
            )

    @property
    def remembered(self) -> int:
        """Latest slots of the prompt memory that are read (M)."""
        return max(self.memory_frames, self.clip_frames)

    @property
    def compared_slots(self) -> int:
        """Latest slots of embeddings that an object is compared with."""
        return self.remembered if self.slots == "frame" else max(self.memory_frames // self.stride, 3)

    def corrected(self) -> ClipSettings:
        """The same with every correction; found objects end after ``FORGET_AFTER`` frames, unless a number is set."""
        return replace(self, corrections=Corrections.all(), forget_after=self.forget_after or FORGET_AFTER)


_GIVEN = {"slots": "frame", "lost": "zero", "consistency_threshold": 0.5}
_FOUND = {"objects": "discovery", "learnable": True, "slots": "clip", "lost": "skip", "early_factor": 0.5}
_FRAME_TRACKER = {"objects": "best_queries", "learnable": True, "slots": "clip", "overlap": "none", "stride": 1}

# What a task means apart from the numbers of its configuration.
TASKS: dict[str, dict[str, object]] = {
    "vos": {**_GIVEN, "objects": "masks", "overlap": "owner"},
    "pvos": {**_GIVEN, "objects": "masks", "overlap": "owner", "learnable": True, "stuff_help": True},
    "rvos": {**_GIVEN, "objects": "sentences", "overlap": "none", "learnable": True},
    "vis": {
        **_FOUND,
        "result": "tracks",
        "overlap": "veto",
        "discovery": "instances",
        "matching": "softmax",
        "mask_match_factor": 2.0,
        "first_score_floor": 0.1,
    },
    "vps": {
        **_FOUND,
        "result": "panoptic",
        "overlap": "none",
        "discovery": "panoptic",
        "matching": "softmax",
        "later_score_factor": 2.0,
    },
    "vss": {"objects": "none", "result": "semantic", "learnable": True, "overlap": "none"},
    "image": {"objects": "none", "result": "image", "learnable": True, "overlap": "none"},
    "semantic_extraction": {"objects": "none", "result": "tokens", "learnable": True, "overlap": "none"},
}
# tasks whose clips share no frame
SEPARATE_CLIPS = ("vss", "semantic_extraction")
FRAME_TRACKERS: dict[str, dict[str, object]] = {
    "vis": {**_FRAME_TRACKER, "result": "tracks", "matching": "cosine"},
    "vps": {**_FRAME_TRACKER, "result": "panoptic", "matching": "mean_cosine"},
}


def clip_settings(cfg: CfgNode) -> ClipSettings:
    """The settings that a configuration of ``configs/eval`` means.

    Raises:
        UserError: the task is unknown, or cannot be run with the tracker that is asked for.
    """
    keys, frames = cfg.INFERENCE, cfg.INPUT.CLIP_FRAMES
    words = FRAME_TRACKERS if keys.TRACKER == "frame" else TASKS
    if keys.TASK not in words:
        known = ", ".join(sorted(words))
        raise UserError(f"INFERENCE.TASK '{keys.TASK}' does not run on clips (tracker '{keys.TRACKER}'); use {known}.")
    numbers: dict[str, object] = {
        "clip_frames": frames,
        "stride": frames if keys.TASK in SEPARATE_CLIPS else min(keys.CLIP_STRIDE, frames),
        "memory_frames": keys.MEMORY_FRAMES,
        "window_frames": keys.WINDOW_FRAMES,
        "vocabulary": keys.VOCABULARY,
        "consistency_threshold": keys.CONSISTENCY_THRESHOLD,
        "discovery_interval": keys.DISCOVERY_INTERVAL,
        "match_threshold": keys.MATCH_THRESHOLD,
        "forget_after": keys.FORGET_AFTER,
        "class_threshold": keys.CLASS_THRESHOLD,
        "nms_threshold": keys.NMS_THRESHOLD,
        "stability_threshold": keys.STABILITY_THRESHOLD,
        "object_threshold": keys.OBJECT_THRESHOLD,
        "overlap_threshold": keys.OVERLAP_THRESHOLD,
        "entity_overlap_threshold": keys.OVERLAP_THRESHOLD_ENTITY,
        "max_objects": keys.MAX_OBJECTS,
        "image_outputs": tuple(keys.IMAGE_OUTPUTS),
        "min_size": cfg.INPUT.MIN_SIZE_TEST,
        "max_size": cfg.INPUT.MAX_SIZE_TEST,
        "square": cfg.INPUT.SQUARE_TEST,
        "seed": max(cfg.SEED, 0),
        "compression_ratio": keys.COMPRESSION_RATIO,
    }
    return ClipSettings(**{**numbers, **words[keys.TASK]})

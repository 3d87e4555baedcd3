"""Every configuration key that this library adds to Detectron2's, documented where it is defined.

A configuration is Detectron2's YAML: a file may name a ``_BASE_`` and sets only what is its own. A key that is
not defined here or in Detectron2 is an error.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from os import PathLike, fspath

from univs import compat

compat.apply()

from detectron2.config import CfgNode, get_cfg  # noqa: E402
from yaml import YAMLError  # noqa: E402

from univs.errors import UserError  # noqa: E402


def get_config(path: str | PathLike[str] | None = None, opts: Sequence[object] = ()) -> CfgNode:
    """Detectron2's defaults plus ours, then the file at ``path``, then ``opts`` (KEY VALUE KEY VALUE ...).

    Raises UserError for an unreadable file, an unknown key or a value of the wrong type.
    """
    cfg = get_cfg()
    add_univs_config(cfg)
    source = "the given options" if path is None else fspath(path)
    with _mistakes_in(source):
        if path is not None:
            cfg.merge_from_file(source, allow_unsafe=False)
        cfg.merge_from_list(list(opts))
    return cfg


def keys_and_values(changes: Sequence[str]) -> list[str]:
    """``KEY=VALUE`` options of a command line as [KEY, VALUE, KEY, VALUE, ...].

    Raises:
        UserError: one has no "=".
    """
    for change in changes:
        if "=" not in change:
            raise UserError(f"--set {change!r} is malformed; write KEY=VALUE.")
    return [part for change in changes for part in change.split("=", 1)]


def change_config(cfg: CfgNode, opts: Sequence[object]) -> None:
    """Change keys of a configuration in place, KEY VALUE KEY VALUE ...; UserError as for ``get_config``."""
    with _mistakes_in("the given options"):
        cfg.merge_from_list(list(opts))


@contextmanager
def _mistakes_in(source: str) -> Iterator[None]:
    try:
        yield
    except (KeyError, ValueError, AssertionError, OSError, YAMLError) as error:
        reason = error.args[0] if isinstance(error, KeyError) else error
        raise UserError(f"The configuration ({source}) cannot be used: {reason}") from error


def add_univs_config(cfg: CfgNode) -> None:
    """Add every key of this library, with its default, to ``cfg`` in place."""
    _add_backbones(cfg)
    _add_model(cfg)
    _add_text(cfg)
    _add_training(cfg)
    _add_optional_parts(cfg)
    _add_data(cfg)
    _add_made_up_data(cfg)
    _add_solver(cfg)
    _add_inference(cfg)


def _add_backbones(cfg: CfgNode) -> None:
    cfg.MODEL.SWIN = CfgNode()
    # Channels of the first stage; doubled at every later one.
    cfg.MODEL.SWIN.EMBED_DIM = 96
    # Blocks and attention heads of the four stages.
    cfg.MODEL.SWIN.DEPTHS = [2, 2, 6, 2]
    cfg.MODEL.SWIN.NUM_HEADS = [3, 6, 12, 24]
    # Side of an attention window, in cells.
    cfg.MODEL.SWIN.WINDOW_SIZE = 7
    # Hidden width of a block's perceptron, in widths of the block.
    cfg.MODEL.SWIN.MLP_RATIO = 4.0
    # Chance that the last block is skipped while training; falls linearly to 0 at the first block.
    cfg.MODEL.SWIN.DROP_PATH_RATE = 0.3
    # Stages that are given out, strides 4, 8, 16, 32.
    cfg.MODEL.SWIN.OUT_FEATURES = ["res2", "res3", "res4", "res5"]
    # Recompute activations in the backward pass to save memory.
    cfg.MODEL.SWIN.USE_CHECKPOINT = False

    cfg.MODEL.EFFICIENTNET_LITE = CfgNode()
    # Stages that are given out, strides 4, 8, 16, 32.
    cfg.MODEL.EFFICIENTNET_LITE.OUT_FEATURES = ["res2", "res3", "res4", "res5"]
    # Start from the ImageNet weights of the installed weights package.
    cfg.MODEL.EFFICIENTNET_LITE.PRETRAINED = False
    # Fold batch norms into the convolutions before them (they are frozen anyway).
    cfg.MODEL.EFFICIENTNET_LITE.FOLD_BATCH_NORM = True


def _add_model(cfg: CfgNode) -> None:
    cfg.MODEL.UNIVS = univs = CfgNode()
    # Width C of queries, of the pixel decoder's maps and of the mask features.
    univs.HIDDEN_DIM = 256
    # Learnable queries Q, which discover objects that nobody prompted.
    univs.NUM_QUERIES = 200
    # Registered mask decoder.
    univs.MASK_DECODER = "MaskDecoder"
    # Mask decoder: layers, attention heads and hidden width of the feed-forward part.
    univs.DECODER_LAYERS = 9
    univs.NUM_HEADS = 8
    univs.FEEDFORWARD_DIM = 2048
    # Frames are padded on the right and at the bottom to a multiple of this many pixels.
    univs.SIZE_DIVISIBILITY = 32
    # Turn prompts into queries of their own; off, only the learnable queries run.
    univs.PROMPT_AS_QUERIES = True
    # Decoder layers, counted from the first, with prompt cross-attention (ProCA); -1 = all.
    univs.PROMPT_ATTENTION_LAYERS = -1
    # Tokens of one visual prompt in one frame.
    univs.PROMPT_TOKENS = 32
    # The tokens of a mask depend on that mask alone; off, as published, the masks of one call share a threshold.
    univs.INDEPENDENT_PROMPTS = False
    # Clicks and strokes beside the object have tokens of their own, marked as such; published models cannot know them.
    univs.NEGATIVE_CLICKS = False
    # What the queries see of each other: "sep" (learnable queries see each other, all prompt queries see each other),
    # "sep-blocked" (a prompt query sees only itself in other frames), "sep-l2p" (prompt queries see everything),
    # "none" or "all" (everything sees everything).
    univs.SELF_ATTENTION = "sep"
    # Time code of positions: "ArbitraryT" (frame index in the video) or "FixedT" (place in the clip, in turns).
    univs.TEMPORAL_POSITIONS = "ArbitraryT"
    # Let text prompts attend to the frame before they become queries.
    univs.LANGUAGE_TO_VISION = True

    univs.PIXEL_DECODER = CfgNode()
    # Deformable encoder over strides 32, 16 and 8: layers, hidden width, heads, sampling points per head and level.
    univs.PIXEL_DECODER.ENCODER_LAYERS = 6
    univs.PIXEL_DECODER.FEEDFORWARD_DIM = 1024
    univs.PIXEL_DECODER.NUM_HEADS = 8
    univs.PIXEL_DECODER.NUM_POINTS = 4
    # Maps of the backbone that are read, strides 4, 8, 16, 32.
    univs.PIXEL_DECODER.IN_FEATURES = ["res2", "res3", "res4", "res5"]


def _add_text(cfg: CfgNode) -> None:
    cfg.MODEL.UNIVS.TEXT = text = CfgNode()
    # Registered text encoder: "ClipTextEncoder" (RN50x4), "StaticTextEncoder" (word vectors, the embedded model's), or
    # "NONE" (no text at all).
    text.ENCODER = "ClipTextEncoder"
    # File (or hub name, where the encoder knows hubs) of the encoder's weights; empty = the encoder's own default.
    text.WEIGHTS = ""
    # Width of the encoder's embeddings.
    text.DIM = 640
    # File with the embeddings of the training vocabulary, one row per class; empty = made from the names when needed.
    text.CLASS_EMBEDDINGS = ""
    # Rows of that table.
    text.NUM_CLASSES = 3938
    # Rows that belong to a data set: [[short name, first row, number of rows], ...].
    text.CLASS_RANGES = []


def _add_training(cfg: CfgNode) -> None:
    cfg.MODEL.UNIVS.LOSS = loss = CfgNode()
    # Weights of the loss terms: class (focal + cross-entropy), mask cross-entropy, dice, identity embeddings.
    loss.CLASS_WEIGHT = 5.0
    loss.MASK_WEIGHT = 5.0
    loss.DICE_WEIGHT = 5.0
    loss.REID_WEIGHT = 0.5
    # Points at which masks are compared; that many times OVERSAMPLE_RATIO candidates are drawn, of which the most
    # uncertain IMPORTANCE_RATIO share of the points is taken.
    loss.NUM_POINTS = 12544
    loss.OVERSAMPLE_RATIO = 3.0
    loss.IMPORTANCE_RATIO = 0.5
    # The same losses after every decoder layer.
    loss.DEEP_SUPERVISION = True

    cfg.MODEL.UNIVS.MATCHER = matcher = CfgNode()
    # Weights of the costs by which learnable queries are assigned to objects.
    matcher.CLASS_WEIGHT = 3.0
    matcher.MASK_WEIGHT = 5.0
    matcher.DICE_WEIGHT = 5.0

    cfg.MODEL.UNIVS.TARGETS = targets = CfgNode()
    # Objects kept per video, and prompts drawn from them, while training.
    targets.MAX_OBJECTS = 30
    # Share of detection batches that are prompted by masks, boxes and points rather than by class names.
    targets.VISUAL_PROMPT_SHARE = 0.3085
    # Short names of data sets that are always prompted visually (too many classes, or none that a name explains).
    targets.VISUAL_PROMPT_DATASETS = []
    # Short names of data sets whose videos are thinned out to twice MAX_OBJECTS before anything else.
    targets.CROWDED_DATASETS = []

    cfg.MODEL.UNIVS.TRAINING_PROMPTS = prompts = CfgNode()
    # Shares of visually prompted objects that get a point and a box; the rest get their mask.
    prompts.POINT_SHARE = 0.25
    prompts.BOX_SHARE = 0.25
    # Repeat a mistake of the published training: in a batch of mixed kinds, objects were given each other's features.
    prompts.PUBLISHED_FEATURE_ORDER = False

    cfg.MODEL.UNIVS.LONG_VIDEO = CfgNode()
    # Stage 3: run a video of INPUT.VIDEO_FRAMES as overlapping clips of INPUT.CLIP_FRAMES with the memory carried over.
    cfg.MODEL.UNIVS.LONG_VIDEO.ENABLED = False


def _add_optional_parts(cfg: CfgNode) -> None:
    cfg.MODEL.UNIVS.DENSE_MEMORY = memory = CfgNode()
    # Dense memory beside the sampled tokens (not in the published models).
    memory.ENABLED = False
    # Channels of the keys, of the code stored per object, of the decoder at strides 8 and 4.
    memory.KEY_DIM = 64
    memory.CODE_DIM = 32
    memory.DECODER_DIM = 64
    memory.DETAIL_DIM = 24
    # Remembered cells that each cell of the present frame reads.
    memory.TOP_K = 30
    cfg.MODEL.UNIVS.PROMPT_ANSWER = CfgNode()
    # Answer prompts on their own frame by a dense head (needs the dense memory).
    cfg.MODEL.UNIVS.PROMPT_ANSWER.ENABLED = False
    # Run pixel decoder and mask decoder; off, the dense parts stand alone.
    cfg.MODEL.UNIVS.QUERIES = True
    # What training optimises: "published" (the criterion of the method, on queries), "following" (the dense memory, on
    # clips), "answering" (the head that answers prompts, on single pictures), "queries" (pixel decoder and mask decoder
    # beside a finished dense memory: prompt queries on clips, the criterion of the method on single pictures).
    cfg.MODEL.UNIVS.OBJECTIVE = "published"


def _add_data(cfg: CfgNode) -> None:
    # Every random choice of training follows from this number and the number of the step; not negative.
    cfg.SEED = 0
    # How often each data set of DATASETS.TRAIN is drawn, relative to the others; empty = all alike.
    cfg.DATASETS.TRAIN_RATIO = []
    # What is drawn anew: "batch" (a batch comes from one data set), "sample" (each sample on its own).
    cfg.DATALOADER.MIXING = "batch"

    # Frames of one clip, in training and in evaluation.
    cfg.INPUT.CLIP_FRAMES = 2
    # Frames of one training video; 0 = one clip.
    cfg.INPUT.VIDEO_FRAMES = 0
    # The frames of a training sample lie within this many frames of a random one; TRACKING for single-object data.
    cfg.INPUT.SAMPLING_RANGE = 20
    cfg.INPUT.SAMPLING_RANGE_TRACKING = 20

    # Frames of an evaluated video are padded to a square of this many pixels, which their longer side may not pass;
    # 0 = no square.
    cfg.INPUT.SQUARE_TEST = 0

    cfg.INPUT.AUGMENTATION = augmentation = CfgNode()
    # Size of the square that scale jitter aims at, in pixels, and the range of the jitter.
    augmentation.IMAGE_SIZE = 1024
    augmentation.MIN_SCALE = 0.25
    augmentation.MAX_SCALE = 4.0
    # Crop or pad to that square; off, the shorter side becomes one of INPUT.MIN_SIZE_TRAIN instead.
    augmentation.SQUARE = True
    # Largest rotation of a frame, degrees to either side.
    augmentation.ROTATION = 15.0


def _add_made_up_data(cfg: CfgNode) -> None:
    cfg.INPUT.CLIPS = clips = CfgNode()
    # Made-up clips: least and most frames; height and width of the crop, at the pixel scale of a frame that is
    # SCALE_WIDTH wide, times a factor from the range ZOOM.
    clips.FRAMES = [3, 3]
    clips.SIZE = [192, 336]
    clips.SCALE_WIDTH = 448
    clips.ZOOM = [0.75, 1.5]
    # Share of pieces of annotated video among them; of the others, share with several things of one category.
    clips.VIDEO_SHARE = 0.5
    clips.DISTRACTOR_SHARE = 0.4
    # Largest step between frames of a video at the start, and after GAP_STEPS training steps.
    clips.GAPS = [2, 8]
    clips.GAP_STEPS = 5000
    # Most objects to follow in one clip.
    clips.MAX_OBJECTS = 3

    cfg.INPUT.STILLS = CfgNode()
    # Sizes (height, width) of made-up stills; each batch has one of them.
    cfg.INPUT.STILLS.SIZES = [[256, 448], [320, 320]]


def _add_solver(cfg: CfgNode) -> None:
    # Let MODEL.WEIGHTS leave parts of the model as they were made (a backbone's weights, another model's); what is
    # missing, left over or of another shape is listed. Off, that is an error.
    cfg.MODEL.WEIGHTS_PARTIAL = False
    # Where a file holds running averages of the weights beside them (the published models of stage 3), load those.
    cfg.MODEL.WEIGHTS_AVERAGED = True
    # Number format of mixed precision (SOLVER.AMP.ENABLED, on GPUs): "float16" or "bfloat16".
    cfg.SOLVER.AMP.PRECISION = "float16"
    # "ADAMW" or "SGD".
    cfg.SOLVER.OPTIMIZER = "ADAMW"
    # Learning rate of the backbone, in units of the base rate.
    cfg.SOLVER.BACKBONE_MULTIPLIER = 0.1
    # Learning rates of single parts in units of the base rate, as pairs [pattern of parameter names, multiplier]; the
    # first pattern that fits decides, before BACKBONE_MULTIPLIER; 0 freezes.
    cfg.SOLVER.RATE_MULTIPLIERS = []
    # AdamW: decay of the running means of gradients and of their squares.
    cfg.SOLVER.BETAS = [0.9, 0.999]
    # Weight decay of embeddings.
    cfg.SOLVER.WEIGHT_DECAY_EMBED = 0.0
    cfg.SOLVER.EMA = CfgNode()
    # Keep a running average of the weights beside them, updated before every step, and evaluate with it.
    cfg.SOLVER.EMA.ENABLED = False
    cfg.SOLVER.EMA.DECAY = 0.9999
    # Average over fewer steps at first: the decay is at most (1 + step) / (10 + step).
    cfg.SOLVER.EMA.RAMP = False


def _add_inference(cfg: CfgNode) -> None:
    cfg.INFERENCE = inference = CfgNode()
    # One of "vos", "pvos", "rvos", "vis", "vps", "vss", "image", "semantic_extraction".
    inference.TASK = "vos"
    # Vocabulary that is discovered (a name of univs/data/vocabularies); empty = none.
    inference.VOCABULARY = ""
    # Frames between the starts of two clips.
    inference.CLIP_STRIDE = 1
    # Frames of prompt tokens that an object remembers besides its first.
    inference.MEMORY_FRAMES = 5
    # Frames that go through the backbone together.
    inference.WINDOW_FRAMES = 5
    # How found objects are followed: "prompt" (they become prompts) or "frame" (queries are matched between clips).
    inference.TRACKER = "prompt"
    # A found object needs at least this class score.
    inference.CLASS_THRESHOLD = 0.05
    # Overlap of boxes above which the lower-scored one is a repeat.
    inference.NMS_THRESHOLD = 0.85
    # Similarity above which a found object is a known one, and how often new ones are looked for (frames).
    inference.MATCH_THRESHOLD = 0.1
    inference.DISCOVERY_INTERVAL = 1
    # Found objects that were seen in none of so many frames end; 0: never, as published.
    inference.FORGET_AFTER = 0
    # A followed object whose embedding is less similar than this to its past is taken for lost.
    inference.CONSISTENCY_THRESHOLD = 0.25
    # Share of an object's mask that must be its own: of panoptic segments; of entities.
    inference.OVERLAP_THRESHOLD = 0.8
    inference.OVERLAP_THRESHOLD_ENTITY = 0.5
    # Score below which an image's segment is dropped.
    inference.OBJECT_THRESHOLD = 0.05
    # Least stability of a mask: IoU of its binarisations at a raised and a lowered threshold.
    inference.STABILITY_THRESHOLD = 0.0
    # Most objects that are kept.
    inference.MAX_OBJECTS = 100
    # Semantic extraction: mask features are reduced by this ratio along each side; every so many frames are written.
    inference.COMPRESSION_RATIO = 32
    inference.COMPRESSION_RATIO_TEMPORAL = 1
    # Which of the results of an image are made: panoptic segments, instances, semantic map.
    inference.IMAGE_OUTPUTS = ["panoptic", "instances", "semantic"]

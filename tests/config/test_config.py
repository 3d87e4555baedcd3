"""Configuration: keys, mistakes, and the values of every shipped file."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from univs.config import get_config
from univs.errors import UserError

CONFIGS = Path(__file__).parents[2] / "configs"
LEAVES = sorted(CONFIGS.glob("train/*.yaml")) + sorted(CONFIGS.glob("eval/*/*.yaml"))
with open(Path(__file__).with_name("published_inference.csv")) as _table:
    PUBLISHED = list(csv.DictReader(_table))
TIME_CODES = {"A": "ArbitraryT", "F": "FixedT"}


def test_options_are_set():
    cfg = get_config(opts=["MODEL.UNIVS.HIDDEN_DIM", "64", "DATASETS.TRAIN_RATIO", [1, 2]])
    assert cfg.MODEL.UNIVS.HIDDEN_DIM == 64
    assert cfg.DATASETS.TRAIN_RATIO == [1, 2]


@pytest.mark.parametrize(
    "options, part",
    [
        (["MODEL.UNIVS.HIDEN_DIM", 64], "HIDEN_DIM"),
        (["MODEL.UNIVS.HIDDEN_DIM", "wide"], "HIDDEN_DIM"),
        (["MODEL.UNIVS.HIDDEN_DIM"], "pairs"),
    ],
)
def test_a_wrong_option_is_the_users_mistake(options, part):
    with pytest.raises(UserError, match=part):
        get_config(opts=options)


@pytest.mark.parametrize(
    "text, part",
    [
        ("MODEL:\n  UNIVS:\n    NUM_QUERY: 3\n", "NUM_QUERY"),
        ("_BASE_: nothing.yaml\n", "nothing.yaml"),
        ("MODEL: [\n", "cannot be used"),
        ("OUTPUT_DIR: !!python/object/apply:os.getcwd []\n", "cannot be used"),
    ],
)
def test_a_wrong_file_is_the_users_mistake(tmp_path, text, part):
    file = tmp_path / "wrong.yaml"
    file.write_text(text)
    with pytest.raises(UserError, match=part):
        get_config(file)


def test_a_missing_file_is_the_users_mistake(tmp_path):
    with pytest.raises(UserError, match="absent.yaml"):
        get_config(tmp_path / "absent.yaml")


@pytest.mark.parametrize("path", LEAVES, ids=lambda path: str(path.relative_to(CONFIGS)))
def test_every_shipped_file_loads(path):
    cfg = get_config(path)
    assert cfg.MODEL.META_ARCHITECTURE == "UniVS"
    assert len(cfg.DATASETS.TRAIN) == len(cfg.DATASETS.TRAIN_RATIO) or not cfg.DATASETS.TRAIN_RATIO
    assert cfg.INPUT.VIDEO_FRAMES == 0 or cfg.INPUT.VIDEO_FRAMES >= cfg.INPUT.CLIP_FRAMES
    assert path.read_text().startswith("# ")


@pytest.mark.parametrize("row", PUBLISHED, ids=lambda row: row["file"])
def test_values_of_published_inference_files(row):
    cfg = get_config(CONFIGS / "eval" / row["file"])
    model, inference = cfg.MODEL.UNIVS, cfg.INFERENCE
    assert list(cfg.DATASETS.TEST) == row["test"].split()
    numbers = {
        "n": cfg.INPUT.CLIP_FRAMES,
        "size": cfg.INPUT.MIN_SIZE_TEST,
        "R": model.PROMPT_TOKENS,
        "mem": inference.MEMORY_FRAMES,
        "s": inference.CLIP_STRIDE,
        "win": inference.WINDOW_FRAMES,
        "cls": inference.CLASS_THRESHOLD,
        "nms": inference.NMS_THRESHOLD,
        "new": inference.MATCH_THRESHOLD,
        "tc": inference.CONSISTENCY_THRESHOLD,
        "ov": inference.OVERLAP_THRESHOLD,
        "obj": inference.OBJECT_THRESHOLD,
        "stab": inference.STABILITY_THRESHOLD,
        "top": inference.MAX_OBJECTS,
    }
    assert numbers == {name: float(row[name]) for name in numbers}
    assert model.SELF_ATTENTION == row["mask"]
    assert TIME_CODES[row["pe"]] == model.TEMPORAL_POSITIONS
    assert model.LANGUAGE_TO_VISION == (row["t2i"] == "y")
    assert cfg.SOLVER.EMA.ENABLED == (row["ema"] == "y")
    if inference.TASK in ("vis", "vps"):
        assert inference.TRACKER == ("prompt" if row["uni"] == "y" else "frame")


@pytest.mark.parametrize(
    "name, values",
    [
        # clip and video frames, base rate, steps, square, objects, range
        ("r50_stage1", (1, 0, 5e-5, (342000,), True, 30, 10)),
        ("swint_stage1", (1, 0, 5e-5, (324000,), True, 30, 10)),
        ("swinl_stage1", (1, 0, 5e-5, (342000,), True, 30, 20)),
        ("r50_stage2", (4, 0, 5e-5, (342000,), False, 20, 40)),
        ("swinb_stage2", (4, 0, 5e-5, (324000,), True, 30, 40)),
        ("r50_stage3", (5, 7, 2.5e-5, (81000,), False, 20, 40)),
        ("swinb_stage3", (5, 7, 2.5e-5, (81000,), False, 20, 20)),
    ],
)
def test_values_of_training_files(name, values):
    cfg = get_config(CONFIGS / "train" / f"univs_{name}.yaml")
    assert values == (
        cfg.INPUT.CLIP_FRAMES,
        cfg.INPUT.VIDEO_FRAMES,
        cfg.SOLVER.BASE_LR,
        tuple(cfg.SOLVER.STEPS),
        cfg.INPUT.AUGMENTATION.SQUARE,
        cfg.MODEL.UNIVS.TARGETS.MAX_OBJECTS,
        cfg.INPUT.SAMPLING_RANGE,
    )
    assert (cfg.MODEL.BACKBONE.FREEZE_AT, cfg.MODEL.UNIVS.LONG_VIDEO.ENABLED) == (
        0 if "stage1" in name else 5,
        "stage3" in name,
    )

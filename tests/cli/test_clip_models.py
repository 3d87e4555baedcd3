"""``univs demo`` with a published checkpoint: one file of weights, every task, and what such a model cannot do."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests import rule
from tests.inference.fake import square_at, squares
from tests.published_file import STATIC_TEXT, small_model, write_config, write_published
from univs.cli import main
from univs.data.vocabulary import read_vocabulary
from univs.video.palette import write_palette_mask

COUNT, SIZE, SIDE = 8, (64, 96), 24


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Frames, a mask of two objects, a published checkpoint, and a cache of its own."""
    folder = tmp_path_factory.mktemp("files")
    (folder / "frames").mkdir()
    for index, frame in enumerate(squares(COUNT, SIZE, side=SIDE)):
        Image.fromarray(frame).save(folder / "frames" / f"{index:03d}.png")
    ids = np.zeros(SIZE, np.uint8)
    for place in range(2):
        y, x = square_at(place, 0, SIZE, SIDE)
        ids[y : y + SIDE, x : x + SIDE] = 3 * place + 2
    write_palette_mask(folder / "first.png", ids)
    write_published(folder / "univs_stage3.pth", small_model(options=STATIC_TEXT), averaged=0.0)
    return folder


@pytest.fixture
def folder(files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for path in files.iterdir():
        (tmp_path / path.name).symlink_to(path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("UNIVS_CACHE", str(tmp_path / "cache"))
    return tmp_path


def run(line: str, leaf: str) -> int:
    config = write_config(Path("config.yaml"), f"eval/{leaf}.yaml", STATIC_TEXT)
    options = f"--video frames --weights univs_stage3.pth --config {config} --device cpu --output out --no-overlay"
    return main(["demo", *shlex.split(options), *shlex.split(line)])


def report(folder: Path) -> dict:
    return json.loads((folder / "out" / "results.json").read_text())


def ids_of(folder: Path, index: int) -> np.ndarray:
    with Image.open(folder / "out" / "masks" / f"{index:03d}.png") as image:
        return np.array(image)


@pytest.mark.parametrize("leaf", ["vos/univs_r50_davis17", "pvos/univs_r50_viposeg"])
def test_given_masks_are_followed(folder: Path, capsys: pytest.CaptureFixture[str], leaf: str) -> None:
    assert run("--mask first.png@1 --name 5:box --start 1", leaf) == 0
    told = capsys.readouterr()
    assert "univs_stage3.pth: published UniVS with ResNet-50 of 8 instead of 64 channels, stage 3: all " in told.err
    assert "object 5 box: seen in" in told.out
    found = report(folder)
    assert [frame["index"] for frame in found["frames"]] == list(range(1, COUNT)) and found["complete"]
    assert {item["id"] for item in found["objects"]} == {2, 5}
    assert found["settings"]["task"] == leaf.split("/")[0]
    with Image.open(folder / "first.png") as image:
        given = np.array(image)
    assert (ids_of(folder, 1)[given > 0] == given[given > 0]).mean() > 0.9  # given masks are taken as they are


def test_sentences_are_answered(folder: Path) -> None:
    line = '--text 1:"the red square" --text 4:"a green thing"'
    assert run(line, "rvos/univs_r50_refdavis") == 0
    found = report(folder)
    assert len(found["frames"]) == COUNT
    assert {item["id"]: item["name"] for item in found["objects"]} == {1: "the red square", 4: "a green thing"}


@pytest.mark.parametrize(
    ("task", "leaf", "line"),
    [
        ("vis", "vis/univs_r50_ovis", ""),
        ("vis", "vis/univs_r50_ovis", "--categories dog,person"),
        ("vis", "vis/univs_r50_ovis_frame_tracker", ""),
        ("vps", "vps/univs_r50_vipseg", ""),
        ("vps", "vps/univs_r50_vipseg_frame_tracker", ""),
        ("vss", "vss/univs_r50_vspw", "--categories sky,tree,cat"),
        ("image", "image/univs_r50_coco", ""),
    ],
)
def test_objects_are_found(folder: Path, task: str, leaf: str, line: str) -> None:
    assert run(f"--task {task} {line}", leaf) == 0
    found = report(folder)
    assert len(found["frames"]) == (1 if task == "image" else COUNT)
    names = {item["category"] for item in found["objects"]}
    if "--categories" in line:
        assert names <= set(line.split()[-1].split(","))
    if task == "vss":
        assert names and all((ids_of(folder, index) > 0).all() for index in range(COUNT))
    assert (folder / "out" / "tracks.json").exists() == (task == "vis")


@pytest.mark.parametrize(
    ("line", "leaf", "told"),
    [
        ("--mask first.png@3 --end 2", "vos/univs_r50_davis17", "a mask for frame 3, and only frames 0 to 2 run"),
        ("--mask first.png --start 5 --end 99", "vos/univs_r50_davis17", "frames 0 to 7"),
        ("--categories a --task vps --backward", "vps/univs_r50_vipseg", "goes through a video once, from one kind"),
        ("--text 1:dog", "vos/univs_r50_davis17", "task vos, and starts from mask, and not from text; name one of"),
        ("--mask first.png", "rvos/univs_r50_refdavis", "starts from text, and not from mask; name one of"),
        ("--mask first.png", "vps/univs_r50_vipseg", "starts from category, and not from mask"),
        (
            "--mask first.png --task vos",
            "vps/univs_r50_vipseg",
            "--task vos was asked for; name one of configs/eval/vos",
        ),
        ("--mask first.png --task pvos --text 1:dog", "pvos/univs_r50_viposeg", "from one kind of prompt"),
        ("--mask first.png --set INPUT.MIN_SIZE_TEST", "vos/univs_r50_davis17", "write KEY=VALUE"),
        ("--mask first.png --set INPUT.SIZE=3", "vos/univs_r50_davis17", "INPUT.SIZE"),
        ("--categories ' ,dog'", "vis/univs_r50_ovis", "empty category name"),
    ],
)
def test_what_such_a_model_cannot_do_is_told(
    folder: Path, capsys: pytest.CaptureFixture[str], line: str, leaf: str, told: str
) -> None:
    assert run(line, leaf) == 2
    assert told in capsys.readouterr().err


def test_objects_are_prompted_by_hand(folder: Path) -> None:
    prompts = "--click 1:20,20 --box 2:40,10,80,50@2 --scribble 3:5,5;30,40@1 --mask first.png@4 --backward"
    assert run(prompts + " --save-session session.univs", "vos/univs_r50_davis17") == 0
    found = report(folder)
    assert [item["id"] for item in found["objects"]] == [1, 2, 3, 5]
    given = np.array(Image.open(folder / "first.png"))
    for value in (2, 5):  # masks hold pixel by pixel in their frame
        assert ((ids_of(folder, 4) == value) == (given == value)).all()
    before = [ids_of(folder, index) for index in range(COUNT)]
    options = "--session session.univs --weights univs_stage3.pth --config config.yaml --device cpu --output out"
    assert main(["demo", *options.split(), "--no-overlay", "--backward"]) == 0
    assert all((ids_of(folder, index) == ids).all() for index, ids in enumerate(before))


def test_kinds_that_one_task_cannot_mix_go_through_the_session(folder: Path) -> None:
    assert run('--mask first.png --text 4:"the red square" --end 2', "vos/univs_r50_davis17") == 0
    assert {item["id"]: [prompt["kind"] for prompt in item["prompts"]] for item in report(folder)["objects"]} == {
        2: ["mask"], 4: ["text"], 5: ["mask"]
    }  # fmt: skip
    assert run("--task image --mask first.png@2 --start 2", "image/univs_r50_coco") == 0
    assert [frame["index"] for frame in report(folder)["frames"]] == [2]


def test_the_published_table_of_classes_needs_no_text_encoder(folder: Path) -> None:
    table = torch.from_numpy(rule.weight("a", "clip_cls_text_emb", (3938, 256))).half()
    torch.save(table, "combined_datasets_cls_emb_rn50x4.pth")
    options = "--set MODEL.UNIVS.TEXT.CLASS_EMBEDDINGS=combined_datasets_cls_emb_rn50x4.pth"
    assert run(f"--task vss {options} --set MODEL.UNIVS.TEXT.ENCODER=NONE", "vss/univs_r50_vspw") == 0
    assert {item["category"] for item in report(folder)["objects"]} <= set(read_vocabulary("vspw").names)
    assert not (folder / "cache").exists()


def test_keys_of_the_configuration_can_be_changed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = "--text 1:dog --set MODEL.UNIVS.TEXT.ENCODER=ClipTextEncoder --set MODEL.UNIVS.TEXT.WEIGHTS=absent.pt"
    assert run(options, "rvos/univs_r50_refdavis") == 2
    assert "absent.pt does not exist" in capsys.readouterr().err


def test_tasks_of_published_models_need_one(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--video", "frames", "--categories", "dog", "--task", "vps", "--device", "cpu"]) == 2
    assert "The task vps" in capsys.readouterr().err
    assert main(["demo", "--video", "frames", "--categories", "dog", "--set", "SEED=3"]) == 2
    assert "give both" in capsys.readouterr().err

from __future__ import annotations

import json
import re
import shlex
import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.inference.fake import ColourSegmenter, centre, open_session, square_at, squares
from univs.cli import demo, main
from univs.cli.segmenting import INTERRUPTED, WRITTEN
from univs.inference.predictor import VideoPredictor
from univs.video.palette import write_palette_mask
from univs.video.result_pictures import CUTOUT_FORMATS
from univs.video.results import OUTPUTS
from univs.video.writer import VideoWriter

COUNT = 14
SIZE = (240, 440)


@pytest.fixture(autouse=True)
def colour_model(monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """The commands get the colour model; what they asked for is noted."""
    asked: dict[str, object] = {}

    def from_pretrained(model=None, weights=None, device="auto", quality="default", settings=None, task="any"):  # noqa: ANN001, ANN202
        asked.update(model=model, weights=weights, device=device, quality=quality)
        return VideoPredictor(ColourSegmenter(), settings)

    monkeypatch.setattr(VideoPredictor, "from_pretrained", staticmethod(from_pretrained))
    return asked


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files that examples and tests name: clip.mp4, frames/, first.png, small.png."""
    folder = tmp_path_factory.mktemp("files")
    frames = squares(COUNT, SIZE, side=60)
    (folder / "frames").mkdir()
    for index, frame in enumerate(frames):
        Image.fromarray(frame).save(folder / "frames" / f"{index:03d}.png")
    with VideoWriter(folder / "clip.mp4", 10) as video:
        for frame in (frames * 3)[:31]:
            video.write(frame)
    ids = np.zeros(SIZE, np.uint8)
    for place in range(2):
        y, x = square_at(place, 0, SIZE, 60)
        ids[y : y + 60, x : x + 60] = place + 1
    write_palette_mask(folder / "first.png", ids)
    write_palette_mask(folder / "small.png", ids[:100])
    return folder


@pytest.fixture
def folder(files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with those files."""
    shutil.copytree(files, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(line: str) -> int:
    return main(["demo", *shlex.split(line)])


def click(place: int, t: int) -> str:
    y, x = square_at(place, t, SIZE, 60)
    return f"{x + 30},{y + 30}@{t}"


def read_ids(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.array(image)


def test_help_shows_examples_that_work_as_printed(folder: Path, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["demo", "--help"])
    assert stopped.value.code == 0
    printed = [line.strip() for line in capsys.readouterr().out.splitlines() if line.startswith("  univs demo ")]
    assert len(printed) >= 7
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for line in printed:
            assert main(shlex.split(line)[1:]) == 0, line
    assert (folder / "output" / "clip" / "overlay.mp4").exists()
    assert (folder / "output" / "frames" / "masks" / "013.png").exists()


def test_a_click_gives_masks_overlay_and_json(folder: Path, capsys: pytest.CaptureFixture) -> None:
    assert run(f"--video frames --click 7:{click(0, 0)} --name 7:bus --output out") == 0
    masks = sorted(path.name for path in (folder / "out" / "masks").iterdir())
    assert masks == [f"{index:03d}.png" for index in range(COUNT)]
    session = open_session(squares(COUNT, SIZE, side=60))
    y, x = square_at(0, 0, SIZE, 60)
    session.add_click(7, 0, [(x + 30, y + 30)])
    for result in session.propagate():  # the command line and the library give the same masks
        assert (read_ids(folder / "out" / "masks" / f"{result.index:03d}.png") == result.palette(*SIZE)).all()
    report = json.loads((folder / "out" / "results.json").read_text())
    assert report["complete"] is True
    assert [(item["id"], item["name"], len(item["frames"])) for item in report["objects"]] == [(7, "bus", COUNT)]
    printed = capsys.readouterr()
    assert "object 7 bus: prompted in frame 0" in printed.out
    assert "Wrote to out:" in printed.out and "overlay.mp4" in printed.out and "frames/s" in printed.out
    assert f"{COUNT}/{COUNT}" in printed.err


def test_all_kinds_of_prompts_and_outputs(folder: Path) -> None:
    line = (
        f"--video frames --click 1:{click(0, 3)} --negative-click 1:400,200@3 --box 2:2,60,100,140@0 "
        '--scribble "3:80,190;90,200" --negative-scribble "3:5,5;9,5" --text 4:"a green one" --categories blue,red '
        "--every 4 --backward --matte png --cutout png --tracks --no-overlay --start 1 --end 8 --output out"
    )
    assert run(line) == 0
    report = json.loads((folder / "out" / "results.json").read_text())
    kinds = {item["id"]: sorted(p["kind"] for p in item["prompts"]) for item in report["objects"]}
    assert kinds[1] == ["point"] and kinds[2] == ["box"] and kinds[3] == ["scribble"] and kinds[4] == ["text"]
    assert [frame["index"] for frame in report["frames"]] == list(range(1, 9))
    assert not (folder / "out" / "overlay.mp4").exists()
    assert (folder / "out" / "tracks.json").exists()
    assert (folder / "out" / "mattes" / "00001" / "004.png").exists()
    assert (folder / "out" / "cutout" / "004.png").exists()


def test_a_palette_mask_is_one_object_per_value(folder: Path) -> None:
    assert run("--video frames --mask first.png --task vos --output out --no-overlay") == 0
    assert (read_ids(folder / "out" / "masks" / "000.png") == read_ids(folder / "first.png")).all()
    assert set(np.unique(read_ids(folder / "out" / "masks" / "013.png"))) == {0, 1, 2}


def test_categories_from_a_file_and_the_task_that_needs_them(folder: Path) -> None:
    (folder / "names.txt").write_text("# colours\nred\n\ngreen\n")
    assert run("--video frames --categories names.txt --task vis --output out --no-overlay") == 0
    tracks = json.loads((folder / "out" / "tracks.json").read_text())
    assert sorted(item["name"] for item in tracks["categories"]) == ["green", "red"]


def test_a_picture_is_a_video_of_one_frame(folder: Path) -> None:
    assert run(f"--video frames/002.png --click 1:{click(0, 2)[:-1]}0 --task image --output out") == 0
    assert [path.name for path in (folder / "out" / "masks").iterdir()] == ["002.png"]


def test_a_saved_session_goes_on_with_more_prompts(folder: Path, capsys: pytest.CaptureFixture) -> None:
    assert run(f"--video frames --click 1:{click(0, 0)} --save-session a.univs --output out --no-overlay") == 0
    assert "univs demo --session a.univs" in capsys.readouterr().out
    before = read_ids(folder / "out" / "masks" / "009.png")
    assert run(f"--session a.univs --click 2:{click(1, 4)} --output more --no-overlay") == 0
    after = read_ids(folder / "more" / "masks" / "009.png")
    assert set(np.unique(after)) == {0, 1, 2}
    assert ((after == 1) == (before == 1)).all()


def test_model_options_reach_the_model(folder: Path, colour_model: dict[str, object]) -> None:
    line = f"--video frames --click 1:{click(0, 0)} --config my.yaml --weights my.pth --quality high --device cpu"
    assert run(f"{line} --output out --no-overlay") == 0
    assert colour_model == {"model": "my.yaml", "weights": "my.pth", "quality": "high", "device": "cpu"}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--click 1:5,5", "There is no video; give --video"),
        ("--video frames", "nothing to look for; give --click"),
        ("--video none.mp4 --click 1:5,5", "There is no video none.mp4"),
        ("--video first.png --click 1:900,5", "outside the frame"),
        ("--video frames --click 1:5", "--click '1:5' is malformed; write ID:x,y@FRAME"),
        ("--video frames --click 5,5@0", "write ID:x,y@FRAME"),
        ("--video frames --click '1:5,5;6,6'", "write ID:x,y@FRAME"),
        ("--video frames --click 1:5,5@99", "There is no frame 99: the video has 14 frames"),
        ("--video frames --box 1:5,5,9", "write ID:x0,y0,x1,y1@FRAME"),
        ("--video frames --scribble 1:", "write ID:x,y;x,y;...@FRAME"),
        ("--video frames --text dog", "--text 'dog' is malformed"),
        ("--video frames --text '1: '", "--text '1: ' is malformed"),
        ("--video frames --mask none.png", "There is no mask none.png"),
        ("--video frames --mask clip.mp4", "cannot be read as a mask"),
        ("--video frames --mask small.png@0", "--mask small.png@0: the mask has 440x100 pixels, the video 440x240"),
        ("--video frames --categories names.txt", "there is no such file"),
        ("--video frames --categories ' '", "empty category name"),
        ("--video frames --categories clip.mp4", "not a text file of names"),
        ("--video frames --click 1:5,5 --task vos", "The task vos .* starts from mask"),
        ("--video frames --click 1:5,5 --task vas", "no task 'vas'; the tasks are any"),
        ("--video frames --click 1:5,5 --start 9 --end 3", "start must not be above end"),
        ("--video frames --click 1:5,5 --device tpu9", "tpu9"),
        ("--video frames --name 3:x --click 1:5,5", "There is no object 3"),
        ("--session none.univs", "There is no session file none.univs"),
    ],
)
def test_mistakes_are_one_sentence_and_exit_code_2(
    folder: Path, capsys: pytest.CaptureFixture, line: str, message: str
) -> None:
    assert run(line) == 2
    printed = capsys.readouterr()
    lines = [each for each in printed.err.splitlines() if each.startswith("univs:")]
    assert len(lines) == 1
    assert re.search(message, lines[0]), lines[0]
    assert "Traceback" not in printed.err
    assert not (folder / "output").exists()


def test_nothing_found_is_a_note_and_no_mistake(folder: Path, capsys: pytest.CaptureFixture) -> None:
    assert run("--video frames --text 1:yellow --categories blue --output out --no-overlay") == 0
    notes = [line for line in capsys.readouterr().err.splitlines() if "univs: note:" in line]
    assert len(notes) == 2
    assert '"yellow", was not found' in notes[0] and "Nothing was found of blue" in notes[1]


def test_an_interruption_keeps_what_is_finished(
    folder: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    follow = ColourSegmenter.follow

    def interrupted(self: ColourSegmenter, memory: object, frame_index: int, *rest: object) -> dict:
        if frame_index == 6:
            raise KeyboardInterrupt
        return follow(self, memory, frame_index, *rest)

    monkeypatch.setattr(ColourSegmenter, "follow", interrupted)
    line = f"--video frames --click 1:{click(0, 0)} --output out --save-session a.univs"
    assert run(line) == INTERRUPTED
    assert "what is finished is kept" in capsys.readouterr().err
    assert len(list((folder / "out" / "masks").iterdir())) == 6
    assert (folder / "out" / "overlay.mp4").exists()
    assert json.loads((folder / "out" / "results.json").read_text())["complete"] is False
    monkeypatch.setattr(ColourSegmenter, "follow", follow)
    assert run("--session a.univs --output out") == 0
    assert len(list((folder / "out" / "masks").iterdir())) == COUNT


def test_what_the_command_lists_is_what_there_is() -> None:
    assert set(demo.CUTOUTS) == {"png", *CUTOUT_FORMATS}
    assert set(WRITTEN) == {*OUTPUTS, "results", "mattes", "tracks"}
    assert centre(0, 0) == (11.0, 9.0)


def test_the_script_in_tools_is_the_same_command(folder: Path) -> None:
    import runpy
    import sys

    script = Path(__file__).resolve().parents[2] / "tools" / "demo.py"
    arguments, sys.argv = sys.argv, ["demo.py", *shlex.split(f"--video frames --click 1:{click(0, 0)} --output out")]
    try:
        with pytest.raises(SystemExit) as stopped:
            runpy.run_path(str(script), run_name="__main__")
    finally:
        sys.argv = arguments
    assert stopped.value.code == 0
    assert (folder / "out" / "results.json").exists()

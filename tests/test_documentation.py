"""What the pages say is done: their Python blocks and commands run, their links lead somewhere.

All runs share one loaded model and a working folder of their own, in which ``datasets/`` is reachable. What installs,
trains or measures is not run: its Makefile target, the tool's ``--help``, options and configuration are checked; so are
the options of commands that need a published checkpoint, and that such a checkpoint finds a configuration that fits.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import io
import re
import runpy
import shlex
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.evaluation.tiny_layouts import write_layouts
from tests.parity import published_shapes
from univs.cli import demo, main
from univs.config import get_config
from univs.evaluation.benchmarks import benchmark_names
from univs.inference.model_choice import choose_config, find_config
from univs.inference.predictor import VideoPredictor
from univs.modeling.build import build_model
from univs.modeling.weight_sources import recognised
from univs.modeling.weights import select
from univs.structures import FrameResult, ObjectResult
from univs.video import ResultWriter, open_video
from univs.video.palette import write_palette_mask
from univs.video.writer import VideoWriter

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])
LINKING_PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "datasets").rglob("README.md")])
# Its blocks need a stream of frames and long passes; they run with a small stand-in of the model.
RUN_ELSEWHERE = {"docs/SESSION.md": "tests/inference/test_session_docs.py"}
TOOL = re.compile(r"(?:tools|benchmarks)/\w+\.py")
ASSIGNMENT = re.compile(r"[A-Z_]+=.*")
CLIP = ROOT / "datasets" / "demo_clips" / "dog_walk.mp4"


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def blocks_of(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)


def commands_of(page: Path) -> list[list[str]]:
    """Every command of the page's bash blocks as words, without comments and leading variables."""
    lines = "\n".join(blocks_of(page, "bash")).replace("\\\n", " ").splitlines()
    commands = []
    for line in lines:
        words = shlex.split(line, comments=True)
        while words and ASSIGNMENT.fullmatch(words[0]):
            words = words[1:]
        if words:
            commands.append(words)
    return commands


def pages_with(language: str) -> list[Path]:
    return [page for page in PAGES if blocks_of(page, language) and name_of(page) not in RUN_ELSEWHERE]


@pytest.fixture(scope="module")
def one_model() -> Iterator[None]:
    """The same loaded model for every predictor that is asked for."""
    load = VideoPredictor.from_pretrained
    segmenters = {}

    def from_pretrained(model=None, weights=None, device="auto", quality="default", settings=None, task="any"):  # noqa: ANN001, ANN202
        model = model or (None if weights else "univs_mini")
        key = model, weights, quality
        if key not in segmenters:
            segmenters[key] = load(model, weights, "cpu", quality).segmenter
        return VideoPredictor(segmenters[key], settings)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(VideoPredictor, "from_pretrained", staticmethod(from_pretrained))
        yield


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder that looks like the clone to the examples."""
    (tmp_path / "datasets").symlink_to(ROOT / "datasets")
    monkeypatch.chdir(tmp_path)
    return tmp_path


# --- what runs ----------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore::univs.errors.SessionWarning")
@pytest.mark.parametrize("page", pages_with("python"), ids=name_of)
def test_python_examples_run(page: Path, folder: Path, one_model: None) -> None:
    names = given(page, folder)
    for block in blocks_of(page, "python"):
        exec(compile(block, name_of(page), "exec"), names)
        for written in re.findall(r'\.save\("([\w/.]+)"', block):
            assert (folder / written).exists(), written


def given(page: Path, folder: Path) -> dict[str, object]:
    """What the page of the result folder takes for granted: a video, masks of it, and their folder.

    The page of evaluation takes benchmarks and predictions for granted.
    """
    if page.name == "EVALUATION.md":
        write_layouts(folder)
        write_frames(folder / "clips" / "alpha")
    if page.name != "RESULTS_FORMAT.md":
        return {}
    mask = np.zeros((32, 48), bool)
    mask[8:20, 10:30] = True
    results = [FrameResult(index, [ObjectResult(1, mask, 0.9)]) for index in range(2)]
    with VideoWriter(folder / "clip.mp4") as clip:
        for _ in results:
            clip.write(np.full((*mask.shape, 3), 90, np.uint8))
    with open_video(folder / "clip.mp4") as video, ResultWriter(folder / "out", video) as writer:
        for result in results:
            writer.write(video.frame(result.index), result)
    return {"my_results": results}


@pytest.mark.filterwarnings("ignore::univs.errors.SessionWarning")
@pytest.mark.parametrize("page", pages_with("bash"), ids=name_of)
def test_commands_work(page: Path, folder: Path, one_model: None, monkeypatch: pytest.MonkeyPatch) -> None:
    given(page, folder)
    for words in commands_of(page):
        tools = [word for word in words if TOOL.fullmatch(word)]
        if words[0] == "univs":
            run_univs(words[1:], folder)
        elif words[0] == "make":
            check_make(words[1:])
        elif tools and words[0] in ("python", "torchrun"):
            check_tool(tools[0], words[words.index(tools[0]) + 1 :], monkeypatch)
        elif words[0] == "tensorboard":
            assert importlib.metadata.version("tensorboard")
        else:
            assert words == ["pip", "install", "-e", "."], (
                f"{name_of(page)}: this test does not know how to check {words}"
            )


def run_univs(words: list[str], folder: Path) -> None:
    """Run a command of the program; what it is told to write is there afterwards."""
    if "--help" in words:
        with pytest.raises(SystemExit) as stopped:
            main(words)
        assert stopped.value.code == 0
        return
    if "--weights" in words:
        check_published(words)
        return
    assert main(words) == 0, words
    options = dict(zip(words, words[1:], strict=False))
    if words[0] == "submission":
        assert Path(options.get("--output", ".")).exists()
    elif words[0] == "score":
        if "--list" not in words:
            assert (folder / options.get("--output", f"output/score-{words[1]}") / "results.json").exists()
    elif "--output" in options:
        written = {path.name for path in (folder / options["--output"]).iterdir()}
        assert written >= {"masks", "results.json", *([] if "--no-overlay" in words else ["overlay.mp4"])}
    assert (folder / options.get("--save-session", ".")).exists()


def check_published(words: list[str]) -> None:
    """The command is understood, and the model of a published checkpoint of that name has a place for everything."""
    understood = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(demo, "run", lambda arguments: understood.append(arguments) or 0)
        assert main(words) == 0, words
    (arguments,) = understood
    backbone = re.match(r"(univs_[a-z0-9]+)_stage\d\.pth", arguments.weights)[1]
    with torch.device("meta"):
        state = {key: torch.empty(shape) for key, shape in published_shapes(backbone).items()}
        weights = recognised(state, arguments.weights)
        found = arguments.config and find_config(ROOT / arguments.config)
        cfg = found or choose_config(weights, {}, arguments.task)
        cfg.MODEL.DEVICE = "meta"
        model = build_model(cfg)
    assert select(model, weights)[1].complete


def check_make(words: list[str]) -> None:
    """The targets exist, and so does what TESTS names."""
    targets = re.findall(r"^([a-z][\w-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for word in words:
        name, _, value = word.partition("=")
        assert (ROOT / value).exists() if name == "TESTS" else ASSIGNMENT.fullmatch(word) or word in targets, word


def check_tool(tool: str, words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The program tells of every option that is used, and its configuration can be used with the keys that are set."""
    monkeypatch.setattr("sys.path", [str((ROOT / tool).parent), *sys.path])
    told = help_of(tool)
    for word in words:
        if word.startswith("--"):
            assert re.search(rf"{re.escape(word.partition('=')[0])}\b", told), f"{tool} has no {word}"
    if "--config-file" in words:
        place = words.index("--config-file") + 1
        keys = words[place + 1 :]
        first = next((at for at, word in enumerate(keys) if re.fullmatch(r"[A-Z_]+(?:\.[A-Z_]+)*", word)), len(keys))
        get_config(ROOT / words[place], keys[first:])


@cache
def help_of(tool: str) -> str:
    """What a program prints for ``--help``; it ends with exit code 0."""
    printed = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(printed):
        patch.setattr("sys.argv", [tool, "--help"])
        with pytest.raises(SystemExit) as stopped:
            runpy.run_path(str(ROOT / tool), run_name="__main__")
    assert not stopped.value.code
    return printed.getvalue()


def test_the_examples_of_help_work_as_printed(
    folder: Path, one_model: None, capsys: pytest.CaptureFixture[str]
) -> None:
    make_example_files(folder)
    with pytest.raises(SystemExit):
        main(["demo", "--help"])
    printed = [line.strip() for line in capsys.readouterr().out.splitlines() if line.startswith("  univs demo ")]
    assert len(printed) >= 7
    for line in printed:
        # a few frames of each; the last --end counts
        end = "5" if "--start" in line or "--session" in line else "2"
        run_univs([*shlex.split(line)[1:], "--end", end], folder)


def write_frames(folder: Path) -> None:
    """A few frames of the size of the tiny benchmarks."""
    folder.mkdir(parents=True)
    for index in range(2):
        Image.fromarray(np.full((30, 40, 3), 90, np.uint8)).save(folder / f"{index:05d}.jpg")


def make_example_files(folder: Path) -> None:
    """The files that the examples name, cut from the bundled clip: clip.mp4, frames/, first.png."""
    frames = folder / "frames"
    frames.mkdir()
    with open_video(CLIP) as video, VideoWriter(folder / "clip.mp4", video.rate) as clip:
        for index in range(31):
            clip.write(video.frame(index))
        height, width = video.size
        for index in range(3):
            Image.fromarray(video.frame(index)).save(frames / f"{index}.png")
    ids = np.zeros((height, width), np.uint8)
    ids[185:262, 255:350] = 1
    write_palette_mask(folder / "first.png", ids)


# --- what leads somewhere -----------------------------------------------------------------------------------------


def anchors_of(page: Path) -> set[str]:
    """The names under which headings of a page can be linked to."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", LINKING_PAGES, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    dead = []
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if "://" in target or target.startswith("mailto:"):
            continue
        path, _, anchor = target.partition("#")
        place = (page.parent / path).resolve() if path else page
        if not place.exists() or (anchor and anchor not in anchors_of(place)):
            dead.append(target)
    assert not dead


def test_every_benchmark_has_a_command_in_the_page_of_evaluation() -> None:
    commands = commands_of(ROOT / "docs" / "EVALUATION.md")
    scored = {words[2] for words in commands if words[:2] == ["univs", "score"] and "--predictions" in words}
    assert scored == set(benchmark_names())


def test_every_page_is_reached_from_the_readme() -> None:
    linked = set(re.findall(r"\]\((docs/\w+\.md)\)", (ROOT / "README.md").read_text()))
    assert {name_of(page) for page in (ROOT / "docs").glob("*.md")} <= linked


@pytest.mark.parametrize(("page", "test"), RUN_ELSEWHERE.items())
def test_pages_that_run_elsewhere_are_named_there(page: str, test: str) -> None:
    assert Path(page).name in (ROOT / test).read_text()
    assert not blocks_of(ROOT / page, "bash")

"""From a published-format checkpoint and a benchmark's files to what the benchmark takes, with the real program."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.published_file import small_model, write_config, write_published
from tools.evaluate import main
from univs.data.vocabulary import read_vocabulary
from univs.evaluation.submissions import find_submission
from univs.evaluation.submissions.check import check_submission
from univs.evaluation.submissions.expected import read_expected
from univs.modeling.meta_arch import UniVS
from univs.video.palette import write_palette_mask

HEIGHT, WIDTH, FRAMES = 48, 64, 3
VIDEOS = ("garden", "street")
BENCHMARKS = {
    "vos/univs_r50_davis17": "davis2017",
    "pvos/univs_r50_viposeg": "viposeg",
    "vis/univs_r50_ytvis21": "youtube-vis-2021",
    "vis/univs_r50_ytvis21_frame_tracker": "youtube-vis-2021",
    "vps/univs_r50_vipseg": "vipseg",
    "vss/univs_r50_vspw": "vspw",
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Frames, masks of two objects, lists of both kinds, sentences, classes, and embeddings of all classes."""
    folder = tmp_path_factory.mktemp("data")
    random = np.random.default_rng(0)
    for video in VIDEOS:
        (folder / "frames" / video).mkdir(parents=True)
        (folder / "masks" / video).mkdir(parents=True)
        for number in range(FRAMES):
            pixels = random.integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8)
            Image.fromarray(pixels).save(folder / "frames" / video / f"{number:05d}.jpg")
        ids = np.zeros((HEIGHT, WIDTH), np.uint8)
        ids[8:30, 4:30], ids[20:40, 34:60] = 1, 3
        write_palette_mask(folder / "masks" / video / "00000.png", ids)
    (folder / "list.txt").write_text("\n".join(VIDEOS))
    torch.save(torch.randn(3938, 640, generator=torch.Generator().manual_seed(0)), folder / "classes.pth")
    (folder / "labels.json").write_text(json.dumps({video: {"1": 2, "3": 15} for video in VIDEOS}))
    return folder


def _list(folder: Path, names: tuple[str, ...], first: int) -> Path:
    """A benchmark's own list with categories."""
    videos = [
        {
            "id": number + 5,
            "height": HEIGHT,
            "width": WIDTH,
            "file_names": [f"{video}/{frame:05d}.jpg" for frame in range(FRAMES)],
        }
        for number, video in enumerate(VIDEOS)
    ]
    categories = [{"id": first + number, "name": f"other {name}"} for number, name in enumerate(names)]
    path = folder / f"{len(names)}.json"
    path.write_text(json.dumps({"videos": videos, "categories": categories}))
    return path


def _arguments(tmp_path: Path, data: Path, config: str, benchmark: str, videos: Path) -> list[str]:
    settings = write_config(tmp_path / "small.yaml", f"eval/{config}.yaml")
    weights = write_published(tmp_path / "univs_stage2.pth", small_model())
    paths = {
        "--config-file": settings, "--weights": weights, "--benchmark": benchmark, "--list": videos,
        "--frames": data / "frames", "--masks": data / "masks", "--output": tmp_path / "out", "--device": "cpu",
    }  # fmt: skip
    if config.startswith("pvos"):
        paths["--classes"] = data / "labels.json"
    options = {
        "MODEL.UNIVS.TEXT.CLASS_EMBEDDINGS": data / "classes.pth", "INPUT.MIN_SIZE_TEST": 48, "INPUT.SQUARE_TEST": 0,
        "INPUT.CLIP_FRAMES": 2, "INFERENCE.CLASS_THRESHOLD": 0.0, "INFERENCE.STABILITY_THRESHOLD": 0.0,
    }  # fmt: skip
    return [str(word) for pair in [*paths.items(), *options.items()] for word in pair]


@pytest.mark.parametrize("precision", ["single", "bfloat16"])
@pytest.mark.parametrize(("config", "benchmark"), BENCHMARKS.items())
def test_every_task_writes_what_its_benchmark_takes(
    tmp_path: Path, data: Path, config: str, benchmark: str, precision: str
) -> None:
    videos = data / "list.txt"
    if config.startswith(("vis", "vps")):
        names = read_vocabulary("ytvis21" if config.startswith("vis") else "vipseg").names
        videos = _list(tmp_path, names, 1 if config.startswith("vis") else 0)
    words = _arguments(tmp_path, data, config, benchmark, videos)
    assert main(["--precision", precision, *words]) == 0
    problems = check_submission(tmp_path / "out", find_submission(benchmark), read_expected(videos))
    assert not problems, problems


@pytest.mark.parametrize("benchmark", ["coco-panoptic", "coco-instance"])
def test_pictures_are_videos_of_one_frame(tmp_path: Path, data: Path, benchmark: str) -> None:
    names = read_vocabulary("coco_panoptic").names
    images = [
        {"id": number + 3, "file_name": f"{number:05d}.jpg", "height": HEIGHT, "width": WIDTH}
        for number in range(FRAMES)
    ]
    pictures = tmp_path / "pictures.json"
    categories = [{"id": number + 1, "name": name} for number, name in enumerate(names)]
    pictures.write_text(json.dumps({"images": images, "categories": categories}))
    words = _arguments(tmp_path, data, "image/univs_r50_coco", benchmark, pictures)
    words[words.index("--frames") + 1] = str(data / "frames" / "street")
    outputs = "['panoptic','instances']"
    options = {"INPUT.CLIP_FRAMES": 1, "INFERENCE.OBJECT_THRESHOLD": 0.0, "INFERENCE.IMAGE_OUTPUTS": outputs}
    assert main([*words, *[str(word) for pair in options.items() for word in pair]]) == 0
    problems = check_submission(tmp_path / "out", find_submission(benchmark), read_expected(pictures))
    assert not problems, problems


@pytest.mark.parametrize("benchmark", ["ref-youtube-vos", "davis2017"])
def test_sentences_are_answered(tmp_path: Path, data: Path, benchmark: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def encode(model: UniVS, sentences: list[str]) -> tuple[torch.Tensor, torch.Tensor]:
        assert sentences == ["the dog", "a tree"]
        return torch.ones(2, 4, 640), torch.eye(2, 640)

    monkeypatch.setattr(UniVS, "encode_expressions", encode)
    sentences = data / "expressions.json"
    expressions = {"1": {"exp": "the dog"}, "2": {"exp": "a tree"}}
    frames = [f"{frame:05d}" for frame in range(FRAMES)]
    videos = {video: {"expressions": expressions, "frames": frames} for video in VIDEOS}
    sentences.write_text(json.dumps({"videos": videos}))
    words = _arguments(tmp_path, data, "rvos/univs_r50_refdavis", benchmark, sentences)
    assert main([*words[:2], "--sentences", str(sentences), *words[2:]]) == 0
    written = {path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.png")}
    pattern = "{video}/{frame}.png" if benchmark == "davis2017" else "Annotations/{video}/{sentence}/{frame}.png"
    names = [(video, sentence, frame) for video in VIDEOS for sentence in expressions for frame in frames]
    assert written == {pattern.format(video=video, sentence=sentence, frame=frame) for video, sentence, frame in names}


def test_given_objects_keep_their_ids(tmp_path: Path, data: Path) -> None:
    assert main(_arguments(tmp_path, data, "vos/univs_r50_davis17", "davis2017", data / "list.txt")) == 0
    first = np.asarray(Image.open(tmp_path / "out" / "street" / "00000.png"))
    assert set(np.unique(first)) <= {0, 1, 3} and (first[10:28, 6:28] == 1).mean() > 0.9


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"--frames": "absent"}, "no frames of garden"),
        ({"--masks": None}, "--masks"),
        ({"--benchmark": "davis2018"}, "davis2017"),
        ({"--weights": "absent.pth"}, "absent.pth"),
        ({"--benchmark": "vspw"}, "nothing for this benchmark"),
        ({"--masks": "absent"}, "garden has no mask of an object in any frame; check --masks"),
        ({"--config-file": "absent.yaml"}, "no model or config 'absent.yaml'"),
        ({"INPUT.CLIP_FRAMES": None, "INFERENCE.CLASS_THRESHOLD": None, "INPUT.SQUARE_TEST": "x"}, "INPUT.SQUARE_TEST"),
        ({"INPUT.MIN_SIZE_TEST": "48 INFERENCE.TASK vps"}, "name a vocabulary in INFERENCE.VOCABULARY"),
    ],
)
def test_mistakes_are_told_in_one_sentence(
    tmp_path: Path, data: Path, change: dict[str, str | None], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = _arguments(tmp_path, data, "vos/univs_r50_davis17", "davis2017", data / "list.txt")
    for option, value in change.items():
        place = words.index(option)
        words[place : place + 2] = [option, *value.split()] if value else []
    assert main(words) == 2
    (error,) = capsys.readouterr().err.splitlines()
    assert error.startswith("evaluate: ") and told in error


def test_a_run_goes_on_where_it_was_interrupted(tmp_path: Path, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = _arguments(tmp_path, data, "vos/univs_r50_davis17", "davis2017", data / "list.txt")
    assert main(words) == 0
    pictures = sorted((tmp_path / "out").rglob("*.png"))
    before = [path.stat().st_mtime_ns for path in pictures]
    pictures[-1].unlink()
    assert main(["--resume", *words]) == 0
    kept = [path.stat().st_mtime_ns == time for path, time in zip(pictures, before, strict=True)]
    assert kept == [True] * FRAMES + [False] * FRAMES
    videos = _list(tmp_path, read_vocabulary("ytvis21").names, 1)
    words = _arguments(tmp_path, data, "vis/univs_r50_ytvis21", "youtube-vis-2021", videos)
    assert main(["--resume", *words]) == 2
    assert "cannot be resumed" in capsys.readouterr().err


def test_frames_that_the_list_does_not_name_are_left_out(
    tmp_path: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    frames = tmp_path / "frames"
    shutil.copytree(data / "frames", frames)
    shutil.copy(frames / "street" / "00001.jpg", frames / "street" / "00007.jpg")
    videos = _list(tmp_path, read_vocabulary("ytvis21").names, 1)
    words = _arguments(tmp_path, data, "vis/univs_r50_ytvis21", "youtube-vis-2021", videos)
    words[words.index("--frames") + 1] = str(frames)
    assert main(words) == 0
    assert "univs score youtube-vis-2021 --predictions" in capsys.readouterr().out
    tracks = json.loads((tmp_path / "out" / "results.json").read_text())
    assert tracks and all(len(track["segmentations"]) == FRAMES for track in tracks)
    (frames / "street" / "00002.jpg").unlink()
    assert main(words) == 2
    assert "The frame 00002 of street is not in" in capsys.readouterr().err

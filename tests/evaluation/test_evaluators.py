"""Benchmarks as Detectron2's evaluators: the figures of files that were written by hand, in one process or two."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from detectron2.evaluation import inference_on_dataset
from detectron2.evaluation.testing import flatten_results_dict
from detectron2.utils import comm
from PIL import Image
from torch import nn

from tests.evaluation import tiny_layouts
from univs.errors import UserError
from univs.evaluation.benchmarks import find_benchmark
from univs.evaluation.evaluators import BenchmarkEvaluator, EvaluationSettings, _joined_text, named_frames, video_of
from univs.evaluation.scoring import Request, score
from univs.evaluation.submissions import SUBMISSIONS
from univs.evaluation.submissions.lists import code_of
from univs.structures import FrameResult, ObjectResult

SIZE = 24, 32
VIDEOS, FRAMES = 3, 4
CATEGORIES = {"cat": 1, "dog": 2}


def square(left: int, side: int = 10) -> np.ndarray:
    mask = np.zeros(SIZE, bool)
    mask[4 : 4 + side, left : left + side] = True
    return mask


@pytest.fixture
def truth(tmp_path: Path) -> Path:
    """Three videos with a cat that moves to the right."""
    annotations, videos = [], []
    for video in range(1, VIDEOS + 1):
        files = [f"v{video}/{frame:05d}.jpg" for frame in range(FRAMES)]
        videos.append({"id": video, "height": SIZE[0], "width": SIZE[1], "length": FRAMES, "file_names": files})
        codes = [code_of(ObjectResult(1, square(2 + frame + video), 1.0)) for frame in range(FRAMES)]
        annotations.append(
            {"id": video, "video_id": video, "category_id": 1, "iscrowd": 0, "segmentations": codes, "areas": [100] * 4}
        )
    categories = [{"id": number, "name": name} for name, number in CATEGORIES.items()]
    path = tmp_path / "instances.json"
    path.write_text(json.dumps({"videos": videos, "annotations": annotations, "categories": categories}))
    return path


def samples(truth: Path) -> list[dict]:
    return [{**video, "video_id": video["id"]} for video in json.loads(truth.read_text())["videos"]]


def results(sample: dict) -> Iterator[FrameResult]:
    """A cat that is nearly right, and a dog that is not there."""
    for frame in range(FRAMES):
        cat = ObjectResult(1, square(2 + frame + sample["video_id"], 9), 0.9, "cat")
        yield FrameResult(frame, [cat, ObjectResult(2, square(20, 4), 0.3, "dog")])


@pytest.fixture
def settings(truth: Path, tmp_path: Path) -> EvaluationSettings:
    return EvaluationSettings("youtube-vis-2021", truth, tmp_path / "out", CATEGORIES)


def test_a_model_is_scored_like_its_files(settings: EvaluationSettings, tmp_path: Path) -> None:
    evaluator = BenchmarkEvaluator(settings)
    evaluator.reset()
    for sample in samples(settings.truth):
        evaluator.process([sample], [{"frames": results(sample)}])
    figures = evaluator.evaluate()
    predictions = settings.output / "predictions"
    assert len(json.loads((predictions / "results.json").read_text())) == 2 * VIDEOS
    request = Request(find_benchmark("youtube-vis-2021"), predictions, settings.truth, tmp_path / "again")
    assert figures["youtube-vis-2021"] == dict(score(request).summary.table)
    assert 0.3 < next(iter(figures["youtube-vis-2021"].values())) / 100 < 1
    assert (settings.output / "scores" / "results.json").exists()


class Model(nn.Module):
    def forward(self, batch: list[dict]) -> list[dict]:
        return [{"frames": list(results(sample))} for sample in batch]


def test_detectron2_runs_it(settings: EvaluationSettings) -> None:
    batches = [[sample] for sample in samples(settings.truth)]
    figures = inference_on_dataset(Model(), batches, BenchmarkEvaluator(settings))
    flat = flatten_results_dict(figures)
    assert flat["youtube-vis-2021/AP"] == figures["youtube-vis-2021"]["AP"]


def test_processes_share_the_work(settings: EvaluationSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two evaluators that take turns stand for two processes; what they send each other is kept in between."""
    alone = BenchmarkEvaluator(settings)
    alone.process(samples(settings.truth), [list(results(sample)) for sample in samples(settings.truth)])
    expected = alone.evaluate()
    sent = {}
    figures = {}
    for rank in (1, 0):
        monkeypatch.setattr(comm, "get_rank", lambda rank=rank: rank)
        monkeypatch.setattr(comm, "is_main_process", lambda rank=rank: rank == 0)

        def gather(data: bytes, rank: int = rank) -> list[bytes]:
            sent[rank] = data
            return [sent[0], sent[1]] if rank == 0 else []

        monkeypatch.setattr(comm, "gather", gather)
        evaluator = BenchmarkEvaluator(settings)
        evaluator.reset()
        for sample in samples(settings.truth)[rank::2]:
            evaluator.process([sample], [results(sample)])
        figures[rank] = evaluator.evaluate()
    assert figures == {1: None, 0: expected}


def test_reset_forgets(settings: EvaluationSettings) -> None:
    evaluator = BenchmarkEvaluator(settings)
    wrong = [FrameResult(0, [ObjectResult(1, square(0), 1.0, "dog")])]
    evaluator.process(samples(settings.truth)[:1], [wrong])
    evaluator.reset()
    evaluator.process(samples(settings.truth), [results(sample) for sample in samples(settings.truth)])
    evaluator.evaluate()
    entries = json.loads((settings.output / "predictions" / "results.json").read_text())
    assert len(entries) == 2 * VIDEOS


def test_missing_sequences_are_said(tmp_path: Path, truth: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Semantic videos: one of two has no prediction."""
    for name in ("v1", "v2"):
        folder = tmp_path / "vspw" / "data" / name / "mask"
        folder.mkdir(parents=True)
        for frame in range(FRAMES):
            Image.fromarray((square(4) + 1).astype(np.uint8)).save(folder / f"{frame:05d}.png")
    (tmp_path / "vspw" / "val.txt").write_text("v1\nv2\n")
    sky = [ObjectResult(1, ~square(4), 1.0, "sky"), ObjectResult(2, square(4), 1.0, "cat")]
    frames = [FrameResult(frame, sky) for frame in range(FRAMES)]
    for allow in (False, True):
        settings = EvaluationSettings(
            "vspw", tmp_path / "vspw", tmp_path / "out", {"sky": 0, "cat": 1}, allow_missing=allow
        )
        evaluator = BenchmarkEvaluator(settings)
        evaluator.process(samples(truth)[:1], [frames])
        with caplog.at_level(logging.WARNING, "univs"):
            if allow:
                assert evaluator.evaluate()["vspw"]["mIoU"] in (1, 100)
            else:
                with pytest.raises(UserError, match="1 of 2 sequences cannot be scored, such as v2"):
                    evaluator.evaluate()
        assert "not scored: v2" in caplog.text


def test_labels_of_classes_and_objects_are_scored(tmp_path: Path) -> None:
    """Class and object of every pixel: a result against itself."""
    settings = EvaluationSettings(
        "kitti-step", tmp_path / "truth", tmp_path / "out", {"cat": 11, "sky": 10}, {"things": [11]}
    )
    samples = [{"file_names": [f"{video}/{name}.jpg" for name in tiny_layouts.FRAMES]} for video in tiny_layouts.VIDEOS]
    samples = [sample | dict(zip(("height", "width"), tiny_layouts.SIZE, strict=True)) for sample in samples]
    found = [[result for _, result in tiny_layouts.frames()] for _ in samples]
    with SUBMISSIONS["kitti-step"].writer(tmp_path / "truth", settings.categories) as writer:
        for sample, frames in zip(samples, found, strict=True):
            writer.add(video_of(sample), named_frames(video_of(sample), frames))
    evaluator = BenchmarkEvaluator(settings)
    evaluator.process(samples, found)
    assert evaluator.evaluate()["kitti-step"]["STQ"] in (1, 100)


@pytest.mark.parametrize("name", ["a2d-sentences", "jhmdb-sentences"])
def test_answers_in_single_frames_are_scored_like_their_file(name: str, tmp_path: Path) -> None:
    tiny_layouts.single_frames(tmp_path, name, "data")
    truth = tmp_path / "data" / "data"
    images = json.loads((truth / "annotations_coco_format.json").read_text())["images"]
    evaluator = BenchmarkEvaluator(EvaluationSettings(name, truth, tmp_path / "out"))
    for place, image in enumerate(images):
        sample = {**image, "file_name": f"{image['id']}.jpg", "image_id": image["id"]}
        objects = tiny_layouts.frame_of(place % len(tiny_layouts.FRAMES), 1).objects[:1]
        evaluator.process([sample], [[FrameResult(0, objects)]])
    request = Request(find_benchmark(name), tmp_path / "results" / name, truth, tmp_path / "again")
    assert evaluator.evaluate()[name] == pytest.approx(dict(score(request).summary.table))


def test_sentences_without_an_answer_get_an_empty_one(tmp_path: Path) -> None:
    tiny_layouts.single_frames(tmp_path, "a2d-sentences", "data")
    truth = tmp_path / "data" / "data"
    evaluator = BenchmarkEvaluator(EvaluationSettings("a2d-sentences", truth, tmp_path / "out"))
    images = json.loads((truth / "annotations_coco_format.json").read_text())["images"]
    samples = [{**image, "file_name": f"{image['id']}.jpg", "image_id": image["id"]} for image in images]
    evaluator.process(samples, [[FrameResult(0, [])]] * len(samples))
    assert evaluator.evaluate()["a2d-sentences"]["overall_iou"] == 0
    evaluator.reset()
    with pytest.raises(UserError, match="has 2 frames; a sentence is about one frame"):
        evaluator.process([{**samples[0], "file_names": ["a/0.jpg", "a/1.jpg"]}], [[FrameResult(0, [])]])


def interactive_samples(folder: Path, scribbles: int = 1) -> list[dict]:
    """Two interactions with a video of two objects, 4 and 5 seconds long."""
    tiny_layouts.write_masks(folder / "masks")
    about = {"num_scribbles": scribbles, "num_objects": 2}
    tiny_layouts.write_json(folder / "sequences.json", {"alpha": about})
    sample = {"file_names": [f"alpha/{name}.jpg" for name in tiny_layouts.FRAMES]}
    sample |= dict(zip(("height", "width"), tiny_layouts.SIZE, strict=True))
    steps = [{"scribble_idx": 1, "interaction": step, "seconds": 3.0 + step} for step in (1, 2)]
    return [{**sample, "entry": {**step, "annotations": str(folder / "masks" / "alpha")}} for step in steps]


def test_a_session_becomes_a_report(tmp_path: Path) -> None:
    first, second = interactive_samples(tmp_path)
    evaluator = BenchmarkEvaluator(EvaluationSettings("davis-interactive", tmp_path, tmp_path / "out"))
    evaluator.process([first], [[result for _, result in tiny_layouts.frames(1)]])
    evaluator.process([second], [[result for _, result in tiny_layouts.frames()]])
    figures = evaluator.evaluate()["davis-interactive"]
    rows = (tmp_path / "out" / "predictions" / "report.csv").read_text().splitlines()
    assert len(rows) == 1 + 2 * 2 * len(tiny_layouts.FRAMES)
    assert rows[1].startswith("univs,alpha,1,1,1,0,0.8") and rows[-1] == "univs,alpha,1,2,2,5,1.0,1.0,1.0,5.0"
    assert figures["J_AND_F at 60 s"] == 1 and 0.4 < figures["AUC J"] < 1


def test_reports_of_several_processes_are_one_table() -> None:
    assert _joined_text(["a,b\n1,2\n", "a,b\n", "a,b\n3,4\n"], "report.csv") == "a,b\n1,2\n3,4\n"


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"seconds": "x"}, "entry of alpha has seconds = .x. where a number is expected"),
        ({"annotations": "nowhere"}, "00000.png is missing"),
    ],
)
def test_interactions_that_say_too_little_are_refused(change: dict, problem: str, tmp_path: Path) -> None:
    sample, _ = interactive_samples(tmp_path)
    evaluator = BenchmarkEvaluator(EvaluationSettings("davis-interactive", tmp_path, tmp_path / "out"))
    sample["entry"] |= change
    with pytest.raises(UserError, match=problem):
        evaluator.process([sample], [[result for _, result in tiny_layouts.frames()]])
    evaluator.reset()


def test_samples_become_videos() -> None:
    sample = {"file_name": "coco/000007.jpg", "image_id": 7, "height": 3, "width": 4}
    video = video_of(sample)
    assert (video.name, video.frames, video.size, video.number) == ("000007", ("000007",), (3, 4), 7)
    sample = {"file_names": ["a/0.jpg", "a/1.jpg"], "height": 3, "width": 4, "expression_id": 0, "video_name": "b"}
    video = video_of(sample)
    assert (video.name, video.frames, video.expression) == ("b", ("0", "1"), "0")
    with pytest.raises(UserError, match="needs file_names"):
        video_of({"height": 3, "width": 4})
    with pytest.raises(UserError, match="Frame 2 is not in b"):
        list(named_frames(video, [FrameResult(2, [])]))


def test_unknown_benchmarks_are_one_sentence(settings: EvaluationSettings) -> None:
    with pytest.raises(UserError, match="did you mean"):
        BenchmarkEvaluator(EvaluationSettings("youtube-vis", settings.truth, settings.output))

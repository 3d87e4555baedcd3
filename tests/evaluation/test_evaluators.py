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

from univs.errors import UserError
from univs.evaluation.benchmarks import find_benchmark
from univs.evaluation.evaluators import BenchmarkEvaluator, EvaluationSettings, named_frames, video_of
from univs.evaluation.scoring import Request, score
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

"""``make demo``: what it would run can be run, on a clip that is there."""

from __future__ import annotations

import argparse

import demo_bundled
import numpy as np
import pytest

from tests.inference.fake import ColourSegmenter
from univs.cli import demo
from univs.cli.prompts import parse_prompts
from univs.inference.session import VideoSession
from univs.video.reader import open_video
from univs.video.source import VideoSource


@pytest.fixture(scope="module")
def clip() -> VideoSource:
    return open_video(str(demo_bundled.CLIP))


def arguments_of(run: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(exit_on_error=False)
    demo.add_arguments(parser)
    return parser.parse_args(["--video", str(demo_bundled.CLIP), *demo_bundled.RUNS[run][1]])


def test_the_clip_is_short_and_whole(clip: VideoSource) -> None:
    assert 40 <= clip.length <= 200
    first, last = clip.frame(0), clip.frame(clip.length - 1)
    assert first.shape == last.shape == (*clip.size, 3)
    assert first.dtype == np.uint8
    assert first.std() > 20


@pytest.mark.parametrize("run", demo_bundled.RUNS)
def test_every_prompt_is_accepted_for_the_clip(clip: VideoSource, run: str) -> None:
    prompts = parse_prompts(arguments_of(run))
    session = VideoSession(ColourSegmenter(), clip)
    for prompt in prompts:
        prompt.edit(session)
    assert session.timeline.objects or session.timeline.searches
    for item in session.objects.values():
        assert all(frame < clip.length for frame in item.user_frames)


def test_the_two_runs_show_every_kind_of_prompt_that_is_promised() -> None:
    kinds = {run: {prompt.kind for prompt in parse_prompts(arguments_of(run))} for run in demo_bundled.RUNS}
    assert kinds["prompts"] >= {"point", "box", "text"}
    assert kinds["categories"] == {"category"}


@pytest.mark.parametrize("failing", [None, "prompts"])
def test_it_runs_both_and_ends_with_the_code_of_the_one_that_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], failing: str | None
) -> None:
    lines = []

    def univs(words: list[str]) -> int:
        lines.append(words)
        return 2 if failing and words[-1].endswith(failing) else 0

    monkeypatch.setattr(demo_bundled, "univs", univs)
    assert demo_bundled.main() == (2 if failing else 0)
    assert [line[-1] for line in lines] == [str(demo_bundled.OUTPUT / run) for run in demo_bundled.RUNS][: len(lines)]
    assert len(lines) == (1 if failing else len(demo_bundled.RUNS))
    told = capsys.readouterr().out
    assert ("univs demo --video YOUR.mp4" in told) == (failing is None)

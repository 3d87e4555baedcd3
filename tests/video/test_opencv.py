"""The same videos without PyAV: OpenCV reads, and writes VP9."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from tests.video.media import SIZE, number_of, picture, turn_on_its_side, write_sound, write_video
from univs.errors import UserError
from univs.video import VideoWriter, open_video, writer
from univs.video.opencv import OpenCVSource


@pytest.fixture
def without_pyav(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    monkeypatch.delitem(sys.modules, "univs.video.container", raising=False)
    monkeypatch.delitem(sys.modules, "univs.video.packet_index", raising=False)


def test_opencv_reads_where_pyav_is_missing(without_pyav: None, tmp_path: Path) -> None:
    path = write_video(tmp_path / "clip.mp4")
    video = open_video(path)
    assert isinstance(video, OpenCVSource)
    assert (len(video), video.size, video.rate) == (12, SIZE, 25)
    assert [number_of(frame) for frame in video] == list(range(12))
    assert [number_of(video.frame(index)) for index in (7, 3, 3, 11, 0)] == [7, 3, 3, 11, 0]


def test_both_readers_give_the_same_frames_and_times(tmp_path: Path) -> None:
    moments = [0.0, 0.04, 0.12, 0.5, 0.52, 1.0]
    path = write_video(tmp_path / "clip.mp4", numbers=range(6), times=moments.__getitem__, options={"bf": "0"})
    turn_on_its_side(path)
    one, other = open_video(path), OpenCVSource(path)
    assert one.size == other.size
    assert np.allclose(one.times, other.times, atol=1e-3)
    assert all(np.abs(a.astype(int) - b).max() <= 2 for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("make", [write_sound, lambda path: path.write_bytes(bytes(range(256)) * 9) and path])
def test_what_opencv_cannot_read_is_refused(make: object, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read as a video"):
        OpenCVSource(make(tmp_path / "clip.m4a"))


def test_opencv_writes_where_pyav_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "can_encode", lambda codec: False)
    with VideoWriter(tmp_path / "overlay.mp4", rate=10) as video:
        for number in range(5):
            video.write(picture(number, 47, 64))
    assert video.path == tmp_path / "overlay.webm"
    monkeypatch.undo()
    read = open_video(video.path)
    assert (len(read), read.size, read.rate) == (5, SIZE, 10)
    assert [number_of(frame) for frame in read] == list(range(5))


def test_formats_that_need_pyav_say_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "can_encode", lambda codec: False)
    with pytest.raises(UserError, match="prores_ks encoder; install PyAV"):
        VideoWriter(tmp_path / "cutout", video_format=writer.PRORES_ALPHA)

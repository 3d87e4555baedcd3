"""Every frame of every kind of video file, by its number, in any order, at its time."""

from __future__ import annotations

import random
import warnings
from pathlib import Path

import av
import numpy as np
import pytest

from tests.video.media import SIZE, number_of, picture, turn_on_its_side, write_video
from univs.video import container, open_video

FRAMES = 24
KINDS = {
    "mp4": ("libx264", {}),
    "mkv": ("libx264", {}),
    "ts": ("libx264", {}),
    "avi": ("mpeg4", {"bf": "2"}),
    "h264": ("libx264", {}),
    "webm": ("libvpx-vp9", {"deadline": "realtime", "cpu-used": "8"}),
    "gif": ("gif", {}),
}


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_video(tmp_path_factory.mktemp("clip") / "clip.mp4", numbers=range(FRAMES))


@pytest.mark.parametrize("suffix", KINDS)
def test_every_container_gives_every_frame_in_any_order(suffix: str, tmp_path: Path) -> None:
    codec, options = KINDS[suffix]
    pixels = "rgb8" if suffix == "gif" else "yuv420p"
    path = write_video(tmp_path / f"clip.{suffix}", codec, pixels, range(FRAMES), options=options)
    shuffled = random.Random(0).sample(range(FRAMES), FRAMES)
    with open_video(str(path)) as video:
        assert (len(video), video.size, video.rate) == (FRAMES, SIZE, 25)
        assert [number_of(frame) for frame in video] == list(range(FRAMES))
        assert [number_of(video.frame(index)) for index in shuffled] == shuffled
        assert [index - number_of(frame) for index, frame in video.iterate(range(FRAMES - 1, -1, -1))] == [0] * FRAMES
        assert np.allclose(video.times, np.arange(FRAMES) / 25)


def test_reordered_frames_without_times_are_counted(tmp_path: Path) -> None:
    path = write_video(tmp_path / "clip.avi", "libx264", numbers=range(FRAMES), options={"bf": "3"})
    video = open_video(path)
    assert [number_of(video.frame(index)) for index in (9, 3, 23, 0)] == [9, 3, 23, 0]


def test_a_frame_is_the_same_whichever_way_one_comes_to_it(clip: Path) -> None:
    forward = list(open_video(clip))
    video = open_video(clip)
    for index in (17, 16, 4, 5, 6, 23, 0):
        assert (video.frame(index) == forward[index]).all()
    assert all((frame == forward[index]).all() for index, frame in video.iterate(range(FRAMES - 1, -1, -1)))
    assert all(
        (frame == again).all() for frame, (_, again) in zip(forward, video.iterate(background=False), strict=True)
    )


def test_frames_are_rgb_bytes(clip: Path) -> None:
    frame = open_video(clip).frame(5)
    assert frame.dtype == np.uint8 and frame.shape == (*SIZE, 3) and frame.flags["C_CONTIGUOUS"]
    assert np.abs(frame.astype(int) - picture(5)).mean() < 6
    assert np.abs(frame[2, 60].astype(int) - (40, 80, 120)).max() < 6


def count_packets(monkeypatch: pytest.MonkeyPatch) -> list[av.Packet]:
    read = []

    def counting(*args: object) -> object:
        for packet in original(*args):
            read.append(packet)
            yield packet

    original = container.packets
    monkeypatch.setattr(container, "packets", counting)
    return read


def test_frames_in_sequence_cost_one_decoding_step_each(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    video = open_video(clip)
    read = count_packets(monkeypatch)
    for index in range(FRAMES):
        video.frame(index)
        video.frame(index)
    assert len(read) <= FRAMES


def test_going_backwards_decodes_each_group_of_frames_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    video = open_video(write_video(tmp_path / "clip.mp4", numbers=range(FRAMES), options={"g": "12"}))
    read = count_packets(monkeypatch)
    for index in range(FRAMES - 1, -1, -1):
        assert number_of(video.frame(index)) == index
    # Frame by frame it would be more than 6 packets each; a decoder reads a few packets ahead in every group.
    assert len(read) <= 2 * FRAMES


def test_a_reader_holds_few_frames(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(container, "MAX_BACKWARD_FRAMES", 7)
    reader = open_video(write_video(tmp_path / "clip.mp4", numbers=range(FRAMES))).open_reader()
    for order, limit in ((range(FRAMES), reader.FORWARD_FRAMES), (range(FRAMES - 1, -1, -1), 7)):
        for index in order:
            reader.read(index)
            assert len(reader.cache) <= limit
    reader.close()


def test_times_are_the_files_own(tmp_path: Path) -> None:
    moments = [0.0, 0.04, 0.12, 0.5, 0.52, 1.0, 3.0]
    path = write_video(tmp_path / "clip.mp4", numbers=range(7), times=moments.__getitem__, options={"bf": "2"})
    video = open_video(path)
    assert np.allclose(video.times, moments, atol=1e-3)
    assert video.time(6) == pytest.approx(3.0, abs=1e-3)
    assert [number_of(frame) for frame in video] == list(range(7))


def test_rotation_metadata_are_applied(tmp_path: Path) -> None:
    path = write_video(tmp_path / "clip.mp4")
    upright = open_video(path).frame(7)
    turn_on_its_side(path)
    video = open_video(path)
    assert video.size == (SIZE[1], SIZE[0])
    assert (video.frame(7) == np.rot90(upright, -1)).all()


def test_a_title_may_be_in_any_encoding(tmp_path: Path) -> None:
    path = write_video(tmp_path / "clip.mp4", title="cafe")
    data = path.read_bytes()
    assert data.count(b"cafe") == 1
    path.write_bytes(data.replace(b"cafe", "caf\xe9".encode("latin-1")))
    assert number_of(open_video(path).frame(5)) == 5


@pytest.mark.parametrize(("height", "width"), [(47, 63), (1, 1), (33, 64)])
def test_odd_sizes_are_kept(height: int, width: int, tmp_path: Path) -> None:
    path = write_video(
        tmp_path / "clip.mp4", pixels="yuv444p", draw=lambda n: picture(n, 96, 128)[:height, :width].copy()
    )
    video = open_video(path)
    assert video.size == (height, width)
    assert video.frame(3).shape == (height, width, 3)


DEEP = [("libx265", "yuv420p10le", "mp4"), ("libx264", "yuv420p10le", "mp4"), ("prores_ks", "yuv422p10le", "mov")]


@pytest.mark.parametrize(("codec", "pixels", "suffix"), DEEP)
def test_ten_bits_become_eight(codec: str, pixels: str, suffix: str, tmp_path: Path) -> None:
    if codec not in av.codecs_available:
        pytest.skip(f"this FFmpeg has no {codec}")
    path = write_video(tmp_path / f"clip.{suffix}", codec, pixels, range(6))
    video = open_video(path)
    assert [number_of(frame) for frame in video] == list(range(6))
    assert np.abs(video.frame(2)[2, 60].astype(int) - (40, 80, 120)).max() < 8


@pytest.mark.parametrize("pixels", ["gray", "gray16le"])
def test_grey_video_has_three_equal_channels(pixels: str, tmp_path: Path) -> None:
    video = open_video(write_video(tmp_path / "clip.mkv", "ffv1", pixels, range(4)))
    frame = video.frame(3)
    assert (frame == frame[:, :, :1]).all()
    assert number_of(frame) == 3


@pytest.mark.parametrize(("codec", "pixels"), [("prores_ks", "yuva444p10le"), ("png", "rgba"), ("qtrle", "argb")])
def test_transparency_is_laid_over_black(codec: str, pixels: str, tmp_path: Path) -> None:
    def half_clear(number: int) -> np.ndarray:
        rgba = np.dstack([picture(number), np.full(SIZE, 255, np.uint8)])
        rgba[:, :32, 3] = 0
        return rgba

    frame = open_video(write_video(tmp_path / "clip.mov", codec, pixels, range(3), draw=half_clear)).frame(1)
    assert frame[:, :30].max() < 4
    assert np.abs(frame[2, 60].astype(int) - (40, 80, 120)).max() < 6


def test_one_frame_is_a_video(tmp_path: Path) -> None:
    video = open_video(write_video(tmp_path / "clip.mp4", numbers=[9]))
    assert len(video) == 1 and number_of(video.frame(0)) == 9 and list(video.times) == [0]


def test_full_range_colours_are_not_stretched(tmp_path: Path) -> None:
    path = write_video(tmp_path / "clip.mkv", "mjpeg", "yuvj444p", range(2), options={"qmin": "1", "qmax": "1"})
    assert np.abs(open_video(path).frame(1)[2, 60].astype(int) - (40, 80, 120)).max() < 8


def test_a_size_that_changes_is_scaled_to_the_first(tmp_path: Path) -> None:
    small = write_video(tmp_path / "small.h264", options={"bf": "0"}, numbers=range(4))
    large = write_video(
        tmp_path / "large.h264", options={"bf": "0"}, numbers=range(4, 8), draw=lambda n: picture(n, 96, 128)
    )
    joined = tmp_path / "joined.h264"
    joined.write_bytes(small.read_bytes() + large.read_bytes())
    video = open_video(joined)
    assert video.size == SIZE
    assert [number_of(frame) for frame in video] == list(range(8))
    assert {frame.shape for frame in video} == {(*SIZE, 3)}


def cut_by_edit_list(clip: Path, path: Path, frames: int) -> Path:
    """A copy of a clip in which the first frames are there for the decoder but not to be shown, as editors cut."""
    with av.open(str(clip)) as source, av.open(str(path), "w") as target:
        stream = source.streams.video[0]
        copy = target.add_stream_from_template(stream)
        for packet in source.demux(stream):
            if packet.size:
                packet.pts -= frames * 512
                packet.dts -= frames * 512
                packet.stream = copy
                target.mux(packet)
    return path


def test_frames_cut_away_by_an_editor_are_not_counted(tmp_path: Path) -> None:
    clip = write_video(tmp_path / "clip.mp4", numbers=range(FRAMES), options={"bf": "0", "g": "12"})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        video = open_video(cut_by_edit_list(clip, tmp_path / "cut.mp4", 3))
    assert len(video) == FRAMES - 3 and video.time(0) == 0
    assert [number_of(frame) for frame in video] == list(range(3, FRAMES))
    assert [number_of(video.frame(index)) for index in (15, 2, 0)] == [18, 5, 3]


def test_names_are_numbers(clip: Path) -> None:
    video = open_video(clip)
    assert video.names[:2] == ["00000", "00001"] and video.name(123456) == "123456"


def test_odd_file_names_are_only_names(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a b%03d [1]:ü.mp4")
    assert len(open_video(path)) == 12


def test_an_open_video_is_returned_as_it_is(clip: Path) -> None:
    video = open_video(clip)
    assert open_video(video) is video

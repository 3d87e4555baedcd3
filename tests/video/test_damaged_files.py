"""Files that are damaged, cut off, hostile or no videos: what can be read is read, else one clear sentence."""

from __future__ import annotations

import struct
import warnings
from pathlib import Path

import av
import numpy as np
import pytest

from tests.video.media import number_of, packets_of, picture, spoil, write_sound, write_video
from univs.errors import UserError
from univs.video import LostFrame, LostFrameError, LostFrameWarning, open_video

FRAMES = 20
INTRA_ONLY = {"mp4": ("libx264", {"g": "1"}), "mkv": ("libx264", {"g": "1"}), "webm": ("libvpx-vp9", {"g": "1"})}


@pytest.mark.parametrize("suffix", INTRA_ONLY)
def test_only_the_damaged_frames_are_lost(suffix: str, tmp_path: Path) -> None:
    codec, options = INTRA_ONLY[suffix]
    path = write_video(tmp_path / f"clip.{suffix}", codec, numbers=range(FRAMES), options=options)
    for packet in (8, 9):
        spoil(path, packet)
    video = open_video(path)
    with pytest.warns(LostFrameWarning, match="Frame [89] of .* cannot be decoded"):
        frames = list(video)
    assert len(frames) == FRAMES
    assert [frame.index for frame in frames if isinstance(frame, LostFrame)] == [8, 9]
    assert [number_of(frame) for frame in frames if isinstance(frame, np.ndarray)] == [*range(8), *range(10, FRAMES)]


def test_a_lost_frame_is_never_replaced_by_its_neighbour(tmp_path: Path) -> None:
    path = write_video(tmp_path / "clip.mp4", numbers=range(FRAMES), options={"g": "1"})
    spoil(path, 8)
    video = open_video(path)
    for _ in range(2):
        with pytest.raises(LostFrameError, match="Frame 8") as caught:
            video.frame(8)
        assert caught.value.index == 8
        assert [number_of(video.frame(index)) for index in (7, 9)] == [7, 9]


@pytest.mark.parametrize("order", [range(FRAMES), range(FRAMES - 1, -1, -1)])
def test_damage_between_key_frames_is_found_in_either_direction(order: range, tmp_path: Path) -> None:
    path = write_video(
        tmp_path / "clip.mp4", numbers=range(FRAMES), options={"g": "10", "sc_threshold": "0", "bf": "0"}
    )
    spoil(path, 5)
    video = open_video(path)
    with pytest.warns(LostFrameWarning):
        frames = dict(video.iterate(order))
    lost = [index for index in range(FRAMES) if isinstance(frames[index], LostFrame)]
    # A decoder may give up on the frames that build on the damaged one, but on none beyond the next key frame.
    assert lost[0] == 5 and lost[-1] < 10
    assert [number_of(frames[index]) for index in (*range(5), *range(10, FRAMES))] == [*range(5), *range(10, FRAMES)]


def test_the_first_frame_may_be_lost(tmp_path: Path) -> None:
    path = write_video(tmp_path / "clip.mp4", numbers=range(FRAMES), options={"g": "1"})
    spoil(path, 0)
    video = open_video(path)
    assert len(video) == FRAMES and number_of(video.frame(1)) == 1
    with pytest.raises(LostFrameError):
        video.frame(0)


def test_many_lost_frames_do_not_flood_the_terminal(tmp_path: Path) -> None:
    path = write_video(tmp_path / "clip.mp4", numbers=range(FRAMES), options={"g": "1"})
    for packet in range(5, 15):
        spoil(path, packet)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        lost = [frame for frame in open_video(path) if isinstance(frame, LostFrame)]
    assert len(lost) == 10 and len(caught) == 5
    assert "not announced" in str(caught[-1].message)


def test_a_file_that_ends_early_gives_what_is_there(tmp_path: Path) -> None:
    path = write_video(
        tmp_path / "clip.mp4", numbers=range(FRAMES), options={"bf": "0"}, muxer={"movflags": "+faststart"}
    )
    position, _ = packets_of(path)[12]
    path.write_bytes(path.read_bytes()[:position])
    with pytest.warns(LostFrameWarning, match="cut off: only 12 of its 20 frames"):
        video = open_video(path)
    assert [number_of(frame) for frame in video] == list(range(12))


def cut_before_the_table(path: Path) -> Path:
    write_video(path, numbers=range(FRAMES))
    path.write_bytes(path.read_bytes()[:1500])
    return path


def with_bytes(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def spoilt_throughout(path: Path) -> Path:
    write_video(path, numbers=range(FRAMES))
    for packet in range(FRAMES):
        spoil(path, packet)
    return path


def sound_with_cover(path: Path) -> Path:
    cover = av.VideoFrame.from_ndarray(picture(1), format="rgb24").reformat(format="yuvj420p")
    with av.open(str(path), "w") as container:
        image = container.add_stream("mjpeg", rate=25)
        image.height, image.width, image.pix_fmt = *picture(1).shape[:2], "yuvj420p"
        image.disposition = av.stream.Disposition.attached_pic
        sound = container.add_stream("aac", rate=8000, layout="mono")
        container.mux(image.encode(cover))
        container.mux(image.encode())
        samples = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        samples.sample_rate = 8000
        container.mux(sound.encode(samples))
        container.mux(sound.encode())
    return path


def absurdly_large_gif(path: Path) -> Path:
    write_video(path, "gif", "rgb8", range(3))
    data = bytearray(path.read_bytes())
    data[6:10] = struct.pack("<HH", 65000, 65000)
    return with_bytes(path, data)


def absurdly_wide_video(path: Path) -> Path:
    return write_video(path, "ffv1", "bgr0", range(2), draw=lambda number: np.zeros((2, 16400, 3), np.uint8))


def video_without_frames(path: Path) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv420p"
        container.start_encoding()
    return path


REFUSED = {
    "missing": ("clip.mp4", lambda path: path, "There is no video .*clip.mp4"),
    "empty": ("clip.mp4", lambda path: with_bytes(path, b""), "is empty"),
    "noise": ("clip.mp4", lambda path: with_bytes(path, bytes(range(256)) * 40), "cannot be read as a video"),
    "cut off": ("clip.mp4", cut_before_the_table, "cut off"),
    "sound only": ("sound.m4a", write_sound, "has no video in it"),
    "sound and cover": ("sound.mp4", sound_with_cover, "has no video in it"),
    "no frames": ("clip.avi", video_without_frames, "holds no frames"),
    "spoilt": ("clip.mp4", spoilt_throughout, "none of its first frames"),
    "large picture": ("clip.gif", absurdly_large_gif, "pixels"),
    "wide video": ("clip.mkv", absurdly_wide_video, "16400x2 pixels"),
    "playlist": (
        "clip.mp4",
        lambda path: with_bytes(path, b"#EXTM3U\n#EXTINF:5,\nhttp://host/a.ts\n"),
        "is a text file",
    ),
    "list of files": (
        "clip.mp4",
        lambda path: with_bytes(path, b"ffconcat version 1.0\nfile a.mp4\n"),
        "is a text file",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_one_sentence_says_what_is_wrong(case: str, tmp_path: Path) -> None:
    name, make, message = REFUSED[case]
    with pytest.raises(UserError, match=message) as caught:
        open_video(make(tmp_path / name))
    assert "\n" not in str(caught.value)


def test_no_container_opens_other_files(tmp_path: Path) -> None:
    """A playlist behind some bytes that are not text gets past the first look, not past the list of containers."""
    write_video(tmp_path / "a.mp4")
    path = with_bytes(tmp_path / "clip.mp4", b"ffconcat version 1.0\nfile a.mp4\n#\xff\xfe\n")
    with av.open(str(path)) as container:
        assert container.format.name == "concat"
    with pytest.raises(UserError, match="cannot be read as a video"):
        open_video(path)


@pytest.mark.parametrize("index", [-1, 20, 1000])
def test_frames_outside_the_video_are_refused(index: int, tmp_path: Path) -> None:
    video = open_video(write_video(tmp_path / "clip.mp4", numbers=range(FRAMES)))
    with pytest.raises(UserError, match=f"There is no frame {index}: .* has 20 frames, 0 to 19"):
        video.frame(index)
    with pytest.raises(UserError, match="There is no frame"):
        list(video.iterate([index]))


@pytest.mark.parametrize("source", [3.5, None, object()])
def test_what_is_no_video_at_all_is_refused(source: object) -> None:
    with pytest.raises(UserError, match="is not a video"):
        open_video(source)

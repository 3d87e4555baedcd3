"""Videos that are written: playable, whole, at their times."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from tests.video.media import SIZE, number_of, picture
from univs.errors import UserError
from univs.video import VideoWriter, open_video, writer

H264_ONLY = pytest.mark.skipif(not writer.can_encode("libx264"), reason="this PyAV has no H.264 encoder")


def write(path: Path, count: int = 8, **options: object) -> Path:
    with VideoWriter(path, **options) as video:
        for number in range(count):
            video.write(picture(number))
    return video.path


@H264_ONLY
def test_a_browser_can_play_it(tmp_path: Path) -> None:
    path = write(tmp_path / "overlay", rate=30000 / 1001)
    assert path == tmp_path / "overlay.mp4"
    data = path.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat"), "the table of contents must come first, so that playing can start"
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert float(stream.average_rate) == pytest.approx(30000 / 1001)
        assert not stream.codec_context.has_b_frames


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    video = open_video(write(tmp_path / "clip"))
    assert [number_of(frame) for frame in video] == list(range(8))
    assert np.abs(video.frame(5)[2, 60].astype(int) - (40, 80, 120)).max() < 6, "colours must survive"


def test_varying_times_are_kept_to_the_end(tmp_path: Path) -> None:
    moments = [0.0, 0.04, 0.1, 0.5, 0.51, 1.0]
    with VideoWriter(tmp_path / "clip", rate=25) as video:
        for number, seconds in enumerate(moments):
            video.write(picture(number), seconds)
    assert np.allclose(open_video(video.path).times, moments, atol=1e-3)
    with av.open(str(video.path)) as container:
        assert container.duration / av.time_base >= 1.0, "the last frame must be shown"


def test_times_that_stand_still_go_on(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "clip") as video:
        for number in range(4):
            video.write(picture(number), 0.0)
    assert [number_of(frame) for frame in open_video(video.path)] == list(range(4))


@pytest.mark.parametrize(("height", "width", "even"), [(47, 63, (48, 64)), (1, 1, (2, 2)), (48, 63, (48, 64))])
def test_odd_sides_are_padded_by_their_last_pixels(
    height: int, width: int, even: tuple[int, int], tmp_path: Path
) -> None:
    frame = picture(3)[:height, :width]
    padded = writer.fit(frame)
    assert padded.shape == (*even, 3)
    assert (padded[:height, :width] == frame).all()
    assert (padded[-1] == padded[height - 1]).all() and (padded[:, -1] == padded[:, width - 1]).all()
    with VideoWriter(tmp_path / "clip") as video:
        video.write(frame)
    assert open_video(video.path).size == even


def test_frames_too_large_for_browsers_are_scaled_down() -> None:
    assert writer.fit(np.zeros((3000, 6000, 3), np.uint8)).shape == (2048, 4096, 3)
    assert writer.fit(np.zeros((9000, 3, 3), np.uint8)).shape == (4096, 2, 3)


ALPHA = {"prores": writer.PRORES_ALPHA, "vp9": writer.VP9_ALPHA, "apng": writer.ANIMATED_PNG}


@pytest.mark.parametrize("kind", ALPHA)
def test_transparency_is_written(kind: str, tmp_path: Path) -> None:
    if not writer.can_encode(ALPHA[kind].codec):
        pytest.skip(f"this PyAV has no {ALPHA[kind].codec}")
    with VideoWriter(tmp_path / "cutout", video_format=ALPHA[kind]) as video:
        for number in range(4):
            rgba = np.dstack([picture(number), np.full(SIZE, 255, np.uint8)])
            rgba[:, :32, 3] = 0
            video.write(rgba)
    frame = read_with_alpha(video.path)
    assert frame[:, :28, 3].max() < 8 and frame[:, 36:, 3].min() > 247
    assert np.abs(frame[2, 60, :3].astype(int) - (40, 80, 120)).max() < 8


def read_with_alpha(path: Path) -> np.ndarray:
    with av.open(str(path)) as container:
        decoder = av.CodecContext.create("libvpx-vp9", "r") if path.suffix == ".webm" else None
        for packet in container.demux(video=0):
            for frame in decoder.decode(packet) if decoder else packet.decode():
                return frame.to_ndarray(format="rgba")
    raise AssertionError("no frame")


def test_nothing_half_written_is_seen(tmp_path: Path) -> None:
    video = VideoWriter(tmp_path / "clip")
    for number in range(5):
        video.write(picture(number))
        assert not video.path.exists()
    assert video.close() == video.path
    assert [path.name for path in tmp_path.iterdir()] == [video.path.name]
    assert video.close() is None


def test_an_error_keeps_what_was_finished(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), VideoWriter(tmp_path / "clip") as video:
        for number in range(10):
            if number == 6:
                raise KeyboardInterrupt
            video.write(picture(number))
    assert len(open_video(video.path)) == 6


def test_abort_leaves_nothing_and_the_old_file_alone(tmp_path: Path) -> None:
    old = write(tmp_path / "clip", count=3)
    video = VideoWriter(tmp_path / "clip")
    video.write(picture(0))
    video.abort()
    assert [path.name for path in tmp_path.iterdir()] == [old.name]
    assert len(open_video(old)) == 3


def test_no_frames_no_file(tmp_path: Path) -> None:
    assert VideoWriter(tmp_path / "clip").close() is None
    assert not list(tmp_path.iterdir())


def test_a_frame_of_another_size_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="size|frame of"), VideoWriter(tmp_path / "clip") as video:
        video.write(picture(0))
        video.write(picture(0, 20, 20))


def test_a_folder_that_is_not_there_is_the_users_to_mend(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be written"):
        write(tmp_path / "missing" / "clip")

"""Arrays, iterators, cameras, and reading ahead in a thread."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import numpy as np
import pytest

from tests.video.media import SIZE, number_of, picture
from univs.errors import UserError
from univs.video import open_video, opencv
from univs.video.arrays import REMEMBERED_FRAMES
from univs.video.prefetch import in_background


def test_arrays_are_frames() -> None:
    frames = [picture(number) for number in range(5)]
    for source in (frames, tuple(frames), np.stack(frames)):
        video = open_video(source, rate=5)
        assert (len(video), video.size, video.rate, video.time(2)) == (5, SIZE, 5, 0.4)
        assert [number_of(frame) for frame in video] == list(range(5))
        assert number_of(video.frame(3)) == 3


def test_one_array_is_one_frame() -> None:
    assert len(open_video(picture(2))) == 1


def test_grey_and_transparent_arrays() -> None:
    grey = open_video([np.full(SIZE, 7, np.uint8)]).frame(0)
    assert grey.shape == (*SIZE, 3) and (grey == 7).all()
    rgba = np.full((*SIZE, 4), 100, np.uint8)
    rgba[..., 3] = 0
    assert open_video([rgba]).frame(0).max() == 0


WRONG = {
    "no frames": ([], "empty"),
    "floats": ([np.zeros((4, 4, 3))], "float64; give uint8"),
    "shape": ([np.zeros((4, 4, 2), np.uint8)], r"shape \[4, 4, 2\]"),
    "empty frame": ([np.zeros((0, 4, 3), np.uint8)], "4x0 pixels"),
    "ended iterator": (iter([]), "ended before its first frame"),
    "iterator of floats": (iter([np.zeros((4, 4, 3))]), "give uint8"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_arrays_are_refused(case: str) -> None:
    source, message = WRONG[case]
    with pytest.raises(UserError, match=message):
        open_video(source)


@pytest.mark.parametrize("kind", [list, iter])
def test_two_sizes_are_refused(kind: type) -> None:
    video = open_video(kind([picture(0), picture(1), picture(2, 40, 64)]))
    with pytest.raises(UserError, match="Frame 2 has 64x40 pixels and those before it 64x48"):
        list(video)


def test_an_iterator_is_read_once_and_only_as_far_as_asked() -> None:
    taken = []

    def frames() -> Iterator[np.ndarray]:
        for number in range(30):
            taken.append(number)
            yield picture(number)

    video = open_video(frames())
    assert (video.length, video.times, video.names, video.size) == (None, None, None, SIZE)
    with pytest.raises(TypeError):
        len(video)
    assert video
    for index, frame in video.iterate():
        assert number_of(frame) == index and taken == list(range(index + 1))
        if index == 11:
            break
    assert number_of(video.frame(14)) == 14
    assert number_of(video.frame(14 - REMEMBERED_FRAMES + 1)) == 14 - REMEMBERED_FRAMES + 1
    assert len(taken) == 15
    with pytest.raises(UserError, match="Frame 2 of The stream has passed"):
        video.frame(2)
    with pytest.raises(UserError, match="ended before"):
        video.frame(40)


class FakeCamera:
    """Gives three frames in OpenCV's colour order, then no more, as a camera that is unplugged."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.given = 0
        self.released = False

    def isOpened(self) -> bool:  # noqa: N802 (OpenCV's name)
        return self.number == 0

    def get(self, _: int) -> float:
        return 0.0

    def read(self) -> tuple[bool, np.ndarray | None]:
        self.given += 1
        return (True, picture(self.given - 1)[:, :, ::-1].copy()) if self.given <= 3 else (False, None)

    def release(self) -> None:
        self.released = True


@pytest.mark.parametrize("source", [0, "camera:0"])
def test_a_camera_is_a_stream(source: int | str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opencv.cv2, "VideoCapture", FakeCamera)
    video = open_video(source)
    frames = list(video)
    assert [number_of(frame) for frame in frames] == [0, 1, 2]
    assert (frames[1] == picture(1)).all()
    assert video.rate == 25 and video.time(0) == 0 and video.time(2) >= video.time(1) >= 0
    video.close()
    assert video._capture.released


def test_a_camera_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opencv.cv2, "VideoCapture", FakeCamera)
    with pytest.raises(UserError, match="Camera 3 cannot be opened"):
        open_video("camera:3")


# --- reading ahead ------------------------------------------------------------------------------------------------


def test_the_background_thread_stays_within_its_bound() -> None:
    made, started = [], threading.Semaphore(0)

    def items() -> Iterator[int]:
        for number in range(100):
            made.append(number)
            started.release()
            yield number

    ahead = in_background(items(), depth=3)
    assert next(ahead) == 0
    for _ in range(4):
        started.acquire()
    ahead.close()
    assert made == list(range(4))


def test_order_and_end_are_kept() -> None:
    assert list(in_background((number for number in range(50)), depth=2)) == list(range(50))


def test_an_error_arrives_where_the_item_was_asked_for() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise UserError("the second item is broken")

    ahead = in_background(items(), depth=4)
    assert next(ahead) == 1
    with pytest.raises(UserError, match="second item"):
        next(ahead)


def test_leaving_early_ends_the_thread_and_closes_the_generator() -> None:
    closed = threading.Event()

    def items() -> Iterator[int]:
        try:
            yield from range(100)
        finally:
            closed.set()

    for item in in_background(items(), depth=2):
        if item == 5:
            break
    assert closed.is_set()
    assert not [thread for thread in threading.enumerate() if thread.name == "univs-prefetch"]

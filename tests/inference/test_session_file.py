from __future__ import annotations

import io
import json
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest

from univs.errors import SessionWarning, UserError
from univs.inference.predictor import VideoPredictor
from univs.inference.session import VideoSession
from univs.video.palette import write_palette_mask
from univs.video.results import ResultOptions

from .fake import ColourSegmenter, centre, masks_of, squares

FRAMES = squares(12)


@pytest.fixture
def video(tmp_path: Path) -> Path:
    from PIL import Image

    folder = tmp_path / "video"
    folder.mkdir()
    for index, frame in enumerate(FRAMES):
        Image.fromarray(frame).save(folder / f"{index:03d}.png")
    return folder


@pytest.fixture
def predictor() -> VideoPredictor:
    return VideoPredictor(ColourSegmenter())


def busy_session(predictor: VideoPredictor, video: Path) -> VideoSession:
    """A session with every kind of thing that a file has to hold."""
    session = predictor.open(video)
    session.add_click(1, 0, [centre(0, 0), (70, 40)], [1, 0])
    session.discover(["green"], every=4)
    list(session.propagate(end=8))
    session.add_box(1, 7, (5, 0, 60, 20))
    session.add_scribble(1, 7, [[(20, 8), (24, 9)]])
    session.add_mask(4, 2, np.eye(48, 80, dtype=bool))
    session.add_text(5, "blue")
    session.rename(1, "büs")
    with pytest.warns(SessionWarning, match="blue"):
        list(session.propagate(start=0, end=3))
    return session


def test_a_loaded_session_shows_and_goes_on_as_before(predictor: VideoPredictor, video: Path, tmp_path: Path) -> None:
    session = busy_session(predictor, video)
    session.save(tmp_path / "a.univs")
    again = predictor.load(tmp_path / "a.univs")
    assert again.timeline == session.timeline
    assert list(again.finished) == list(session.finished)
    shown = [masks_of([each.frame(t) for t in range(12)]) for each in (session, again)]
    assert shown[0] == shown[1]
    with pytest.warns(SessionWarning, match="blue"):
        finished = [masks_of(list(each.propagate(direction="both"))) for each in (session, again)]
    assert finished[0] == finished[1]


def test_a_replay_gives_the_same_bits(predictor: VideoPredictor, video: Path, tmp_path: Path) -> None:
    session = busy_session(predictor, video)
    with pytest.warns(SessionWarning):
        expected = masks_of(list(session.propagate(direction="both")))
    session.save(tmp_path / "a.univs")
    again = VideoSession.load(tmp_path / "a.univs", VideoPredictor(ColourSegmenter()))
    again.forget_masks()
    with pytest.warns(SessionWarning):
        assert masks_of(list(again.propagate(direction="both"))) == expected


def test_saving_twice_writes_the_same_session(predictor: VideoPredictor, video: Path, tmp_path: Path) -> None:
    busy_session(predictor, video).save(tmp_path / "a.univs")
    predictor.load(tmp_path / "a.univs").save(tmp_path / "b.univs")
    members = [zipfile.ZipFile(tmp_path / name).read("session.json") for name in ("a.univs", "b.univs")]
    assert members[0] == members[1]


def test_a_session_moves_with_its_video(predictor: VideoPredictor, video: Path, tmp_path: Path) -> None:
    session = predictor.open(video)
    session.add_click(1, 0, [centre(0, 0)])
    session.save(tmp_path / "a.univs")
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    (tmp_path / "a.univs").rename(moved / "a.univs")
    video.rename(moved / "video")
    assert predictor.load(moved / "a.univs").length == 12 if (moved / "video").exists() else False
    (moved / "video").rename(tmp_path / "hidden")
    with pytest.raises(UserError, match="missing"):
        predictor.load(moved / "a.univs")
    assert list(predictor.load(moved / "a.univs", tmp_path / "hidden").objects) == [1]


def test_frames_in_memory_are_given_again(predictor: VideoPredictor, tmp_path: Path) -> None:
    session = predictor.open(FRAMES)
    session.add_click(1, 0, [centre(0, 0)])
    session.save(tmp_path / "a.univs")
    with pytest.raises(UserError, match="frames in memory"):
        predictor.load(tmp_path / "a.univs")
    assert list(predictor.load(tmp_path / "a.univs", FRAMES).objects) == [1]


def test_another_video_is_refused(predictor: VideoPredictor, video: Path, tmp_path: Path) -> None:
    session = predictor.open(video)
    session.save(tmp_path / "a.univs")
    with pytest.raises(UserError, match="not the video.*length 11 instead of 12"):
        predictor.load(tmp_path / "a.univs", FRAMES[:11])
    (video / "003.png").write_bytes((video / "004.png").read_bytes() + b"x")
    with pytest.raises(UserError, match="not the video.*fingerprint"):
        predictor.load(tmp_path / "a.univs")


def test_another_model_is_announced(predictor: VideoPredictor, video: Path, tmp_path: Path) -> None:
    predictor.open(video).save(tmp_path / "a.univs")
    other = ColourSegmenter()
    other.name = "colours@2"
    with pytest.warns(SessionWarning, match="colours@1.*colours@2"):
        VideoPredictor(other).load(tmp_path / "a.univs")


def test_a_stream_cannot_be_saved(predictor: VideoPredictor, tmp_path: Path) -> None:
    session = predictor.open_stream((48, 80))
    with pytest.raises(UserError, match="stream"):
        session.save(tmp_path / "a.univs")


def rewritten(path: Path, name: str, change: object) -> None:
    """The same zip with one member changed."""
    with zipfile.ZipFile(path) as archive:
        members = {info: archive.read(info.filename) for info in archive.infolist()}
    with zipfile.ZipFile(path, "w") as archive:
        for info, data in members.items():
            archive.writestr(info, change(data) if info.filename == name else data)


def edited(**changes: object) -> object:
    return lambda data: json.dumps({**json.loads(data), **changes}).encode()


def saved_array(array: np.ndarray, **options: bool) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, **options)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("session.json", lambda data: b"{", "damaged"),
        ("session.json", lambda data: b"[]", "damaged"),
        ("session.json", edited(format="other"), "another format"),
        ("session.json", edited(version=99), "newer version"),
        ("session.json", edited(timeline={"objects": [{"id": 1}]}), "damaged"),
        ("session.json", edited(tables=[]), "damaged"),
        ("index.npy", lambda data: saved_array(np.zeros(3)), "index"),
        ("index.npy", lambda data: pickle.dumps({}), "damaged"),
        ("index.npy", lambda data: saved_array(np.array([{}]), allow_pickle=True), "damaged"),
        ("masks.bin", lambda data: data[:10], "outside"),
    ],
)
def test_damaged_files_are_refused(
    predictor: VideoPredictor, video: Path, tmp_path: Path, name: str, change: object, message: str
) -> None:
    path = tmp_path / "a.univs"
    session = predictor.open(video)
    session.add_click(1, 0, [centre(0, 0)])
    list(session.propagate())
    session.save(path)
    rewritten(path, name, change)
    with pytest.raises(UserError, match=message):
        predictor.load(path)


def test_foreign_and_missing_files_are_refused(predictor: VideoPredictor, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no session file.*check the path"):
        predictor.load(tmp_path / "none.univs")
    (tmp_path / "text").write_text("hello")
    with pytest.raises(UserError, match="damaged"):
        predictor.load(tmp_path / "text")
    with zipfile.ZipFile(tmp_path / "zip", "w") as archive:
        archive.writestr("../evil", "x")
    with pytest.raises(UserError, match="does not hold"):
        predictor.load(tmp_path / "zip")


def test_masks_packed_tightly_are_refused_unread(predictor: VideoPredictor, video: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.univs"
    predictor.open(video).save(path)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, bytes(10_000_000) if name == "masks.bin" else data)
    with pytest.raises(UserError, match="packed"):
        predictor.load(path)


def test_results_are_saved_as_files(predictor: VideoPredictor, video: Path, tmp_path: Path) -> None:
    from PIL import Image

    session = predictor.open(video)
    session.add_click(1, 0, [centre(0, 0)])
    session.add_text(2, "green", frame=0)
    with pytest.raises(UserError, match="propagate first"):
        session.result().save(tmp_path / "out")
    results = {result.index: result for result in session.propagate(end=9)}
    written = session.result().save(tmp_path / "out", ResultOptions(tracks=True))
    assert sorted(path.name for path in (tmp_path / "out" / "masks").iterdir()) == [f"{i:03d}.png" for i in range(10)]
    ids = np.array(Image.open(tmp_path / "out" / "masks" / "004.png"))
    assert (ids == results[4].palette(48, 80)).all()
    report = json.loads(written["results"].read_text())
    assert [item["id"] for item in report["objects"]] == [1, 2]
    assert report["objects"][1]["prompts"] == [{"frame": 0, "kind": "text", "text": "green"}]
    assert report["settings"]["model"] == "colours@1"
    assert set(written) >= {"results", "masks", "overlay", "tracks"}


def test_an_id_map_gives_several_objects(predictor: VideoPredictor, video: Path, tmp_path: Path) -> None:
    session = predictor.open(video)
    ids = np.zeros((48, 80), np.uint8)
    ids[2:16, 4:18], ids[20:30, 30:40] = 3, 7
    write_palette_mask(tmp_path / "ids.png", ids)
    assert session.add_id_map(0, ids) == [3, 7]
    assert (session.frame(0).masks[7] == (ids == 7)).all()

"""The other outputs of a result folder, and what may go wrong while it is written."""

from __future__ import annotations

import json
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from tests.video.media import SIZE, picture
from tests.video.runs import FRAMES, result_of, run
from univs.errors import UserError
from univs.structures import (
    FrameResult,
    ObjectResult,
)
from univs.video import (
    OverlayStyle,
    ResultOptions,
    ResultWriter,
    VideoSource,
    open_video,
)
from univs.video.files import safe_name

# --- other outputs ------------------------------------------------------------------------------------------------


def test_tracks_have_one_entry_per_frame(uneven_clip: Path, tmp_path: Path) -> None:
    written = run(tmp_path, open_video(uneven_clip), ResultOptions(tracks=True))
    tracks = json.loads(written["tracks"].read_text())
    assert tracks["videos"][0]["length"] == FRAMES and tracks["videos"][0]["file_names"][1] == "00001"
    names = {item["id"]: item["name"] for item in tracks["categories"]}
    assert [names[item["category_id"]] for item in tracks["annotations"]] == ["dog", "object"]
    hidden = tracks["annotations"][1]
    assert hidden["segmentations"][3] is None and hidden["areas"][3] is None and hidden["bboxes"][3] is None
    for index in (0, 2, 7):
        assert (coco_mask.decode(hidden["segmentations"][index]) == result_of(index).masks[2]).all()
    assert hidden["score"] == pytest.approx(1 - 3.5 / 100)


@pytest.mark.parametrize("kind", ["png", "video"])
def test_mattes_show_one_object_in_all_frames(kind: str, uneven_clip: Path, tmp_path: Path) -> None:
    written = run(tmp_path, open_video(uneven_clip), ResultOptions(mattes=kind))
    matte = open_video(written["mattes"] / ("00002" if kind == "png" else "00002.mp4"))
    assert len(matte) == FRAMES and matte.size == SIZE
    for index, frame in matte.iterate():
        mask = result_of(index).masks[2]
        assert np.abs(frame.astype(int) - 255 * mask[:, :, None]).mean() < 2


@pytest.mark.parametrize(("kind", "name"), [("png", "cutout"), ("apng", "cutout.png"), ("prores", "cutout.mov")])
def test_cutouts_are_clear_round_the_objects(kind: str, name: str, uneven_clip: Path, tmp_path: Path) -> None:
    video = open_video(uneven_clip)
    written = run(tmp_path, video, ResultOptions(cutout=kind, cutout_ids=(1,)))
    assert written["cutout"] == tmp_path / name
    cut = open_video(written["cutout"])
    assert len(cut) == FRAMES
    mask = result_of(4).masks[1]
    frame, original = cut.frame(4).astype(int), video.frame(4).astype(int)
    assert np.abs(frame - original)[mask].mean() < 6
    assert frame[~mask].mean() < 3


def test_only_results_json_when_nothing_else_is_wanted(uneven_clip: Path, tmp_path: Path) -> None:
    run(tmp_path, open_video(uneven_clip), ResultOptions(masks=False, overlay=False))
    assert [path.name for path in tmp_path.iterdir()] == ["results.json"]


def test_the_style_of_the_overlay_can_be_chosen(uneven_clip: Path, tmp_path: Path) -> None:
    run(tmp_path / "a", open_video(uneven_clip))
    run(tmp_path / "b", open_video(uneven_clip), ResultOptions(style=OverlayStyle(opacity=0.9, labels=False)))
    one, other = (open_video(tmp_path / name / "overlay.mp4").frame(1).astype(int) for name in "ab")
    assert np.abs(one - other).max() > 50


@pytest.mark.parametrize("wrong", [{"mattes": "gif"}, {"cutout": "mp4"}])
def test_unknown_kinds_are_refused(wrong: dict[str, str]) -> None:
    with pytest.raises(UserError, match="choose one of"):
        ResultOptions(**wrong)


# --- troubles -----------------------------------------------------------------------------------------------------


def test_masks_of_another_size_are_a_programmers_error(uneven_clip: Path, tmp_path: Path) -> None:
    video = open_video(uneven_clip)
    writer = ResultWriter(tmp_path, video)
    with pytest.raises(ValueError, match="the video's size"):
        writer.write(video.frame(0), FrameResult(0, [ObjectResult(1, np.zeros((4, 4), bool), 1.0)]))
    writer.close()
    with pytest.raises(ValueError, match="closed"):
        writer.write(video.frame(0), result_of(0))
    assert writer.close() == {}


class Hostile(VideoSource):
    """A source whose frame names try to leave the folder."""

    def __init__(self, names: list[str]) -> None:
        super().__init__("hostile", SIZE, 25, len(names))
        self._names = names

    def open_reader(self) -> None:
        raise AssertionError("not needed")

    def name(self, index: int) -> str:
        return self._names[index]


def test_names_never_leave_the_folder(tmp_path: Path) -> None:
    video = Hostile(["../../up", "/etc/passwd", "..", "a\\..\\b", "nul\0byte", "x" * 300])
    with ResultWriter(tmp_path / "out", video, ResultOptions(overlay=False, cutout="png", mattes="png")) as writer:
        for index in range(6):
            writer.write(picture(index), result_of(index))
        writer.close()
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert len(list((tmp_path / "out" / "masks").iterdir())) == 6


@pytest.mark.parametrize(
    ("name", "safe"),
    [("00001", "00001"), ("../a", "_a"), ("..", "_"), ("", "_"), ("a/b\\c:d", "a_b_c_d"), ("ü é", "ü é")],
)
def test_safe_names(name: str, safe: str) -> None:
    assert safe_name(name) == safe


def test_a_link_out_of_the_folder_is_refused(uneven_clip: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "masks").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UserError, match="leads out of the output folder"):
        run(tmp_path / "out", open_video(uneven_clip))
    assert not list((tmp_path / "elsewhere").iterdir())


def test_clearing_does_not_follow_links(uneven_clip: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "mine.png").write_bytes(b"mine")
    run(tmp_path / "out", open_video(uneven_clip), ResultOptions(masks=False))
    (tmp_path / "out" / "masks").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UserError, match="leads out"):
        run(tmp_path / "out", open_video(uneven_clip))
    assert (tmp_path / "elsewhere" / "mine.png").read_bytes() == b"mine"


def test_a_file_in_the_way_is_one_sentence(uneven_clip: Path, tmp_path: Path) -> None:
    (tmp_path / "out").write_bytes(b"")
    with pytest.raises(UserError, match="out cannot be written: .*; choose another output folder"):
        ResultWriter(tmp_path / "out", open_video(uneven_clip))


def test_a_full_disk_is_one_sentence(uneven_clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    with pytest.raises(UserError, match="the disk is full"):
        run(tmp_path, open_video(uneven_clip))
    assert not list((tmp_path / "masks").iterdir())
    assert json.loads((tmp_path / "results.json").read_text())["complete"] is False


def test_a_disk_that_is_full_in_the_end_leaves_no_half_files(
    uneven_clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    video = open_video(uneven_clip)
    writer = ResultWriter(tmp_path, video)
    for index in range(FRAMES):
        writer.write(video.frame(index), result_of(index))
    monkeypatch.setattr("univs.video.files.os.replace", full)
    with pytest.raises(UserError, match="results.json cannot be written: the disk is full"):
        writer.close()
    assert [path.name for path in tmp_path.iterdir()] == ["masks"]
    assert len(list((tmp_path / "masks").iterdir())) == FRAMES


def test_writing_needs_no_more_than_one_open_video(
    uneven_clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """64 objects must not mean 64 encoders at once."""
    live, most = [], []
    opened = av.open

    def counting(*args: object, **options: object) -> object:
        container = opened(*args, **options)
        if "w" in args:
            close = container.close
            live.append(container)
            most.append(len(live))
            return _Counted(container, lambda: (live.remove(container), close()))
        return container

    monkeypatch.setattr(av, "open", counting)
    with ResultWriter(tmp_path, open_video(uneven_clip), ResultOptions(overlay=False, mattes="video")) as writer:
        for index in range(3):
            writer.write(picture(index), result_of(index, ids=(1, 2, 3, 4, 5)))
        writer.close()
    assert len(list((tmp_path / "mattes").iterdir())) == 5
    assert max(most) == 1


class _Counted:
    def __init__(self, container: object, close: object) -> None:
        self._container = container
        self.close = close

    def __getattr__(self, name: str) -> object:
        return getattr(self._container, name)

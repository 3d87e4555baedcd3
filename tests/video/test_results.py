"""The result folder: what is in it, at every moment of a run."""

from __future__ import annotations

import json
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from tests.video.media import SIZE, number_of, picture, write_video
from univs.errors import UserError
from univs.structures import (
    BoxPrompt,
    CategoryPrompt,
    FrameResult,
    MaskPrompt,
    ObjectResult,
    PointPrompt,
    ScribblePrompt,
    TextPrompt,
)
from univs.video import (
    LostFrame,
    ObjectMetadata,
    OverlayStyle,
    ResultOptions,
    ResultWriter,
    VideoSource,
    open_video,
    read_palette_mask,
)
from univs.video.files import safe_name

FRAMES = 8


def result_of(index: int, ids: tuple[int, ...] = (1, 2)) -> FrameResult:
    """Object n is a block in row n that moves with the frames; object 2 is hidden in frame 3."""
    items = []
    for object_id in ids:
        mask = np.zeros(SIZE, bool)
        if (object_id, index) != (2, 3):
            mask[4 * object_id : 4 * object_id + 6, 2 * index : 2 * index + 10] = True
        for other in items:
            mask &= ~other.mask
        items.append(ObjectResult(object_id, mask, 1 - index / 100, category="dog" if object_id == 1 else None))
    return FrameResult(index, items)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    moments = [0.0, 0.04, 0.08, 0.5, 0.54, 0.58, 0.62, 1.5]
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    return write_video(path, numbers=range(FRAMES), times=moments.__getitem__, options={"bf": "0"})


CLICK = (1, PointPrompt(((9.5, 9.5),), (1,)))


def run(
    folder: Path, video: VideoSource, options: ResultOptions | None = None, order: Iterable[int] = range(FRAMES)
) -> dict[str, Path]:
    with ResultWriter(folder, video, options or ResultOptions(), {"task": "vos"}) as writer:
        for index in order:
            writer.write(video.frame(index), result_of(index), [CLICK] if index == 0 else ())
        return writer.close()


def test_the_names_are_a_contract(clip: Path, tmp_path: Path) -> None:
    written = run(tmp_path / "new" / "out", open_video(clip))
    folder = tmp_path / "new" / "out"
    assert sorted(path.name for path in folder.iterdir()) == ["masks", "overlay.mp4", "results.json"]
    assert sorted(path.name for path in (folder / "masks").iterdir()) == [f"{index:05d}.png" for index in range(FRAMES)]
    assert written == {
        "results": folder / "results.json",
        "masks": folder / "masks",
        "overlay": folder / "overlay.mp4",
    }


def test_masks_hold_ids_at_the_videos_own_size(clip: Path, tmp_path: Path) -> None:
    run(tmp_path, open_video(clip))
    for index in range(FRAMES):
        assert (read_palette_mask(tmp_path / "masks" / f"{index:05d}.png") == result_of(index).palette(*SIZE)).all()


def test_masks_are_called_like_the_frames(tmp_path: Path) -> None:
    (tmp_path / "frames").mkdir()
    for name in ("b.png", "a.b.png", "c d.jpg"):
        Image.fromarray(picture(0)).save(tmp_path / "frames" / name)
    video = open_video(tmp_path / "frames")
    run(tmp_path / "out", video, order=range(3))
    assert sorted(path.name for path in (tmp_path / "out" / "masks").iterdir()) == ["a.b.png", "b.png", "c d.png"]


def test_the_overlay_has_the_videos_times(clip: Path, tmp_path: Path) -> None:
    video = open_video(clip)
    overlay = open_video(run(tmp_path, video)["overlay"])
    assert np.allclose(overlay.times, video.times, atol=1e-3)
    assert [number_of(frame) for frame in overlay] == list(range(FRAMES))
    assert np.abs(overlay.frame(5).astype(int) - video.frame(5)).mean() > 2


def test_results_json_tells_everything(clip: Path, tmp_path: Path) -> None:
    video = open_video(clip)
    prompts = [
        (0, PointPrompt(((9.5, 9.5),), (1,))),
        (0, BoxPrompt((1.0, 2.0, 3.0, 4.0))),
        (2, MaskPrompt.from_array(result_of(2).masks[1])),
        (3, ScribblePrompt((((1.0, 2.0), (3.0, 4.0)),), (0,))),
        (0, TextPrompt("der Hund „Bello“")),
        (0, CategoryPrompt(("dog", "cat"))),
    ]
    with ResultWriter(tmp_path, video, settings={"task": "vos", "window": 5}) as writer:
        for index in range(FRAMES):
            writer.write(video.frame(index), result_of(index))
        writer.close({1: ObjectMetadata(name="Bello", prompts=prompts), 7: ObjectMetadata(category="cat")})
    report = json.loads((tmp_path / "results.json").read_text())
    assert {key: report[key] for key in ("format", "version", "complete", "lost_frames")} == {
        "format": "univs-results",
        "version": 1,
        "complete": True,
        "lost_frames": [],
    }
    assert report["settings"] == {"task": "vos", "window": 5}
    assert report["video"] == {"name": "clip.mp4", "height": 48, "width": 64, "rate": video.rate, "frames": FRAMES} | {
        "rate": pytest.approx(video.rate)
    }
    assert report["frames"][3] == {"index": 3, "name": "00003", "time": pytest.approx(0.5, abs=1e-3)}
    one, two, seven = report["objects"]
    assert (one["id"], one["name"], one["category"]) == (1, "Bello", "dog")
    assert (two["id"], two["name"], two["category"], two["prompts"]) == (2, None, None, [])
    assert (seven["id"], seven["category"], seven["frames"]) == (7, "cat", [])
    assert [prompt["kind"] for prompt in one["prompts"]] == ["point", "box", "mask", "scribble", "text", "category"]
    assert one["prompts"][0] == {"frame": 0, "kind": "point", "points": [[9.5, 9.5]], "labels": [1]}
    assert one["prompts"][4]["text"] == "der Hund „Bello“"
    assert (coco_mask.decode(one["prompts"][2]["segmentation"]) == result_of(2).masks[1]).all()


def test_masks_scores_areas_and_boxes_in_results_json(clip: Path, tmp_path: Path) -> None:
    run(tmp_path, open_video(clip))
    for item in json.loads((tmp_path / "results.json").read_text())["objects"]:
        assert [entry["frame"] for entry in item["frames"]] == list(range(FRAMES))
        for entry in item["frames"]:
            mask = result_of(entry["frame"]).masks[item["id"]]
            assert (coco_mask.decode(entry["segmentation"]) == mask).all()
            assert entry["score"] == pytest.approx(1 - entry["frame"] / 100) and entry["area"] == mask.sum()
            if mask.any():
                x0, y0, x1, y1 = entry["box"]
                assert mask[y0:y1, x0:x1].sum() == mask.sum() and mask[y0, x0:x1].any() and mask[y1 - 1, x0:x1].any()
            else:
                assert entry["box"] is None


def test_frames_in_any_order_and_again_end_as_one_go(clip: Path, tmp_path: Path) -> None:
    video = open_video(clip)
    options = ResultOptions(cutout="apng", tracks=True)
    run(tmp_path / "one", video, options)
    run(tmp_path / "any", video, options, [4, 3, 2, 1, 0, 5, 6, 5, 7, 7])
    for name in ("overlay.mp4", "cutout.png", "tracks.json", "results.json", "masks/00003.png"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "any" / name).read_bytes(), name


def test_a_frame_written_again_replaces_itself(clip: Path, tmp_path: Path) -> None:
    video = open_video(clip)
    with ResultWriter(tmp_path, video) as writer:
        writer.write(video.frame(0), result_of(0))
        writer.write(video.frame(0), result_of(0, ids=(2,)))
        writer.close()
    report = json.loads((tmp_path / "results.json").read_text())
    assert [item["id"] for item in report["objects"]] == [2]
    assert (read_palette_mask(tmp_path / "masks" / "00000.png") == result_of(0, ids=(2,)).palette(*SIZE)).all()


def test_a_stream_must_come_in_order(tmp_path: Path) -> None:
    video = open_video(picture(number) for number in range(FRAMES))
    with pytest.raises(UserError, match="Frame 0 of The stream comes out of order"):
        with ResultWriter(tmp_path, video) as writer:
            for index in (0, 1, 0):
                writer.write(video.frame(index), result_of(index))
    assert json.loads((tmp_path / "results.json").read_text())["complete"] is False


def test_lost_frames_are_named_and_get_no_picture(clip: Path, tmp_path: Path) -> None:
    video = open_video(clip)
    with ResultWriter(tmp_path, video, ResultOptions(tracks=True, mattes="video")) as writer:
        for index in range(FRAMES):
            if index in (2, 5):
                writer.write_lost(LostFrame(index, "damaged"))
            else:
                writer.write(video.frame(index), result_of(index))
        written = writer.close()
    report = json.loads((tmp_path / "results.json").read_text())
    assert report["lost_frames"] == [2, 5] and len(report["frames"]) == FRAMES - 2
    assert not (tmp_path / "masks" / "00002.png").exists()
    kept = [index for index in range(FRAMES) if index not in (2, 5)]
    overlay = open_video(written["overlay"])
    assert [number_of(frame) for frame in overlay] == kept
    assert np.allclose(overlay.times, video.times[kept], atol=1e-3)


def test_a_run_that_breaks_off_keeps_what_is_finished(clip: Path, tmp_path: Path) -> None:
    video = open_video(clip)
    with pytest.raises(KeyboardInterrupt), ResultWriter(tmp_path, video) as writer:
        for index in range(5):
            writer.write(video.frame(index), result_of(index))
        raise KeyboardInterrupt
    report = json.loads((tmp_path / "results.json").read_text())
    assert report["complete"] is False and len(report["frames"]) == 5
    assert len(open_video(tmp_path / "overlay.mp4")) == 5
    assert sorted(path.name for path in tmp_path.iterdir()) == ["masks", "overlay.mp4", "results.json"]


def test_a_run_that_is_killed_leaves_masks_and_results_so_far(tmp_path: Path) -> None:
    video = open_video([picture(number % 64) for number in range(40)])
    writer = ResultWriter(tmp_path, video, ResultOptions(overlay=False))
    for index in range(40):
        writer.write(video.frame(index), result_of(index % FRAMES) if index < FRAMES else FrameResult(index, []))
    report = json.loads((tmp_path / "results.json").read_text())
    assert report["complete"] is False and len(report["frames"]) >= 40 / 1.5
    assert len(list((tmp_path / "masks").iterdir())) == 40
    writer.close()


def test_earlier_results_go_and_other_files_stay(clip: Path, tmp_path: Path) -> None:
    run(tmp_path, open_video(clip), ResultOptions(cutout="png", mattes="png", tracks=True))
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "masks" / "notes.txt").write_text("mine")
    run(tmp_path, open_video(clip), order=range(3))
    assert sorted(path.name for path in (tmp_path / "masks").iterdir()) == [
        "00000.png",
        "00001.png",
        "00002.png",
        "notes.txt",
    ]
    files = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file())
    assert [name for name in files if not name.startswith("masks/")] == ["notes.txt", "overlay.mp4", "results.json"]


def test_a_folder_that_holds_something_else_is_not_emptied(clip: Path, tmp_path: Path) -> None:
    (tmp_path / "masks").mkdir()
    (tmp_path / "masks" / "mine.png").write_bytes(b"mine")
    (tmp_path / "results.json").write_text('{"format": "something else"}')
    run(tmp_path, open_video(clip))
    assert (tmp_path / "masks" / "mine.png").read_bytes() == b"mine"


# --- other outputs ------------------------------------------------------------------------------------------------


def test_tracks_have_one_entry_per_frame(clip: Path, tmp_path: Path) -> None:
    written = run(tmp_path, open_video(clip), ResultOptions(tracks=True))
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
def test_mattes_show_one_object_in_all_frames(kind: str, clip: Path, tmp_path: Path) -> None:
    written = run(tmp_path, open_video(clip), ResultOptions(mattes=kind))
    matte = open_video(written["mattes"] / ("00002" if kind == "png" else "00002.mp4"))
    assert len(matte) == FRAMES and matte.size == SIZE
    for index, frame in matte.iterate():
        mask = result_of(index).masks[2]
        assert np.abs(frame.astype(int) - 255 * mask[:, :, None]).mean() < 2


@pytest.mark.parametrize(("kind", "name"), [("png", "cutout"), ("apng", "cutout.png"), ("prores", "cutout.mov")])
def test_cutouts_are_clear_round_the_objects(kind: str, name: str, clip: Path, tmp_path: Path) -> None:
    video = open_video(clip)
    written = run(tmp_path, video, ResultOptions(cutout=kind, cutout_ids=(1,)))
    assert written["cutout"] == tmp_path / name
    cut = open_video(written["cutout"])
    assert len(cut) == FRAMES
    mask = result_of(4).masks[1]
    frame, original = cut.frame(4).astype(int), video.frame(4).astype(int)
    assert np.abs(frame - original)[mask].mean() < 6
    assert frame[~mask].mean() < 3


def test_only_results_json_when_nothing_else_is_wanted(clip: Path, tmp_path: Path) -> None:
    run(tmp_path, open_video(clip), ResultOptions(masks=False, overlay=False))
    assert [path.name for path in tmp_path.iterdir()] == ["results.json"]


def test_the_style_of_the_overlay_can_be_chosen(clip: Path, tmp_path: Path) -> None:
    run(tmp_path / "a", open_video(clip))
    run(tmp_path / "b", open_video(clip), ResultOptions(style=OverlayStyle(opacity=0.9, labels=False)))
    one, other = (open_video(tmp_path / name / "overlay.mp4").frame(1).astype(int) for name in "ab")
    assert np.abs(one - other).max() > 50


@pytest.mark.parametrize("wrong", [{"mattes": "gif"}, {"cutout": "mp4"}])
def test_unknown_kinds_are_refused(wrong: dict[str, str]) -> None:
    with pytest.raises(UserError, match="choose one of"):
        ResultOptions(**wrong)


# --- troubles -----------------------------------------------------------------------------------------------------


def test_masks_of_another_size_are_a_programmers_error(clip: Path, tmp_path: Path) -> None:
    video = open_video(clip)
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


def test_a_link_out_of_the_folder_is_refused(clip: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "masks").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UserError, match="leads out of the output folder"):
        run(tmp_path / "out", open_video(clip))
    assert not list((tmp_path / "elsewhere").iterdir())


def test_clearing_does_not_follow_links(clip: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "mine.png").write_bytes(b"mine")
    run(tmp_path / "out", open_video(clip), ResultOptions(masks=False))
    (tmp_path / "out" / "masks").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UserError, match="leads out"):
        run(tmp_path / "out", open_video(clip))
    assert (tmp_path / "elsewhere" / "mine.png").read_bytes() == b"mine"


def test_a_file_in_the_way_is_one_sentence(clip: Path, tmp_path: Path) -> None:
    (tmp_path / "out").write_bytes(b"")
    with pytest.raises(UserError, match="out cannot be written: .*; choose another output folder"):
        ResultWriter(tmp_path / "out", open_video(clip))


def test_a_full_disk_is_one_sentence(clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    with pytest.raises(UserError, match="the disk is full"):
        run(tmp_path, open_video(clip))
    assert not list((tmp_path / "masks").iterdir())
    assert json.loads((tmp_path / "results.json").read_text())["complete"] is False


def test_writing_needs_no_more_than_one_open_video(clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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
    with ResultWriter(tmp_path, open_video(clip), ResultOptions(overlay=False, mattes="video")) as writer:
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

"""The result folder: what is in it, at every moment of a run."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from tests.video.media import SIZE, number_of, picture
from tests.video.runs import FRAMES, result_of, run
from univs.errors import UserError
from univs.structures import (
    BoxPrompt,
    CategoryPrompt,
    FrameResult,
    MaskPrompt,
    PointPrompt,
    ScribblePrompt,
    TextPrompt,
)
from univs.video import (
    LostFrame,
    ObjectMetadata,
    ResultOptions,
    ResultWriter,
    open_video,
    read_palette_mask,
)


def test_the_names_are_a_contract(uneven_clip: Path, tmp_path: Path) -> None:
    written = run(tmp_path / "new" / "out", open_video(uneven_clip))
    folder = tmp_path / "new" / "out"
    assert sorted(path.name for path in folder.iterdir()) == ["masks", "overlay.mp4", "results.json"]
    assert sorted(path.name for path in (folder / "masks").iterdir()) == [f"{index:05d}.png" for index in range(FRAMES)]
    assert written == {
        "results": folder / "results.json",
        "masks": folder / "masks",
        "overlay": folder / "overlay.mp4",
    }


def test_masks_hold_ids_at_the_videos_own_size(uneven_clip: Path, tmp_path: Path) -> None:
    run(tmp_path, open_video(uneven_clip))
    for index in range(FRAMES):
        assert (read_palette_mask(tmp_path / "masks" / f"{index:05d}.png") == result_of(index).palette(*SIZE)).all()


def test_masks_are_called_like_the_frames(tmp_path: Path) -> None:
    (tmp_path / "frames").mkdir()
    for name in ("b.png", "a.b.png", "c d.jpg"):
        Image.fromarray(picture(0)).save(tmp_path / "frames" / name)
    video = open_video(tmp_path / "frames")
    run(tmp_path / "out", video, order=range(3))
    assert sorted(path.name for path in (tmp_path / "out" / "masks").iterdir()) == ["a.b.png", "b.png", "c d.png"]


def test_the_overlay_has_the_videos_times(uneven_clip: Path, tmp_path: Path) -> None:
    video = open_video(uneven_clip)
    overlay = open_video(run(tmp_path, video)["overlay"])
    assert np.allclose(overlay.times, video.times, atol=1e-3)
    assert [number_of(frame) for frame in overlay] == list(range(FRAMES))
    assert np.abs(overlay.frame(5).astype(int) - video.frame(5)).mean() > 2


def test_results_json_tells_everything(uneven_clip: Path, tmp_path: Path) -> None:
    video = open_video(uneven_clip)
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


def test_masks_scores_areas_and_boxes_in_results_json(uneven_clip: Path, tmp_path: Path) -> None:
    run(tmp_path, open_video(uneven_clip))
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


def test_frames_in_any_order_and_again_end_as_one_go(uneven_clip: Path, tmp_path: Path) -> None:
    video = open_video(uneven_clip)
    options = ResultOptions(cutout="apng", tracks=True)
    run(tmp_path / "one", video, options)
    run(tmp_path / "any", video, options, [4, 3, 2, 1, 0, 5, 6, 5, 7, 7])
    for name in ("overlay.mp4", "cutout.png", "tracks.json", "results.json", "masks/00003.png"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "any" / name).read_bytes(), name


def test_a_frame_written_again_replaces_itself(uneven_clip: Path, tmp_path: Path) -> None:
    video = open_video(uneven_clip)
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


def test_lost_frames_are_named_and_get_no_picture(uneven_clip: Path, tmp_path: Path) -> None:
    video = open_video(uneven_clip)
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


def test_a_run_that_breaks_off_keeps_what_is_finished(uneven_clip: Path, tmp_path: Path) -> None:
    video = open_video(uneven_clip)
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


def test_earlier_results_go_and_other_files_stay(uneven_clip: Path, tmp_path: Path) -> None:
    run(tmp_path, open_video(uneven_clip), ResultOptions(cutout="png", mattes="png", tracks=True))
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "masks" / "notes.txt").write_text("mine")
    run(tmp_path, open_video(uneven_clip), order=range(3))
    assert sorted(path.name for path in (tmp_path / "masks").iterdir()) == [
        "00000.png",
        "00001.png",
        "00002.png",
        "notes.txt",
    ]
    files = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file())
    assert [name for name in files if not name.startswith("masks/")] == ["notes.txt", "overlay.mp4", "results.json"]


def test_a_folder_that_holds_something_else_is_not_emptied(uneven_clip: Path, tmp_path: Path) -> None:
    (tmp_path / "masks").mkdir()
    (tmp_path / "masks" / "mine.png").write_bytes(b"mine")
    (tmp_path / "results.json").write_text('{"format": "something else"}')
    run(tmp_path, open_video(uneven_clip))
    assert (tmp_path / "masks" / "mine.png").read_bytes() == b"mine"


def test_the_documentation_names_the_keys_of_results_json(uneven_clip: Path, tmp_path: Path) -> None:
    documented = (Path(__file__).parents[2] / "docs" / "RESULTS_FORMAT.md").read_text()
    block = documented.split("## `results.json`")[1].split("```")[1]
    video = open_video(uneven_clip)
    with ResultWriter(tmp_path, video) as writer:
        writer.write(video.frame(0), result_of(0))
        writer.close()
    report = json.loads((tmp_path / "results.json").read_text())
    first = report["objects"][0]
    parts = (
        report,
        report["video"],
        report["frames"][0],
        first,
        first["frames"][0],
        first["frames"][0]["segmentation"],
    )
    assert {key for part in parts for key in part} == set(re.findall(r'"(\w+)":', block))

"""Submissions: what is written for each benchmark, packing of results, and lists of what is expected."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from tests.evaluation.tiny_submission import CATEGORIES, FRAMES, SIZE, box, expected_for, results, written
from univs.errors import UserError
from univs.evaluation.coded_masks import mask_area
from univs.evaluation.submissions import SUBMISSIONS, find_submission
from univs.evaluation.submissions.check import check_submission
from univs.evaluation.submissions.expected import Expected, ExpectedVideo, read_categories, read_expected
from univs.evaluation.submissions.pack import pack_results, zip_folder
from univs.evaluation.submissions.video import Video
from univs.video import ResultWriter, open_video

# --- what is written ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SUBMISSIONS)
def test_what_is_written_is_fit(name: str, tmp_path: Path) -> None:
    folder, expected = written(name, tmp_path / "folder")
    assert check_submission(folder, SUBMISSIONS[name], expected) == []
    zip_folder(folder, tmp_path / "packed.zip")
    assert check_submission(tmp_path / "packed.zip", SUBMISSIONS[name], expected) == []


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.array(image)


def test_ids_are_palette_values_and_the_better_object_is_on_top(tmp_path: Path) -> None:
    folder, _ = written("youtube-vos", tmp_path)
    path = folder / "Annotations" / "v0" / "00000.png"
    with Image.open(path) as image:
        assert image.mode == "P" and image.getpalette()[3:9] == [128, 0, 0, 0, 128, 0]
    ids = pixels(path)
    assert ids[5, 6] == 1 and ids[9, 11] == 2 and ids[0, 0] == 0
    assert (ids == 1).sum() == 36


def test_each_sentence_has_its_own_pictures(tmp_path: Path) -> None:
    folder, _ = written("mevis", tmp_path)
    first, second = (pixels(folder / "v0" / expression / "00000.png") for expression in "01")
    assert ((first == 255) == box(2, 2, 8, 8)).all() and ((second == 255) == box(4, 6, 10, 12)).all()
    assert not pixels(folder / "v0" / "1" / "00010.png").any()


def test_every_pixel_has_a_class(tmp_path: Path) -> None:
    folder, _ = written("vspw", tmp_path)
    classes = pixels(folder / "v0" / "00000.png")
    assert classes[0, 0] == 3 and classes[11, 15] == 7
    assert set(np.unique(classes)) == {3, 7}


def test_tracks_have_a_mask_per_frame(tmp_path: Path) -> None:
    folder, _ = written("ovis", tmp_path)
    first, second = json.loads((folder / "results.json").read_text())
    assert [first[key] for key in ("video_id", "category_id", "score")] == [1, 3, 0.9]
    assert second["score"] == pytest.approx(0.6) and second["segmentations"][2] is None
    assert (coco_mask.decode(first["segmentations"][1]) == box(2, 3, 8, 9)).all()


def test_burst_has_no_empty_masks_and_keeps_the_entry(tmp_path: Path) -> None:
    folder, _ = written("burst", tmp_path)
    (sequence,) = json.loads((folder / "results.json").read_text())["sequences"]
    assert sequence["track_category_ids"] == {"1": 3, "2": 7} and sequence["seq_name"] == "v0"
    assert [sorted(frame) for frame in sequence["segmentations"]] == [["1", "2"], ["1", "2"], ["1"]]
    assert sequence["neg_category_ids"] == []  # an answer does not say what is not there


def test_segments_are_those_of_the_picture(tmp_path: Path) -> None:
    folder, _ = written("vipseg", tmp_path)
    (video,) = json.loads((folder / "pred.json").read_text())["annotations"]
    frame = video["annotations"][0]
    assert video["video_id"] == "v0" and frame["file_name"] == "00000.png" and frame["image_id"] == "00000"
    assert frame["segments_info"] == [{"id": 1, "category_id": 3, "area": 36}, {"id": 2, "category_id": 7, "area": 28}]
    colours = pixels(folder / "pan_pred" / "v0" / "00000.png")
    assert (colours[..., 0] == 1).sum() == 36 and not colours[..., 1:].any()


def test_objects_of_pictures_have_boxes(tmp_path: Path) -> None:
    folder, _ = written("coco-instance", tmp_path)
    first, _ = json.loads((folder / "results.json").read_text())
    assert first["bbox"] == [2, 2, 6, 6] and first["image_id"] == 1


def test_frames_without_a_result_are_empty_and_unwanted_ones_left_out(tmp_path: Path) -> None:
    writer = SUBMISSIONS["mose"].writer(tmp_path)
    writer.add(Video("v", SIZE, ("00000", "00007")), results())
    assert sorted(path.name for path in (tmp_path / "v").iterdir()) == ["00000.png", "00007.png"]
    assert not pixels(tmp_path / "v" / "00007.png").any()


@pytest.mark.parametrize(
    ("name", "video", "change", "message"),
    [
        ("mose", Video("v", SIZE, ("1",)), None, "no result for any frame of v; its frames are 1"),
        ("mose", Video("v", (3, 4)), None, "masks of 16x12 pixels; the video has 4x3"),
        ("mose", Video("v", SIZE), ("object_id", 256), "object id 256; a palette picture holds ids from 1 to 255"),
        ("ovis", Video("v", SIZE), None, "id of v is not known; give its list of videos"),
        ("ovis", Video("v", SIZE, number=1), ("category", "dog"), "'dog'; the benchmark knows 2 categories"),
        ("burst", Video("a/v", SIZE), ("object_id", 0), "track ids begin at 1"),
        ("vipseg", Video("v", SIZE), ("object_id", 0), "ids begin at 1"),
    ],
)
def test_what_has_no_place_is_refused_and_leaves_no_file(
    name: str, video: Video, change: tuple | None, message: str, tmp_path: Path
) -> None:
    frames = results()
    for _, result in frames if change else ():
        setattr(result.objects[0], *change)
    with pytest.raises(UserError, match=message), SUBMISSIONS[name].writer(tmp_path, CATEGORIES) as writer:
        writer.add(video, frames)
    assert not list(tmp_path.glob("*.json")) and not list(tmp_path.glob(".*.json"))


def test_names_do_not_lead_out_of_the_folder(tmp_path: Path) -> None:
    SUBMISSIONS["mose"].writer(tmp_path / "in").add(Video("../../out", SIZE), results())
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


# --- packing results ----------------------------------------------------------------------------------------------


@pytest.fixture
def result_folder(tmp_path: Path) -> Path:
    """What a session writes for a video of three frames."""
    (tmp_path / "frames").mkdir()
    for name in FRAMES:
        Image.fromarray(np.zeros((*SIZE, 3), np.uint8)).save(tmp_path / "frames" / f"{name}.png")
    with open_video(tmp_path / "frames") as video, ResultWriter(tmp_path / "runs" / "v0", video) as writer:
        for _, result in results():
            for item in result.objects:
                item.mask = item.mask & ~(result.objects[0].mask if item.object_id == 2 else np.zeros(SIZE, bool))
            writer.write(video.frame(result.index), result)
    return tmp_path / "runs"


@pytest.mark.parametrize(
    ("file", "inside"),
    [("detections_val2017_own_results", "detections_val2017_own_results.json"), ("own", "results.json")],
)
def test_the_list_has_the_name_that_the_server_wants(
    file: str, inside: str, result_folder: Path, tmp_path: Path
) -> None:
    expected = Expected({"v0": ExpectedVideo("v0", FRAMES, SIZE, number=9)})
    pack_results([result_folder], SUBMISSIONS["coco-instance"], tmp_path / f"{file}.zip", expected, CATEGORIES)
    with zipfile.ZipFile(tmp_path / f"{file}.zip") as archive:
        assert archive.namelist() == [inside]
    assert check_submission(tmp_path / f"{file}.zip", SUBMISSIONS["coco-instance"]) == []


@pytest.mark.parametrize("name", ["mose", "mevis", "ovis", "vipseg", "vspw", "youtube-vos"])
def test_results_of_a_session_are_packed(name: str, result_folder: Path, tmp_path: Path) -> None:
    expected = expected_for(name)
    assert pack_results([result_folder], SUBMISSIONS[name], tmp_path / "s.zip", expected, CATEGORIES) == ["v0"]
    assert check_submission(tmp_path / "s.zip", SUBMISSIONS[name], expected) == []
    folder, _ = written(name, tmp_path / "direct")
    with zipfile.ZipFile(tmp_path / "s.zip") as archive:
        for file in folder.rglob("*.*"):
            # The session gives each pixel to one object, so the picture of the second sentence lacks the overlap.
            if file.suffix == ".png" and (name, file.parent.name) != ("mevis", "1"):
                assert archive.read(file.relative_to(folder).as_posix()) == file.read_bytes()


def test_wrong_result_folders_are_one_sentence(result_folder: Path, tmp_path: Path) -> None:
    submission = SUBMISSIONS["mose"]
    with pytest.raises(UserError, match="holds no results.json"):
        pack_results([tmp_path / "frames"], submission, tmp_path / "s.zip")
    with pytest.raises(UserError, match="no video 'v0' but other"):
        pack_results([result_folder], submission, tmp_path / "s.zip", Expected({"other": ExpectedVideo("other")}))
    path = result_folder / "v0" / "results.json"
    content = json.loads(path.read_text())
    content["objects"][0]["frames"][0]["segmentation"]["counts"] = "zzz"
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match="malformed mask of object 1"):
        pack_results([result_folder], submission, tmp_path / "s.zip")
    for key in ("video", "frames", "objects"):
        path.write_text(json.dumps({name: value for name, value in content.items() if name != key}))
        with pytest.raises(UserError, match=f"has no '{key}'"):
            pack_results([result_folder], submission, tmp_path / "s.zip")
    path.write_text("{}")
    with pytest.raises(UserError, match="not written by"):
        pack_results([result_folder], submission, tmp_path / "s.zip")
    assert not (tmp_path / "s.zip").exists()


def test_sentences_must_be_those_of_the_list(result_folder: Path, tmp_path: Path) -> None:
    expected = Expected({"v0": ExpectedVideo("v0", FRAMES, SIZE, expressions=("7",))})
    with pytest.raises(UserError, match="Object 1 of v0 answers the sentence '0'; the list has 7"):
        pack_results([result_folder], SUBMISSIONS["mevis"], tmp_path / "s.zip", expected)


# --- lists of what is expected ------------------------------------------------------------------------------------


def test_lists_of_every_kind_are_read(tmp_path: Path) -> None:
    def read(name: str, content: object) -> Expected:
        (tmp_path / name).write_text(content if isinstance(content, str) else json.dumps(content))
        return read_expected(tmp_path / name)

    assert list(read("val.txt", "a\nb\n").videos) == ["a", "b"]
    meta = {"videos": {"a": {"objects": {"1": {"frames": ["00000", "00005"]}, "2": {"frames": ["00010"]}}}}}
    assert read("meta.json", meta).videos["a"] == ExpectedVideo("a", FRAMES, ids=frozenset({1, 2}))
    sentences = {"videos": {"a": {"expressions": {"0": {"exp": "x"}}, "frames": list(FRAMES)}}}
    assert read("meta.json", sentences).videos["a"] == ExpectedVideo("a", FRAMES, expressions=("0",))
    files = [f"a/{name}.jpg" for name in FRAMES]
    videos = [{"id": 4, "height": 12, "width": 16, "file_names": files}]
    tracks = {"videos": videos, "categories": [{"id": 3, "name": "cat"}]}
    found = read("instances.json", tracks)
    assert found.videos["a"] == ExpectedVideo("a", FRAMES, SIZE, number=4) and found.categories == {"cat": 3}
    panoptic = {"videos": [{"video_id": "a", "images": [{"file_name": "0.png", "height": 12, "width": 16}]}]}
    assert read("panoptic.json", panoptic).videos["a"] == ExpectedVideo("a", ("0",), SIZE, number="a")
    entry = {"dataset": "d", "seq_name": "a", "annotated_image_paths": ["f0.jpg"], "id": 1, "segmentations": [{}]}
    assert read("burst.json", {"sequences": [entry]}).videos["d/a"].entry["annotated_image_paths"] == ["f0.jpg"]
    pictures = {"images": [{"id": 9, "file_name": "000009.jpg", "height": 12, "width": 16}]}
    assert read("coco.json", pictures).videos["000009"] == ExpectedVideo("000009", ("000009",), SIZE, number=9)


def test_folders_of_frames_and_masks_are_read(tmp_path: Path) -> None:
    (tmp_path / "JPEGImages" / "v0").mkdir(parents=True)
    for name in FRAMES:
        Image.new("RGB", SIZE[::-1]).save(tmp_path / "JPEGImages" / "v0" / f"{name}.jpg")
    SUBMISSIONS["youtube-vos"].writer(tmp_path).add(Video("v0", SIZE, FRAMES[:1]), results())
    assert read_expected(tmp_path).videos["v0"] == ExpectedVideo("v0", FRAMES, SIZE, frozenset({1, 2}))
    masks = read_expected(tmp_path / "Annotations").videos["v0"]
    assert masks == ExpectedVideo("v0", (), SIZE, frozenset({1, 2}))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "is not there"),
        ("{}", "neither videos nor"),
        ('{"videos": []}', "names no video"),
        ("[", "not whole JSON"),
        ('{"videos": [{"id": 1}]}', "no list of videos as the benchmarks have them"),
    ],
)
def test_wrong_lists_are_one_sentence(content: str | None, message: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "list.json").write_text(content)
    with pytest.raises(UserError, match=message):
        read_expected(tmp_path / ("list.json" if content else "nothing.txt"))


def test_categories_are_read(tmp_path: Path) -> None:
    (tmp_path / "c.txt").write_text("wall\nceiling\n")
    (tmp_path / "c.json").write_text('{"categories": [{"name": "wall", "id": 7}]}')
    (tmp_path / "d.json").write_text('{"wall": 1}')
    assert read_categories(tmp_path / "c.txt") == {"wall": 0, "ceiling": 1}
    assert read_categories(tmp_path / "c.json") == {"wall": 7} and read_categories(tmp_path / "d.json") == {"wall": 1}
    (tmp_path / "d.json").write_text('{"wall": 1.5}')
    for name in ("d.json", "nothing.txt"):
        with pytest.raises(UserError):
            read_categories(tmp_path / name)


def test_unknown_benchmarks_are_one_sentence() -> None:
    with pytest.raises(UserError, match="did you mean: .*youtube-vos"):
        find_submission("youtubevos")


@pytest.mark.parametrize("seed", range(20))
def test_areas_are_those_of_pycocotools(seed: int) -> None:
    generator = np.random.default_rng(seed)
    mask = generator.random((37, 53)) < generator.random()
    code = coco_mask.encode(np.asfortranarray(mask, np.uint8))
    code["counts"] = code["counts"].decode()
    assert mask_area(code) == mask.sum()

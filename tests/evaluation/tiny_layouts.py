"""Ground truth and predictions of two tiny videos in the layout of every benchmark, where docs/EVALUATION.md has them.

Truth lies in ``data/<benchmark>``, predictions in ``results/<benchmark>``: a cat that walks to the right below the sky
and is predicted one pixel too far.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from univs.evaluation.submissions import SUBMISSIONS
from univs.evaluation.submissions.lists import code_of
from univs.evaluation.submissions.panoptic import write_id_picture
from univs.evaluation.submissions.video import Video
from univs.structures import FrameResult, ObjectResult
from univs.video.palette import write_palette_mask

TRUTH = {
    **dict.fromkeys(("davis2016", "davis2017", "davis2017-unsupervised", "ref-davis17"), "DAVIS"),
    "mose": "MOSE/Annotations",
    "lvos": "LVOS",
    "youtube-vos": "YouTube-VOS",
    "viposeg": "VIPOSeg",
    "ref-youtube-vos": "Ref-YouTube-VOS",
    "mevis": "MeViS",
    "a2d-sentences": "A2D",
    "jhmdb-sentences": "JHMDB",
    "davis-interactive": "DAVIS-interactive",
    **{f"youtube-vis-{year}": f"YouTube-VIS-{year}" for year in (2019, 2021, 2022)},
    "ovis": "OVIS",
    "burst": "BURST",
    "vspw": "VSPW",
    "vipseg": "VIPSeg",
    "cityscapes-vps": "Cityscapes-VPS",
    "kitti-step": "KITTI-STEP",
    "coco-panoptic": "COCO-panoptic",
    "coco-instance": "COCO/instances.json",
    "lvis": "LVIS/lvis_v1_val.json",
}
"""Where under ``data`` the truth of a benchmark lies."""

SIZE = 30, 40
VIDEOS = "alpha", "beta"
FRAMES = tuple(f"{5 * index:05d}" for index in range(6))
CATEGORIES = {"cat": 1, "sky": 2}
SENTENCES = {"0": "a cat", "1": "the sky"}


def frame_of(index: int, shift: int = 0) -> FrameResult:
    """Both objects of a frame; ``shift``: pixels by which the cat is misplaced."""
    cat, sky = np.zeros(SIZE, bool), np.zeros(SIZE, bool)
    cat[12:24, 4 + 2 * index + shift : 16 + 2 * index + shift] = True
    sky[:10] = True
    return FrameResult(index, [ObjectResult(1, cat, 0.9, "cat", "0"), ObjectResult(2, sky, 0.8, "sky", "1")])


def frames(shift: int = 0, names: tuple[str, ...] = FRAMES) -> list[tuple[str, FrameResult]]:
    return [(name, frame_of(index, shift)) for index, name in enumerate(names)]


def predict(folder: Path, name: str, numbers: Callable[[str], Video]) -> None:
    """Predictions by the submission writer of a benchmark."""
    submission = SUBMISSIONS[name]
    with submission.writer(folder / "results" / name, CATEGORIES) as writer:
        for video in VIDEOS:
            listed = numbers(video)
            writer.add(listed, frames(1, listed.frames))


def plain_video(name: str) -> Video:
    return Video(name, SIZE, FRAMES, VIDEOS.index(name) + 1)


def write_json(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def write_masks(folder: Path, names: tuple[str, ...] = FRAMES) -> None:
    """Palette pictures of both videos."""
    for video in VIDEOS:
        for name, result in frames(0, names):
            write_palette_mask(folder / video / f"{name}.png", result.palette(*SIZE))


# --- objects by masks ---------------------------------------------------------------------------------------------


def davis(folder: Path) -> None:
    for task in ("Annotations", "Annotations_unsupervised"):
        write_masks(folder / "data" / "DAVIS" / task / "480p")
    for year in ("2016", "2017"):
        path = folder / "data" / "DAVIS" / "ImageSets" / year / "val.txt"
        path.parent.mkdir(parents=True)
        path.write_text("\n".join(VIDEOS) + "\n")
    for name in ("davis2016", "davis2017", "davis2017-unsupervised"):
        predict(folder, name, plain_video)
    for annotator in range(4):
        predict(folder, "ref-davis17", lambda name, group=f"anno_{annotator}": Video(f"{group}/{name}", SIZE, FRAMES))


def mose(folder: Path) -> None:
    write_masks(folder / "data" / "MOSE" / "Annotations")
    predict(folder, "mose", plain_video)


def lvos(folder: Path) -> None:
    names = tuple(f"{5 * index + 1:08d}" for index in range(len(FRAMES)))
    write_masks(folder / "data" / "LVOS" / "Annotations", names)
    span = {"frame_range": {"start": names[0], "end": names[-1], "frame_nums": str(len(names))}}
    videos = {video: {"objects": {"1": span, "2": span}} for video in VIDEOS}
    write_json(folder / "data" / "LVOS" / "valid_meta.json", {"videos": videos})
    (folder / "data" / "LVOS" / "unseen_videos.txt").write_text("beta\n")
    predict(folder, "lvos", lambda name: Video(name, SIZE, names))


def youtube_vos(folder: Path) -> None:
    write_masks(folder / "data" / "YouTube-VOS" / "Annotations")
    objects = {str(number): {"category": name, "frames": list(FRAMES)} for name, number in CATEGORIES.items()}
    write_json(folder / "data" / "YouTube-VOS" / "meta.json", {"videos": {v: {"objects": objects} for v in VIDEOS}})
    write_json(folder / "data" / "YouTube-VOS" / "categories.json", {"seen": ["cat"], "unseen": ["sky"]})
    predict(folder, "youtube-vos", plain_video)


def viposeg(folder: Path) -> None:
    write_masks(folder / "data" / "VIPOSeg" / "Annotations_gt")
    for video in VIDEOS:
        path = folder / "data" / "VIPOSeg" / "Annotations" / video / f"{FRAMES[0]}.png"
        write_palette_mask(path, frame_of(0).palette(*SIZE))
    write_json(folder / "data" / "VIPOSeg" / "obj_class.json", {video: {"1": 60, "2": 28} for video in VIDEOS})
    predict(folder, "viposeg", plain_video)


# --- sentences ----------------------------------------------------------------------------------------------------


def predict_sentences(folder: Path, name: str) -> None:
    with SUBMISSIONS[name].writer(folder / "results" / name) as writer:
        for video in VIDEOS:
            for place, expression in enumerate(SENTENCES):
                answer = [(frame, FrameResult(r.index, [r.objects[place]])) for frame, r in frames(1)]
                writer.add(Video(video, SIZE, FRAMES, expression=expression), answer)


def ref_youtube_vos(folder: Path) -> None:
    root = folder / "data" / "Ref-YouTube-VOS"
    write_masks(root / "Annotations")
    sentences = {key: {"exp": text, "obj_id": str(int(key) + 1)} for key, text in SENTENCES.items()}
    videos = {video: {"expressions": sentences, "frames": list(FRAMES)} for video in VIDEOS}
    write_json(root / "meta_expressions.json", {"videos": videos})
    objects = {str(number): {"category": name, "frames": list(FRAMES)} for name, number in CATEGORIES.items()}
    write_json(root / "meta.json", {"videos": {video: {"objects": objects} for video in VIDEOS}})
    predict_sentences(folder, "ref-youtube-vos")


def mevis(folder: Path) -> None:
    root, masks, videos = folder / "data" / "MeViS", {}, {}
    for index, video in enumerate(VIDEOS):
        sentences = {}
        for place, (key, text) in enumerate(SENTENCES.items()):
            number = 2 * index + place
            masks[str(number)] = [code_of(result.objects[place]) for _, result in frames()]
            sentences[key] = {"exp": text, "obj_id": [place], "anno_id": [number]}
        videos[video] = {"frames": list(FRAMES), "expressions": sentences}
    write_json(root / "meta_expressions.json", {"videos": videos})
    write_json(root / "mask_dict.json", masks)
    predict_sentences(folder, "mevis")


def single_frames(folder: Path, name: str, data: str) -> None:
    """Sentences about single frames, in COCO's form."""
    images = [{"id": f"{video}_{frame}", "height": SIZE[0], "width": SIZE[1]} for video in VIDEOS for frame in FRAMES]
    truth, found = [], []
    for number, image in enumerate(images):
        index = number % len(FRAMES)
        code, guess = code_of(frame_of(index).objects[0]), code_of(frame_of(index, 1).objects[0])
        truth.append({"id": number + 1, "image_id": image["id"], "category_id": 1, "segmentation": code, "area": 144})
        truth[-1] |= {"bbox": [4 + 2 * index, 12, 12, 12], "iscrowd": 0}
        found.append({"image_id": image["id"], "category_id": 1, "score": 0.9, "segmentation": guess})
    content = {"images": images, "annotations": truth, "categories": [{"id": 1, "name": "dummy_class"}]}
    write_json(folder / "data" / data / "annotations_coco_format.json", content)
    write_json(folder / "results" / name / "predictions.json", found)


# --- tracks and classes -------------------------------------------------------------------------------------------


def tracks(folder: Path) -> None:
    videos, annotations = [], []
    for index, video in enumerate(VIDEOS):
        files = [f"{video}/{frame}.jpg" for frame in FRAMES]
        videos.append({"id": index + 1, "height": SIZE[0], "width": SIZE[1], "length": 6, "file_names": files})
        for place, category in enumerate(CATEGORIES.values()):
            codes = [code_of(result.objects[place]) for _, result in frames()]
            entry = {"id": 2 * index + category, "video_id": index + 1, "category_id": category, "iscrowd": 0}
            areas = [int(result.objects[place].mask.sum()) for _, result in frames()]
            annotations.append({**entry, "segmentations": codes, "areas": areas, "bboxes": [[0, 0, 1, 1]] * 6})
    categories = [{"id": number, "name": name} for name, number in CATEGORIES.items()]
    content = {"videos": videos, "annotations": annotations, "categories": categories}
    for name, data in (("youtube-vis-2019", "YouTube-VIS-2019"), ("youtube-vis-2021", "YouTube-VIS-2021"),
                       ("youtube-vis-2022", "YouTube-VIS-2022"), ("ovis", "OVIS")):  # fmt: skip
        write_json(folder / "data" / data / "instances.json", content)
        predict(folder, name, plain_video)


def burst(folder: Path) -> None:
    sequences = []
    for index, video in enumerate(VIDEOS):
        masks = [
            {str(o.object_id): {"rle": code_of(o)["counts"], "is_gt": True} for o in r.objects} for _, r in frames()
        ]
        files = [f"{frame}.jpg" for frame in FRAMES]
        head = {"id": index, "seq_name": video, "dataset": "YFCC", "height": SIZE[0], "width": SIZE[1], "fps": 5}
        lists = {"neg_category_ids": [], "not_exhaustive_category_ids": [], "track_category_ids": {"1": 1, "2": 2}}
        paths = {"all_image_paths": files, "annotated_image_paths": files}
        sequences.append({**head, **lists, **paths, "segmentations": masks})
    categories = [{"id": number, "name": name} for name, number in CATEGORIES.items()]
    content = {"sequences": sequences, "categories": categories, "split": "val"}
    write_json(folder / "data" / "BURST" / "all_classes.json", content)
    entries = {entry["seq_name"]: {k: v for k, v in entry.items() if k != "segmentations"} for entry in sequences}
    predict(folder, "burst", lambda name: Video(f"YFCC/{name}", SIZE, FRAMES, 0, entry=entries[name]))


def vspw(folder: Path) -> None:
    for video in VIDEOS:
        for name, result in frames():
            path = folder / "data" / "VSPW" / "data" / video / "mask" / f"{name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            ids = result.palette(*SIZE)
            Image.fromarray(np.where(ids, ids + 1, 0).astype(np.uint8)).save(path)
    (folder / "data" / "VSPW" / "val.txt").write_text("\n".join(VIDEOS) + "\n")
    predict(folder, "vspw", plain_video)


# --- panoptic -----------------------------------------------------------------------------------------------------


def segments(result: FrameResult) -> list[dict[str, int]]:
    return [
        {"id": o.object_id, "category_id": CATEGORIES[o.category], "area": int(o.mask.sum()), "iscrowd": 0}
        for o in result.objects
    ]


def panoptic_categories() -> list[dict[str, object]]:
    return [{"id": number, "name": name, "isthing": int(name == "cat")} for name, number in CATEGORIES.items()]


def vipseg(folder: Path) -> None:
    root, videos, annotations = folder / "data" / "VIPSeg", [], []
    for video in VIDEOS:
        size = {"height": SIZE[0], "width": SIZE[1]}
        images = [{"id": name, "file_name": f"{name}.png", **size} for name in FRAMES]
        videos.append({"video_id": video, "images": images})
        listed = []
        for name, result in frames():
            write_id_picture(root / "panomasksRGB" / video / f"{name}.png", result.palette(*SIZE).astype(np.uint32))
            listed.append({"image_id": name, "file_name": f"{name}.png", "segments_info": segments(result)})
        annotations.append({"video_id": video, "annotations": listed})
    content = {"videos": videos, "annotations": annotations, "categories": panoptic_categories()}
    write_json(root / "panoptic_gt.json", content)
    predict(folder, "vipseg", plain_video)


def listed_pictures(folder: Path, data: str, name: str, file: str, pictures: str, numbered: bool) -> None:
    """Panoptic pictures in one list."""
    root, images, annotations = folder / "data" / data, [], []
    with SUBMISSIONS[name].writer(folder / "results" / name, CATEGORIES) as writer:
        for place, video in enumerate(VIDEOS):
            for index in range(len(FRAMES)):
                title = f"{place:04d}_{index:04d}_{video}"
                number = 6 * place + index if numbered else title
                result = frame_of(index)
                write_id_picture(root / pictures / f"{title}.png", result.palette(*SIZE).astype(np.uint32))
                images.append({"id": number, "file_name": f"{title}.png", "height": SIZE[0], "width": SIZE[1]})
                entry = {"image_id": number, "file_name": f"{title}.png", "segments_info": segments(result)}
                annotations.append(entry)
                writer.add(Video(title, SIZE, (title,), number), [(title, frame_of(index, 1))])
    content = {"images": images, "annotations": annotations, "categories": panoptic_categories()}
    write_json(root / file, content)


def cityscapes_vps(folder: Path) -> None:
    listed_pictures(folder, "Cityscapes-VPS", "cityscapes-vps", "panoptic_gt.json", "panoptic_video", False)


def coco_panoptic(folder: Path) -> None:
    listed_pictures(folder, "COCO-panoptic", "coco-panoptic", "panoptic.json", "panoptic", True)


def kitti_step(folder: Path) -> None:
    for kind, shift in (("data/KITTI-STEP", 0), ("results/kitti-step", 1)):
        for video in VIDEOS:
            for name, result in frames(shift):
                colours = np.zeros((*SIZE, 3), np.uint8)
                colours[result.objects[0].mask] = 11, 0, 1
                path = folder / kind / video / f"{name}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(colours).save(path)


def pictures(folder: Path) -> None:
    """Objects of pictures."""
    images, annotations = [], []
    for number, (name, result) in enumerate(frames(), 1):
        size = {"height": SIZE[0], "width": SIZE[1]}
        extra = {"neg_category_ids": [], "not_exhaustive_category_ids": []}
        images.append({"id": number, "file_name": f"{name}.jpg", **size, **extra})
        for item in result.objects:
            entry = {"id": 2 * number + item.object_id, "image_id": number, "category_id": CATEGORIES[item.category]}
            rows, columns = np.nonzero(item.mask)
            box = [columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1]
            mask = {"segmentation": code_of(item), "area": int(item.mask.sum()), "bbox": list(map(int, box))}
            annotations.append({**entry, **mask, "iscrowd": 0})
    extra = {"frequency": "f", "image_count": 6, "instance_count": 6}
    categories = [{"id": number, "name": name, **extra} for name, number in CATEGORIES.items()]
    content = {"images": images, "annotations": annotations, "categories": categories}
    for name, file in (("coco-instance", "COCO/instances.json"), ("lvis", "LVIS/lvis_v1_val.json")):
        write_json(folder / "data" / file, content)
        with SUBMISSIONS[name].writer(folder / "results" / name, CATEGORIES) as writer:
            for number, (frame, result) in enumerate(frames(1), 1):
                writer.add(Video(frame, SIZE, (frame,), number), [(frame, result)])


def interactive(folder: Path) -> None:
    """A report of two interactions with one object per sequence."""
    head = "session_id,sequence,scribble_idx,interaction,object_id,frame,jaccard,contour,j_and_f,timing"
    rows = [
        f"s,{video},1,{interaction},1,{frame}" + 3 * f",0.{interaction + 5}" + f",{4.5 * interaction}"
        for video in VIDEOS
        for interaction in (1, 2)
        for frame in range(3)
    ]
    path = folder / "results" / "davis-interactive" / "report.csv"
    path.parent.mkdir(parents=True)
    path.write_text("\n".join([head, *rows]) + "\n")
    about = {"num_scribbles": 1, "num_objects": 1}
    write_json(folder / "data" / "DAVIS-interactive" / "sequences.json", {video: about for video in VIDEOS})


LAYOUTS: tuple[Callable[[Path], None], ...] = (
    davis, mose, lvos, youtube_vos, viposeg, ref_youtube_vos, mevis, tracks, burst, vspw, vipseg, cityscapes_vps,
    coco_panoptic, kitti_step, pictures, interactive,
    lambda folder: single_frames(folder, "a2d-sentences", "A2D"),
    lambda folder: single_frames(folder, "jhmdb-sentences", "JHMDB"),
)  # fmt: skip


def write_layouts(folder: Path) -> None:
    """All of them."""
    for write in LAYOUTS:
        write(folder)

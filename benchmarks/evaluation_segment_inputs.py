"""Larger ground truths and predictions of segments and tracks for timing evaluation, of the same moving shapes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pycocotools import mask as coco_mask

from benchmarks.evaluation_inputs import SIZE, MovingShape, displacement, write_json, write_text

STUFF, THINGS = (0, 3, 7, 11, 30), (60, 61, 70, 88)
CATEGORIES = [{"id": number, "name": f"c{number}", "isthing": int(number >= 60)} for number in (*STUFF, *THINGS)]
PICTURE_SIZE = 480, 640
TRACK_SIZE = 360, 640
TRACK_CLASSES = 4, 13, 78, 2, 5
Track = tuple[int, float, list[dict[str, Any] | None]]


def shapes_in(size: tuple[int, int], count: int, salt: int = 0, first: int = 0) -> list[MovingShape]:
    """Shapes that move over pictures of a size (height, width)."""
    return [MovingShape(first + number, size, salt) for number in range(count)]


def write_picture(picture: np.ndarray, path: Path) -> None:
    """A grey PNG of labels [H, W] uint8, or a colour PNG of ids."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if picture.dtype != np.uint8:
        picture = np.stack([picture & 255, (picture >> 8) & 255, (picture >> 16) & 255], -1).astype(np.uint8)
    Image.fromarray(picture).save(path)


# --- panoptic and semantic --------------------------------------------------------------------------------------------


def panoptic_frame(shapes: list[MovingShape], time: int) -> Iterator[tuple[np.ndarray, Mapping[int, int]]]:
    """Ids [H, W] and the categories of ids, of the ground truth and of the prediction: things over bands of stuff."""
    height, _ = size = shapes[0].size
    truth, prediction = np.zeros(size, np.int64), np.zeros(size, np.int64)
    for band, category in enumerate(STUFF):
        start, stop = band * height // 5, (band + 1) * height // 5
        truth[start:stop] = category + 1
        prediction[start + (time + band) % 5 : stop + (time + band + 1) % 5] = 1000 + band
    truth[:20, :60] = 0
    names = {shape.number: THINGS[shape.number % 4] * 100 + shape.number for shape in shapes}
    for shape in shapes:
        shape.draw(truth, time, names[shape.number])
        shape.draw(prediction, time, 2000 + shape.number, displacement(shape.number, time))
    yield truth, {**{category + 1: category for category in STUFF}, **{name: name // 100 for name in names.values()}}
    found = {2000 + number: THINGS[(number + (number % 5 == 4)) % 4] for number in names}  # every fifth is mistaken
    yield prediction, {**{1000 + band: category for band, category in enumerate(STUFF)}, **found}


def listed(ids: np.ndarray, categories: Mapping[int, int], of_truth: bool) -> list[dict[str, int]]:
    """The segments of a picture of ids."""
    found = zip(*(column.tolist() for column in np.unique(ids, return_counts=True)), strict=True)
    extra = {"iscrowd": 0} if of_truth else {}
    return [{"id": i, "category_id": categories[i], "area": area, **extra} for i, area in found if i]


def write_panoptic_videos(root: Path, size: tuple[int, int] = SIZE, frames: int = 20, videos: int = 2) -> None:
    """Videos in the layout of VIPSeg."""
    lists: list[list[dict[str, Any]]] = [[], []]
    for video in range(videos):
        shapes, name = shapes_in(size, 8, salt=video), f"speed_{video}"
        annotations: list[list[dict[str, Any]]] = [[], []]
        for time in range(frames):
            file = f"{time:08d}.png"
            for side, (ids, categories) in enumerate(panoptic_frame(shapes, time)):
                write_picture(ids, root / ("gt/panomasksRGB", "pred/pan_pred")[side] / name / file)
                annotations[side].append({"segments_info": listed(ids, categories, side == 0), "file_name": file})
        for side in (0, 1):
            lists[side].append({"video_id": name, "annotations": annotations[side]})
    write_json(root / "gt/panoptic_gt.json", {"categories": CATEGORIES, "annotations": lists[0]})
    write_json(root / "pred/pred.json", {"annotations": lists[1]})


def write_panoptic_pictures(root: Path, size: tuple[int, int] = PICTURE_SIZE, pictures: int = 40) -> None:
    """Pictures in the layout of COCO panoptic."""
    lists: list[list[dict[str, Any]]] = [[], []]
    for picture in range(pictures):
        file = f"{picture:06d}.png"
        for side, (ids, categories) in enumerate(panoptic_frame(shapes_in(size, 10, salt=picture), picture)):
            write_picture(ids, root / ("gt", "pred")[side] / "panoptic" / file)
            segments = listed(ids, categories, side == 0)
            lists[side].append({"image_id": picture, "file_name": file, "segments_info": segments})
    write_json(root / "gt/panoptic.json", {"categories": CATEGORIES, "annotations": lists[0]})
    write_json(root / "pred/panoptic.json", {"annotations": lists[1]})


def write_semantic_video(root: Path, size: tuple[int, int] = SIZE, frames: int = 30) -> None:
    """A video in the layout of VSPW."""
    for time in range(frames):
        truth, prediction = np.full(size, 20, np.uint8), np.full(size, 19, np.uint8)
        for shape in shapes_in(size, 12):
            shape.draw(truth, time // 3, 2 + shape.number * 9)
            shape.draw(prediction, time // 3, 1 + shape.number * 9, displacement(shape.number, time // 2))
        truth[:15], truth[-10:] = 0, 255
        write_picture(truth, root / f"gt/data/speed/mask/{time:08d}.png")
        write_picture(prediction, root / f"pred/speed/{time:08d}.png")
    write_text(root / "gt/val.txt", "speed\n")


# --- tracks -----------------------------------------------------------------------------------------------------------


def track(category: int, score: float, frames: int, draw: Callable[[np.ndarray, int], None]) -> Track:
    """A track of masks, each run-length coded or None."""
    masks: list[dict[str, Any] | None] = []
    for time in range(frames):
        picture = np.zeros(TRACK_SIZE, np.uint8)
        draw(picture, time)
        code = coco_mask.encode(np.asfortranarray(picture))
        masks.append({"size": list(TRACK_SIZE), "counts": code["counts"].decode()} if picture.any() else None)
    return category, score, masks


def video_of_tracks(video: int, frames: int) -> tuple[list[Track], list[Track]]:
    """True tracks, and predicted ones: one near each true one, one farther off, and two of nothing."""
    truth, prediction = [], []
    for shape in shapes_in(TRACK_SIZE, 5, salt=video):
        number, category = shape.number, (shape.number + video) % 5

        def true(picture: np.ndarray, time: int, shape: MovingShape = shape) -> None:
            if (time + shape.number) % 11:
                shape.draw(picture, time, 1)

        def near(picture: np.ndarray, time: int, shape: MovingShape = shape) -> None:
            if (time + 2 * shape.number) % 13:
                shape.draw(picture, time, 1, displacement(shape.number, time))

        def far(picture: np.ndarray, time: int, shape: MovingShape = shape) -> None:
            down, right, wider = displacement(shape.number, time)
            shape.draw(picture, time, 1, (3 * down, 3 * right, 2 * wider))

        truth.append(track(category, 1.0, frames, true))
        prediction.append(track(category, ((number * 37 + video * 11) % 100) / 100, frames, near))
        prediction.append(track(category, ((number * 53 + video * 7) % 100) / 200, frames, far))
    for number, shape in enumerate(shapes_in(TRACK_SIZE, 2, salt=video, first=200)):
        score = ((number * 29 + video * 3) % 100) / 100
        drawn = track((number * 3 + video) % 5, score, frames, lambda p, t, shape=shape: shape.draw(p, t, 1))
        prediction.append(drawn)
    return truth, prediction


def write_instance_tracks(root: Path, frames: int = 20, videos: int = 50) -> None:
    """Videos in the layout of YouTube-VIS."""
    height, width = TRACK_SIZE
    truth: dict[str, list[Any]] = {"videos": [], "annotations": []}
    truth["categories"] = [{"id": number, "name": f"c{number - 1}"} for number in range(1, 6)]
    results = []
    for video in range(1, videos + 1):
        about = {"id": video, "height": height, "width": width, "length": frames}
        truth["videos"].append({**about, "file_names": [f"{video}/{time:05d}.jpg" for time in range(frames)]})
        true, predicted = video_of_tracks(video - 1, frames)
        for category, _, masks in true:
            areas = [int(coco_mask.area(mask)) if mask else None for mask in masks]
            boxes = [[0, 0, 1, 1] if mask else None for mask in masks]
            entry = {"id": len(truth["annotations"]) + 1, "video_id": video, "category_id": category + 1, "iscrowd": 0}
            entry |= {"height": height, "width": width, "segmentations": masks, "areas": areas, "bboxes": boxes}
            truth["annotations"].append(entry)
        for category, score, masks in predicted:
            results.append({"video_id": video, "category_id": category + 1, "score": score, "segmentations": masks})
    write_json(root / "gt/instances.json", truth)
    write_json(root / "pred/results.json", results)


def write_many_tracks(root: Path, frames: int = 20, videos: int = 12) -> None:
    """Videos in the layout of BURST."""
    height, width = TRACK_SIZE
    names = [f"frame{time:04d}.jpg" for time in range(frames)]
    lists: list[list[dict[str, Any]]] = [[], []]
    for video in range(videos):
        about = {"width": width, "height": height, "id": video + 1, "seq_name": f"s{video}", "dataset": "HACS"}
        about |= {"annotated_image_paths": names, "all_image_paths": names}
        about |= {"neg_category_ids": [4], "not_exhaustive_category_ids": []}
        for side, tracks in enumerate(video_of_tracks(video, frames)):
            seen: list[dict[str, Any]] = [{} for _ in names]
            for number, (_, score, masks) in enumerate(tracks, 1):
                for frame, mask in zip(seen, masks, strict=True):
                    if mask:
                        frame[str(number)] = {"rle": mask["counts"], "score": score}
            kinds = {str(number): TRACK_CLASSES[category] for number, (category, *_) in enumerate(tracks, 1)}
            lists[side].append({**about, "track_category_ids": kinds, "segmentations": seen})
    write_json(root / "gt/all_classes.json", {"sequences": lists[0], "categories": [], "split": "val"})
    write_json(root / "pred/results.json", {"sequences": lists[1], "split": "val"})

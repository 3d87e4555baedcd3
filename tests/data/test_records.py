"""Masks of records: run-length codes, polygons, id pictures, palettes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from univs.data.formats.records import decode_segmentation, frame_objects
from univs.data.picture_store import PictureStore
from univs.errors import UserError

from .tiny import save_palette

SIZE = (10, 12)


def rectangle() -> np.ndarray:
    mask = np.zeros(SIZE, bool)
    mask[2:6, 3:9] = True
    return mask


def uncompressed(mask: np.ndarray) -> dict:
    """Run lengths in column order, beginning with the zeros."""
    flat = mask.T.reshape(-1)
    edges = np.flatnonzero(np.diff(flat.astype(int))) + 1
    return {"size": list(mask.shape), "counts": np.diff([0, *edges, flat.size]).tolist()}


@pytest.mark.parametrize(
    "segmentation",
    [
        coco_mask.encode(np.asfortranarray(rectangle().astype(np.uint8))),
        uncompressed(rectangle()),
        [[3, 2, 9, 2, 9, 6, 3, 6], [1, 1, 5, 5]],
    ],
    ids=["compressed", "uncompressed", "polygons"],
)
def test_every_form_of_segmentation_gives_the_mask(segmentation: object) -> None:
    np.testing.assert_array_equal(decode_segmentation(segmentation, SIZE), rectangle())


def test_lines_enclose_nothing() -> None:
    assert not decode_segmentation([[1, 1, 8, 8]], SIZE).any()


def test_annotations_come_by_id_without_groups() -> None:
    code = coco_mask.encode(np.asfortranarray(rectangle().astype(np.uint8)))
    items = [
        {"id": 7, "category_id": 3, "segmentation": code, "expressions": ["it"]},
        {"id": 8, "category_id": 3, "segmentation": code, "iscrowd": 1},
    ]
    record = {"height": SIZE[0], "width": SIZE[1], "annotations": [[], items]}
    assert frame_objects(record, 0, PictureStore()) == {}
    found = frame_objects(record, 1, PictureStore())
    assert list(found) == [7] and found[7].category_id == 3 and found[7].expressions == ("it",)


def test_colours_of_id_pictures_are_numbers(tmp_path: Path) -> None:
    colours = np.zeros((*SIZE, 3), np.uint8)
    colours[rectangle()] = (5, 2, 1)
    Image.fromarray(colours).save(tmp_path / "ids.png")
    record = {
        "panoptic_file_names": [str(tmp_path / "ids.png")],
        "annotations": [[{"id": 4, "segment_id": 5 + 2 * 256 + 65536, "category_id": 9}]],
    }
    np.testing.assert_array_equal(frame_objects(record, 0, PictureStore())[4].mask, rectangle())


def test_palette_values_are_objects_and_255_is_unknown(tmp_path: Path) -> None:
    ids = np.zeros(SIZE, np.uint8)
    ids[rectangle()], ids[9] = 3, 255
    save_palette(tmp_path / "ids.png", ids)
    record = {"mask_file_names": [str(tmp_path / "ids.png"), None], "objects": {3: {"categories": ["cup"]}}}
    found = frame_objects(record, 0, PictureStore())
    assert list(found) == [3] and found[3].categories == ("cup",)
    np.testing.assert_array_equal(found[3].mask, rectangle())
    assert frame_objects(record, 1, PictureStore()) == {}


def test_two_valued_masks_have_one_object(tmp_path: Path) -> None:
    save_palette(tmp_path / "ids.png", rectangle().astype(np.uint8) * 255)
    record = {"mask_file_names": [str(tmp_path / "ids.png")], "objects": {}}
    found = frame_objects(record, 0, PictureStore())
    np.testing.assert_array_equal(found[1].mask, rectangle())


def test_a_coloured_mask_is_refused(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((*SIZE, 3), np.uint8)).save(tmp_path / "ids.png")
    record = {"mask_file_names": [str(tmp_path / "ids.png")], "objects": {}}
    with pytest.raises(UserError, match="palette"):
        frame_objects(record, 0, PictureStore())


def test_the_store_forgets_what_it_has_no_room_for(tmp_path: Path) -> None:
    paths = [tmp_path / f"{number}.png" for number in range(3)]
    for number, path in enumerate(paths):
        save_palette(path, np.full((10, 10), number, np.uint8))
    store = PictureStore(limit_bytes=200)
    store.preload((), paths)
    first = store.mask(paths[2])
    assert store.mask(paths[2]) is first and not first.flags.writeable
    assert store.mask(paths[0]).max() == 0
    paths[1].unlink()
    with pytest.raises(UserError, match="missing"):
        store.mask(paths[1])

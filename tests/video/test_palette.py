"""Masks as pictures: written and read value by value."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from univs.errors import UserError
from univs.video import read_palette_mask, write_palette_mask
from univs.video.palette import mask_palette


def ids(*values: int) -> np.ndarray:
    out = np.zeros((6, 8), np.uint16)
    for row, value in enumerate(values):
        out[row, 2:5] = value
    return out


def test_the_palette_is_the_published_one() -> None:
    first = [(0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0), (0, 0, 128), (128, 0, 128), (0, 128, 128)]
    assert [tuple(colour) for colour in mask_palette()[:7].tolist()] == first
    assert mask_palette()[[8, 9, 255]].tolist() == [[64, 0, 0], [192, 0, 0], [224, 224, 192]]


@pytest.mark.parametrize("values", [(1,), (1, 2, 5), (255, 3)])
def test_palette_masks_come_back(values: tuple[int, ...], tmp_path: Path) -> None:
    write_palette_mask(tmp_path / "a.png", ids(*values))
    with Image.open(tmp_path / "a.png") as image:
        assert image.mode == "P"
        assert tuple(np.asarray(image.convert("RGB"))[0, 3]) == tuple(mask_palette()[values[0]])
    read = read_palette_mask(str(tmp_path / "a.png"))
    assert read.dtype == np.uint8 and (read == ids(*values)).all()


def test_ids_above_255_need_sixteen_bits(tmp_path: Path) -> None:
    write_palette_mask(tmp_path / "a.png", ids(3, 300, 60000))
    read = read_palette_mask(tmp_path / "a.png")
    assert read.dtype == np.uint16 and (read == ids(3, 300, 60000)).all()


@pytest.mark.parametrize("mode", ["L", "1", "RGB"])
def test_black_and_white_is_one_object(mode: str, tmp_path: Path) -> None:
    Image.fromarray((ids(1) * 255).astype(np.uint8)).convert(mode).save(tmp_path / "a.png")
    assert (read_palette_mask(tmp_path / "a.png") == ids(1)).all()


def test_grey_values_are_ids(tmp_path: Path) -> None:
    Image.fromarray(ids(1, 4, 200).astype(np.uint8)).save(tmp_path / "a.png")
    assert (read_palette_mask(tmp_path / "a.png") == ids(1, 4, 200)).all()


def photo(path: Path) -> None:
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (30, 40), np.uint8)).save(path)


def jpeg(path: Path) -> None:
    Image.fromarray(ids(1).astype(np.uint8)).save(path, format="JPEG")


def colours(path: Path) -> None:
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (30, 40, 3), np.uint8)).save(path)


WRONG = {
    "missing": (lambda path: None, "There is no mask"),
    "no picture": (lambda path: path.write_bytes(b"nothing"), "cannot be read as a mask"),
    "jpeg": (
        lambda path: Image.fromarray(ids(1).astype(np.uint8)).save(path, format="JPEG"),
        "cannot be read as a mask",
    ),
    "photo": (photo, "a photo, not a mask"),
    "colours": (colours, "is a colour picture"),
    "empty": (lambda path: write_palette_mask(path, ids()), "holds no object"),
}


@pytest.mark.parametrize("case", WRONG)
def test_one_sentence_says_what_is_wrong(case: str, tmp_path: Path) -> None:
    make, message = WRONG[case]
    make(tmp_path / "a.png")
    with pytest.raises(UserError, match=message):
        read_palette_mask(tmp_path / "a.png")


def test_a_mask_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(UserError, match="cannot be written"):
        write_palette_mask(tmp_path / "file" / "a.png", ids(1))
    assert [path.name for path in tmp_path.iterdir()] == ["file"]

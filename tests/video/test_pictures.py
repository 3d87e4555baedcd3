"""Folders, globs and lists of pictures; every kind of pixel becomes RGB bytes."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.video.media import SIZE, number_of, picture, write_video
from univs.errors import UserError
from univs.video import LostFrame, LostFrameError, LostFrameWarning, open_video
from univs.video.images import natural_key, read_picture, unique_names

BLUE = np.array((40, 80, 120), np.uint8)


def write_folder(folder: Path, names: list[str]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(names):
        Image.fromarray(picture(number)).save(folder / name)
    return folder


def test_a_folder_is_read_in_natural_order_whatever_its_names(tmp_path: Path) -> None:
    names = ["Take1_frame9.png", "take1_frame10.PNG", "take2 frame1.jpg", "take10.bmp"]
    folder = write_folder(tmp_path / "frames", names)
    (folder / "notes.txt").write_text("not a frame")
    (folder / ".hidden.png").write_bytes(b"")
    (folder / "sub.png").mkdir()
    video = open_video(str(folder))
    assert (len(video), video.size, video.rate) == (4, SIZE, 24)
    assert video.names == ["Take1_frame9", "take1_frame10", "take2 frame1", "take10"]
    assert [number_of(frame) for frame in video] == [0, 1, 2, 3]
    assert number_of(video.frame(2)) == 2
    assert open_video(folder, rate=10).time(3) == pytest.approx(0.3)


def test_natural_order() -> None:
    names = ["b1", "a10", "a2", "A1", "a", "10", "9", "a2b", "a02"]
    assert sorted(names, key=natural_key) == ["9", "10", "a", "A1", "a02", "a2", "a2b", "a10", "b1"]


@pytest.mark.parametrize(
    ("files", "names"),
    [
        (["x/1.png", "x/2.png"], ["1", "2"]),
        (["x/a.png", "x/a.jpg"], ["a.png", "a.jpg"]),
        (["x/A.png", "x/a.png"], ["00000", "00001"]),
        (["x/1.png", "y/1.png"], ["00000", "00001"]),
    ],
)
def test_result_names_never_collide(files: list[str], names: list[str]) -> None:
    assert unique_names([Path(name) for name in files]) == names


def test_a_glob_and_a_list_of_paths(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "frames", ["a1.png", "b1.png", "a2.png", "a10.png"])
    assert open_video(f"{folder}/a*.png").names == ["a1", "a2", "a10"]
    chosen = open_video([folder / "b1.png", str(folder / "a1.png")])
    assert [number_of(frame) for frame in chosen] == [1, 0]


def test_a_glob_may_name_one_video(tmp_path: Path) -> None:
    write_video(tmp_path / "clip.mp4")
    assert len(open_video(str(tmp_path / "*.mp4"))) == 12


def test_a_name_with_brackets_is_a_name_first(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "take[1]", ["a.png"])
    assert len(open_video(str(folder))) == 1


def test_one_picture_is_a_video_of_one_frame(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, ["photo.jpg"])
    video = open_video(folder / "photo.jpg")
    assert (len(video), video.names, video.size) == (1, ["photo"], SIZE)


def test_a_still_gif_is_a_picture_and_a_moving_one_a_video(tmp_path: Path) -> None:
    write_folder(tmp_path, ["still.gif"])
    assert len(open_video(tmp_path / "still.gif")) == 1
    assert len(open_video(write_video(tmp_path / "moving.gif", "gif", "rgb8"))) == 12


def save(path: Path, pixels: np.ndarray, mode: str | None = None, **options: object) -> Path:
    image = Image.fromarray(pixels)
    (image.convert(mode) if mode else image).save(path, **options)
    return path


def half_clear() -> np.ndarray:
    rgba = np.dstack([picture(0), np.full(SIZE, 255, np.uint8)])
    rgba[:, :32, 3] = 0
    rgba[0, 63, 3] = 128
    return rgba


def test_transparent_pixels_are_black(tmp_path: Path) -> None:
    frame = read_picture(save(tmp_path / "a.png", half_clear()))
    assert frame[:, :32].max() == 0
    assert (frame[2, 60] == BLUE).all() and (frame[0, 63] == BLUE // 2).all()


def test_a_palette_with_a_transparent_colour(tmp_path: Path) -> None:
    image = Image.fromarray(np.zeros(SIZE, np.uint8)).convert("P")
    image.putpalette([200, 10, 10, 5, 6, 7])
    image.putpixel((3, 4), 1)
    image.save(tmp_path / "a.png", transparency=0)
    frame = read_picture(tmp_path / "a.png")
    assert (frame[4, 3] == (5, 6, 7)).all() and frame.sum() == 18


@pytest.mark.parametrize("mode", ["L", "1", "P", "CMYK", "YCbCr", "LA"])
def test_other_colour_models(mode: str, tmp_path: Path) -> None:
    if mode in ("CMYK", "YCbCr"):
        # Pillow 12.3, the last one for Python 3.10, cannot read the uncompressed YCbCr that it writes
        path = save(tmp_path / "a.tif", picture(5), mode, compression="tiff_lzw")
    else:
        path = save(tmp_path / "a.png", picture(5), mode)
    frame = read_picture(path)
    assert frame.shape == (*SIZE, 3) and frame.dtype == np.uint8
    assert number_of(frame) == 5


def test_sixteen_bits_keep_their_upper_byte(tmp_path: Path) -> None:
    deep = (np.arange(48 * 64).reshape(SIZE) * 20).astype(np.uint16)
    frame = read_picture(save(tmp_path / "a.png", deep))
    assert (frame == (deep >> 8)[:, :, None]).all()


def test_sixteen_bit_colours(tmp_path: Path) -> None:
    deep = np.repeat(picture(3).astype(">u2") * 257, 1, axis=2)
    rows = b"".join(b"\0" + row.tobytes() for row in deep)
    header = struct.pack(">IIBBBBB", SIZE[1], SIZE[0], 16, 2, 0, 0, 0)
    (tmp_path / "a.png").write_bytes(png(header, rows))
    assert (read_picture(tmp_path / "a.png") == picture(3)).all()


def png(header: bytes, rows: bytes) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    chunks = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(orientation: int, tmp_path: Path) -> None:
    turns = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.transpose(1, 0, 2),
        6: lambda a: np.rot90(a, 1),
        7: lambda a: np.rot90(a[::-1, ::-1].transpose(1, 0, 2), 0),
        8: lambda a: np.rot90(a, -1),
    }
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = save(tmp_path / "a.png", np.ascontiguousarray(turns[orientation](picture(5))), exif=exif)
    video = open_video(path)
    assert video.size == SIZE
    assert (video.frame(0) == picture(5)).all()


def test_a_damaged_picture_is_a_lost_frame(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "frames", [f"{number}.jpg" for number in range(5)])
    for number, kept in ((1, 400), (3, 0)):
        (folder / f"{number}.jpg").write_bytes((folder / f"{number}.jpg").read_bytes()[:kept])
    video = open_video(folder)
    with pytest.warns(LostFrameWarning, match="Frame [13] is lost"):
        frames = list(video)
    assert [isinstance(frame, LostFrame) for frame in frames] == [False, True, False, True, False]
    with pytest.raises(LostFrameError, match="3.jpg"):
        video.frame(3)


def empty_folder(folder: Path) -> Path:
    (folder / "clip.mp4").write_bytes(b"")
    return folder


def two_sizes(folder: Path) -> Path:
    write_folder(folder, ["a.png"])
    save(folder / "b.png", picture(0, 40, 64))
    return folder


def absurd_size(folder: Path, side: int) -> Path:
    (folder / "a.png").write_bytes(png(struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0), b""))
    return folder


def floating_point(folder: Path) -> Path:
    save(folder / "a.tif", np.zeros(SIZE, np.float32))
    return folder


REFUSED = {
    "empty folder": (empty_folder, "holds no pictures"),
    "two sizes": (two_sizes, r"a.png has 64x48 pixels and .*b.png has 64x40"),
    "large": (lambda folder: absurd_size(folder, 12000), "12000x12000 pixels"),
    "huge": (lambda folder: absurd_size(folder, 60000), "pixels"),
    "nothing readable": (lambda folder: absurd_size(folder, 0), "None of the 1 pictures can be read"),
    "no match": (lambda folder: folder / "*.png", "No picture matches"),
    "missing": (lambda folder: [folder / "a.png"], "There is no picture .*a.png"),
}


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("case", REFUSED)
def test_one_sentence_says_what_is_wrong(case: str, tmp_path: Path) -> None:
    make, message = REFUSED[case]
    source = make(tmp_path)
    with pytest.raises(UserError, match=message):
        open_video(source if isinstance(source, list) else str(source))


def test_floating_point_pictures_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(LostFrameError, match="floating-point"):
        open_video(floating_point(tmp_path)).frame(0)


def test_a_program_in_a_picture_is_not_run(tmp_path: Path) -> None:
    """Pillow gives PostScript to an interpreter; whatever the file is called, it must not get there."""
    (tmp_path / "a.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 48\n\xff\n%%EOF\n")
    with pytest.raises(UserError, match="can be read"):
        open_video(tmp_path / "a.png")


def test_an_animated_webp_is_refused(tmp_path: Path) -> None:
    frames = [Image.fromarray(picture(number)) for number in range(3)]
    frames[0].save(tmp_path / "a.webp", save_all=True, append_images=frames[1:])
    with pytest.raises(UserError, match="animated WebP"):
        open_video(tmp_path / "a.webp")


@pytest.mark.parametrize("rate", [0, -1, float("nan"), 5000])
def test_impossible_rates_are_refused(rate: float, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="frame rate"):
        open_video(write_folder(tmp_path, ["a.png"]), rate=rate)

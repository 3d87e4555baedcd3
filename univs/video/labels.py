"""Small name plates on a picture."""

from __future__ import annotations

from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

SMALLEST_FONT = 9
WIDEST_SHARE = 0.6
"""A plate may cover this share of the picture's width; a shorter text is taken otherwise."""

TALLEST_SHARE = 0.25


EAST_ASIAN_FONTS = (
    *("NotoSansCJK-Bold.ttc", "NotoSansCJK-Regular.ttc", "wqy-zenhei.ttc", "DroidSansFallbackFull.ttf"),
    *("PingFang.ttc", "Hiragino Sans GB.ttc", "AppleSDGothicNeo.ttc", "msyhbd.ttc", "msyh.ttc", "malgun.ttf"),
)
"""Files of the system's own fonts to look for when a name has letters that the usual font has not."""

Font = ImageFont.ImageFont | ImageFont.FreeTypeFont


def font_for(text: str, size: int) -> Font:
    """The usual font of ``size`` pixels, or one of the system's that knows more letters where ``text`` needs them."""
    if text.isascii() or not any(_is_missing(letter, size) for letter in text):
        return usual_font(size)
    return east_asian_font(size) or usual_font(size)


@lru_cache(maxsize=8)
def east_asian_font(size: int) -> Font | None:
    """The first of EAST_ASIAN_FONTS that this system has."""
    for name in EAST_ASIAN_FONTS:
        try:
            return ImageFont.truetype(name, size)
        except OSError:
            continue
    return None


@lru_cache(maxsize=4096)
def _is_missing(letter: str, size: int) -> bool:
    """Whether the usual font draws its mark for unknown letters."""
    font = usual_font(size)
    return not letter.isspace() and bytes(font.getmask(letter)) == bytes(font.getmask("\uffff"))


@lru_cache(maxsize=8)
def usual_font(size: int) -> Font:
    """DejaVu, which Matplotlib carries and which knows most alphabets, or Pillow's own."""
    matplotlib = find_spec("matplotlib")
    if matplotlib and matplotlib.origin:
        path = Path(matplotlib.origin).parent / "mpl-data/fonts/ttf/DejaVuSans-Bold.ttf"
        if path.is_file():
            return ImageFont.truetype(str(path), size)
    return ImageFont.load_default(size)


@lru_cache(maxsize=512)
def plate(text: str, size: int, colour: tuple[int, int, int]) -> np.ndarray:
    """A name plate [h, w, 4] uint8 RGBA: rounded, in the object's colour, the text black or white, whichever reads."""
    font = font_for(text, size)
    left, _, right, _ = font.getbbox(text)
    margin = max(round(size * 0.3), 1)
    ascent, descent = font.getbbox("Hg")[1::2]
    width, height = int(right - left) + 2 * margin, int(descent - ascent) + 2 * margin
    image = Image.new("RGBA", (width, height), (0, 0, 0, 0))
    canvas = ImageDraw.Draw(image)
    canvas.rounded_rectangle((0, 0, width - 1, height - 1), radius=margin, fill=(*colour, 235))
    luminance = 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2]
    ink = (20, 20, 20, 255) if luminance > 120 else (255, 255, 255, 255)
    canvas.text((margin - left, margin - ascent), text, font=font, fill=ink)
    return np.asarray(image)


Box = tuple[int, int, int, int]
"""x, y, width, height in pixels."""


class LabelLayout:
    """Puts plates on one picture [H, W, 3] uint8: inside it, off each other and, where there is room, off objects."""

    def __init__(self, picture: np.ndarray, scale: float, objects: list[Box]) -> None:
        self._picture = picture
        self._size = max(round(14 * scale), SMALLEST_FONT)
        self._objects = objects
        self._plates: list[Box] = []

    def add(self, texts: list[str], colour: tuple[int, int, int], box: Box) -> None:
        """Label the object with bounding ``box`` with the first of ``texts`` that has room."""
        height, width = self._picture.shape[:2]
        for text in texts:
            image = plate(text, self._size, colour)
            if image.shape[1] <= WIDEST_SHARE * width and image.shape[0] <= TALLEST_SHARE * height:
                self._put(image, self._place(image.shape[1], image.shape[0], box))
                return

    def _place(self, wide: int, tall: int, box: Box) -> Box:
        """Above the object, else below it, else inside: the first place that covers least."""
        height, width = self._picture.shape[:2]
        x = min(max(box[0], 0), width - wide)
        rows = (box[1] - tall - 1, box[1] + box[3] + 1, box[1] + 1)
        places = [(x, y, wide, tall) for y in rows if 0 <= y <= height - tall]
        places = places or [(x, min(max(rows[2], 0), height - tall), wide, tall)]
        return min(places, key=lambda place: self._covered(place, box))

    def _covered(self, place: Box, own: Box) -> float:
        others = sum(_overlap(place, box) for box in self._objects if box != own)
        # Two plates on one spot cannot be read at all; a plate on its own object hides what it names.
        return others + 10 * sum(_overlap(place, taken) for taken in self._plates) + 0.5 * _overlap(place, own)

    def _put(self, image: np.ndarray, place: Box) -> None:
        self._plates.append(place)
        x, y, wide, tall = place
        area = self._picture[y : y + tall, x : x + wide]
        alpha = image[:, :, 3:].astype(np.uint16)
        area[...] = (image[:, :, :3] * alpha + area * (255 - alpha) + 127) // 255


def _overlap(one: Box, other: Box) -> int:
    """Pixels that two boxes share."""
    wide = min(one[0] + one[2], other[0] + other[2]) - max(one[0], other[0])
    tall = min(one[1] + one[3], other[1] + other[3]) - max(one[1], other[1])
    return max(wide, 0) * max(tall, 0)

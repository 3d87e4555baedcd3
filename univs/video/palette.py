"""Colours by object id, and masks as palette pictures: a pixel holds the id of its object, 0 is background."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image

from univs.errors import UserError
from univs.video.files import written_whole
from univs.video.images import DAMAGE, open_picture

MAX_PALETTE_ID = 255
MAX_MASK_OBJECTS = 128
"""A picture with more values than this is a photo, not a mask."""

BRIGHT_COLOURS = (
    (230, 55, 55),
    (70, 205, 75),
    (245, 205, 45),
    (75, 120, 255),
    (230, 80, 235),
    (45, 215, 225),
    (255, 140, 40),
)
"""Overlay colours of the first objects: the palette's hues, bright enough to be seen on film; orange for its grey."""

GOLDEN_RATIO = 0.618034


@lru_cache(maxsize=1)
def mask_palette() -> np.ndarray:
    """The palette in which masks are published, [256, 3] uint8 RGB: the bits of an id are the high bits of colours."""
    ids = np.arange(256)
    colours = np.zeros((256, 3), np.uint8)
    for bit in range(8):
        for channel in range(3):
            colours[:, channel] |= (((ids >> (3 * bit + channel)) & 1) << (7 - bit)).astype(np.uint8)
    return colours


@lru_cache(maxsize=4096)
def object_colour(object_id: int) -> tuple[int, int, int]:
    """The colour (RGB, 0..255) in which an object is drawn: the same in every frame, run and program."""
    place = object_id - 1
    if 0 <= place < len(BRIGHT_COLOURS):
        return BRIGHT_COLOURS[place]
    # Hues by golden section stay far apart however many there are; three shades tell close ones apart.
    saturation, value = ((0.55, 1.0), (0.9, 0.8), (0.75, 0.6))[object_id % 3]
    return _from_hsv(object_id * GOLDEN_RATIO % 1, saturation, value)


def _from_hsv(hue: float, saturation: float, value: float) -> tuple[int, int, int]:
    ramps = [min(max(abs((hue * 6 + shift) % 6 - 3) - 1, 0), 1) for shift in (0, 4, 2)]
    red, green, blue = (round(255 * value * (1 - saturation * (1 - ramp))) for ramp in ramps)
    return red, green, blue


def write_palette_mask(path: Path, ids: np.ndarray) -> None:
    """Write an id map [H, W] as a palette PNG; with ids above 255 as a 16-bit grey PNG of the same values.

    Raises:
        UserError: the file cannot be written.
    """
    if ids.max(initial=0) <= MAX_PALETTE_ID:
        image = Image.fromarray(ids.astype(np.uint8))
        image.putpalette(mask_palette().tobytes())
    else:
        image = Image.fromarray(ids.astype(np.uint16))
    with written_whole(path) as partial:
        image.save(partial, format="PNG", compress_level=3)


def read_palette_mask(path: str | Path) -> np.ndarray:
    """Read a mask picture as an id map [H, W] of uint8 (uint16 for 16-bit pictures); 0 is background.

    Palette and grey PNGs are taken value by value. A black-and-white picture is one object with id 1.

    Raises:
        UserError: no such file, not a PNG, a photo, a colour picture without palette, or no object in it.
    """
    try:
        with open_picture(Path(path), ("PNG",)) as image:
            mode, ids = image.mode, np.asarray(image)
    except FileNotFoundError as error:
        raise UserError(f"There is no mask {path}; check the path.") from error
    except UserError:
        raise
    except DAMAGE as error:
        raise UserError(f"{path} cannot be read as a mask: give a PNG, best with a palette.") from error
    return _checked_ids(ids, mode, path)


def _checked_ids(ids: np.ndarray, mode: str, path: str | Path) -> np.ndarray:
    if ids.ndim == 3 and ids.shape[2] >= 3 and (ids[:, :, :1] == ids[:, :, 1:3]).all():
        ids, mode = ids[:, :, 0], "L"
    if ids.ndim != 2:
        raise UserError(f"{path} is a colour picture; save the mask with a palette or in grey, one value per object.")
    values = np.unique(ids)
    if len(values) > MAX_MASK_OBJECTS + 1 or values[-1] > 65535:
        raise UserError(f"{path} holds {len(values)} different values: a photo, not a mask; give one value per object.")
    if values[-1] == 0:
        raise UserError(f"{path} holds no object: all of its pixels are 0; paint at least one object.")
    if mode != "P" and len(values) <= 2 and values[-1] in (True, 255, 65535):
        return (ids > 0).astype(np.uint8)
    return ids.astype(np.uint8 if values[-1] <= MAX_PALETTE_ID else np.uint16)

"""Folders of label pictures: one folder per video, one PNG per frame whose values are the ids of objects.

What cannot be scored is said in one sentence with the file, the frame and what was expected.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image
from pycocotools import mask as mask_codes

from univs.errors import UserError
from univs.evaluation.annotations import read_json
from univs.evaluation.benchmark import BrokenSequence
from univs.evaluation.metrics.run_lengths import decoded_pixels
from univs.video.images import DAMAGE, open_picture

LABEL_MODES = ("P", "L", "1", "I", "I;16", "I;16B", "I;16L", "I;16N")
"""Kinds of pictures with one whole number per pixel."""

COLOUR_MODES = ("RGB", "RGBA", "CMYK", "YCbCr", "HSV", "LAB")
LISTED_AT_MOST = 5


def folder(path: Path, what: str) -> Path:
    """``path`` if it is a folder.

    Raises:
        UserError: it is none; ``what`` says what should be there.
    """
    if not path.is_dir():
        raise UserError(f"{path} is no folder; expected there: {what}.")
    return path


def first_folder(root: Path, candidates: Sequence[str], what: str) -> Path:
    """The first of the folders below ``root`` that is there ("" is the root itself).

    Raises:
        UserError: none of them is there.
    """
    for name in candidates:
        if (root / name).is_dir():
            return root / name
    names = " or ".join(str(root / name) for name in candidates)
    raise UserError(f"Neither {names} is a folder; expected there: {what}.")


def folders_in(root: Path) -> list[str]:
    """Names of the folders in ``root``, sorted; hidden ones are left out."""
    return sorted(entry.name for entry in root.iterdir() if entry.is_dir() and not entry.name.startswith("."))


def frames_in(video: Path) -> list[str]:
    """Names of a video's frames, sorted: its PNG files without their ending.

    Raises:
        BrokenSequence: no folder, or no PNG in it.
    """
    frames = sorted(entry.name for entry in video.glob("*.png") if not entry.name.startswith("."))
    if not frames:
        state = "holds no PNG" if video.is_dir() else "is not there"
        raise BrokenSequence(f"{video} {state}; expected one label picture per frame, FRAME.png.")
    return [name[: -len(".png")] for name in frames]


def lines_of(path: Path) -> list[str]:
    """The non-empty lines of a text file.

    Raises:
        UserError: it cannot be read.
    """
    try:
        return [line.strip() for line in path.read_text().splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read: expected a list of sequence names, one a line.") from error


def json_file(path: Path) -> dict[str, Any]:
    """Content of a JSON file that holds an object; read once and not to be changed.

    Raises:
        UserError: missing, damaged or something else inside.
    """
    try:
        changed = path.stat().st_mtime_ns
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}.") from error
    return _json_file(path, changed)


@lru_cache(maxsize=8)
def _json_file(path: Path, changed: int) -> dict[str, Any]:
    return read_json(path, dict)


def read_labels(path: Path, size: tuple[int, int] | None = None) -> np.ndarray:
    """A label picture [H, W] as it is stored: palette indices or grey values, whatever their colours.

    Args:
        path: the PNG of one frame.
        size: (height, width) that it must have.

    Raises:
        BrokenSequence: missing, damaged, cut off, in colours without palette, not of whole numbers, or another size.
    """
    labels = _labels(path, *_pixels(path))
    if size is not None and labels.shape != tuple(size):
        raise BrokenSequence(
            f"{path} (frame {path.stem}) has {labels.shape[1]}x{labels.shape[0]} pixels; expected {size[1]}x{size[0]} "
            "as in the ground truth."
        )
    return labels


def read_foreground(path: Path) -> np.ndarray:
    """Pixels [H, W] of a picture that are not black in grey, whether it has a palette or not.

    Raises:
        BrokenSequence: missing, damaged, or neither a palette nor an 8-bit grey picture.
    """
    pixels, mode = _pixels(path)
    labels = _labels(path, pixels, mode)
    if labels.dtype != np.uint8:
        raise BrokenSequence(f"{path} (frame {path.stem}) has 16 bits per pixel; expected 8.")
    if mode != "P":
        return labels != 0
    with Image.open(path) as image:
        colours = np.array(image.convert("P").getpalette("RGB") or [], np.uint8).reshape(1, -1, 3)
    bright = np.zeros(256, bool)
    bright[: colours.shape[1]] = cv2.cvtColor(colours, cv2.COLOR_RGB2GRAY)[0] > 0
    return bright[labels]


def decoded_mask(code: Any, where: str) -> np.ndarray:
    """Mask [H, W] of a run-length code as COCO writes it: ``size`` and compressed or listed ``counts``.

    Raises:
        BrokenSequence: no such code, or one that does not fill its size; ``where`` names it.
    """
    return mask_codes.decode(check_code(code, where)).view(bool)


def check_code(code: Any, where: str) -> dict[str, Any]:
    """The compressed form of a run-length code, which is safe to decode.

    Raises:
        BrokenSequence: no such code, or one that does not fill its size; ``where`` names it.
    """
    expected = "expected a run-length mask with size and counts"
    if not isinstance(code, dict) or not {"size", "counts"} <= set(code):
        raise BrokenSequence(f"{where} is no mask; {expected}.")
    size, counts = code["size"], code["counts"]
    if not (isinstance(size, list) and len(size) == 2 and all(isinstance(side, int) and side > 0 for side in size)):
        raise BrokenSequence(f"{where} has the size {size!r}; expected [height, width].")
    if isinstance(counts, list) and all(isinstance(run, int) and run >= 0 for run in counts):
        total = sum(counts)
        code = mask_codes.frPyObjects(code, *size) if total == size[0] * size[1] else code
    else:
        total = int(decoded_pixels([counts])[1][0]) if isinstance(counts, str) and counts else -1
    if total != size[0] * size[1]:
        raise BrokenSequence(f"{where} does not fill {size[1]}x{size[0]} pixels; {expected}.")
    return code


def _pixels(path: Path) -> tuple[np.ndarray, str]:
    """Values and mode of a PNG."""
    try:
        with open_picture(path, ("PNG",)) as image:
            return np.asarray(image), image.mode
    except FileNotFoundError as error:
        raise BrokenSequence(f"{path} is not there; expected the label picture of frame {path.stem}.") from error
    except UserError as error:
        raise BrokenSequence(str(error)) from error
    except DAMAGE as error:
        raise BrokenSequence(
            f"{path} (frame {path.stem}) is damaged or cut off ({error}); expected a whole PNG."
        ) from error


def _labels(path: Path, pixels: np.ndarray, mode: str) -> np.ndarray:
    if mode in COLOUR_MODES or pixels.ndim != 2:
        raise BrokenSequence(
            f"{path} (frame {path.stem}) is a colour picture ({mode}) without palette; expected one object id per "
            "pixel, as a palette or grey PNG."
        )
    if mode not in LABEL_MODES:
        raise BrokenSequence(f"{path} (frame {path.stem}) holds numbers of the kind {mode}; expected whole ids.")
    return pixels.view(np.uint8) if pixels.dtype == bool else pixels


def paired_labels(
    predictions: Path, truth: Path, frames: Sequence[str]
) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Frame by frame of a video: its name, the predicted and the true label picture [H, W] of one size.

    Raises:
        BrokenSequence: the video or a frame is missing, or cannot be compared.
    """
    if not predictions.is_dir():
        raise BrokenSequence(f"{predictions} is not there; expected a folder with the frames {_listed(frames)}.")
    for frame in frames:
        true = read_labels(truth / f"{frame}.png")
        yield frame, read_labels(predictions / f"{frame}.png", true.shape), true


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(f"{name}.png" for name in names[:LISTED_AT_MOST])
    return shown if len(names) <= LISTED_AT_MOST else f"{shown}, ... ({len(names)})"


def check_ids(labels: np.ndarray, highest: int, path: Path, why: str) -> None:
    """Raise BrokenSequence where a label picture holds an id above ``highest``; ``why`` says where that comes from."""
    found = int(labels.max(initial=0))
    if found > highest:
        known = f"ids 0 to {highest}" if highest else "nothing but 0"
        raise BrokenSequence(
            f"{path} (frame {path.stem}) holds the id {found}; expected {known}: {why}. If the picture was converted, "
            f"its palette may have been sorted anew{_palette_hint(path)}."
        )


def _palette_hint(path: Path) -> str:
    """A remark where a palette picture's colours are not those in which masks are published."""
    with Image.open(path) as image:
        if image.mode != "P":
            return ""
        colours = image.getpalette() or []
    return "" if colours[:6] == [0, 0, 0, 128, 0, 0] else f" (its colours begin with {colours[:6]})"

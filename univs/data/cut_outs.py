"""Objects cut out of stills: the actors of pseudo-videos."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .formats.stills_index import StillObject, StillPicture
from .picture_store import PictureStore

_MARGIN_PX = 2


@dataclass(frozen=True)
class CutOut:
    """image: [h, w, 3] uint8 RGB round the object. mask: [h, w] uint8, 255 on it. area: its pixels."""

    image: np.ndarray
    mask: np.ndarray
    area: int
    categories: tuple[str, ...]


class CutOutShelf:
    """All objects of some stills that can stand alone: things that are large enough and not cut off by the border."""

    def __init__(self, stills: list[StillPicture], store: PictureStore, least_fraction: float = 0.008):
        self._store = store
        self._items = [
            (picture, item)
            for picture in stills
            for item in picture.objects
            if _stands_alone(picture, item, least_fraction)
        ]
        names = [item.categories[0] for _, item in self._items]
        counts = {name: names.count(name) for name in set(names)}
        # Between one object one ticket (cats and people would fill the stage) and one category one ticket.
        weights = np.array([counts[name] ** -0.5 for name in names])
        self._shares = np.cumsum(weights) / weights.sum() if len(weights) else weights
        self._by_category = {name: [i for i, other in enumerate(names) if other == name] for name in counts}

    def __len__(self) -> int:
        return len(self._items)

    def draw(self, rng: np.random.Generator, category: str | None = None) -> CutOut:
        """A random object, of ``category`` if there is one of it."""
        same = self._by_category.get(category, []) if category is not None else []
        index = same[rng.integers(len(same))] if same else int(np.searchsorted(self._shares, rng.random()))
        return self._cut(*self._items[index])

    def _cut(self, picture: StillPicture, item: StillObject) -> CutOut:
        x0, y0, x1, y1 = item.box
        rows = slice(max(0, y0 - _MARGIN_PX), y1 + _MARGIN_PX)
        columns = slice(max(0, x0 - _MARGIN_PX), x1 + _MARGIN_PX)
        mask = self._store.mask(picture.mask_file)[rows, columns] == item.object_id
        image = self._store.image(picture.image_file)[rows, columns]
        return CutOut(image, mask.astype(np.uint8) * 255, item.area, item.categories)


def _stands_alone(picture: StillPicture, item: StillObject, least_fraction: float) -> bool:
    x0, y0, x1, y1 = item.box
    borders = (x0 <= 1) + (y0 <= 1) + (x1 >= picture.width - 1) + (y1 >= picture.height - 1)
    large = item.area >= least_fraction * picture.width * picture.height
    return item.is_thing and not item.is_crowd and large and borders <= 1

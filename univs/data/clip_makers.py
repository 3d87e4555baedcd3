"""Three ways to make a clip: a piece of annotated video, a moving still, cut-outs that move over a picture."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import cv2
import numpy as np

from .augmentation import (
    IGNORE,
    chain,
    clamp_centre,
    crop_matrix,
    elastic_motion,
    smooth_motion,
    warp,
)
from .clip_settings import ClipSettings
from .cut_outs import CutOut, CutOutShelf
from .formats.expressions import mirror_words
from .formats.palette_folders import VideoSequence
from .formats.stills_index import StillObject, StillPicture
from .picture_store import PictureStore
from .pseudo_video import Layer, paste_layers
from .sampling import following_frames

_FIRST_PASTED = 200
"""Raw ids from here on belong to pasted cut-outs; pictures of the data sets have fewer objects."""


@dataclass
class RawClip:
    """A clip before its objects are chosen.

    images: T arrays [H, W, 3] uint8 RGB. ids: T arrays [H, W] uint8 with the ids of the source, 255 unknown.
    categories and expressions: by raw id; an id without categories is nobody's target. wanted: ids that come first
    when objects are chosen. frame_indices: ascending, from 0.
    """

    images: list[np.ndarray]
    ids: list[np.ndarray]
    categories: dict[int, tuple[str, ...]]
    name: str
    source: str
    frame_indices: list[int]
    expressions: dict[int, tuple[str, ...]] = field(default_factory=dict)
    wanted: tuple[int, ...] = ()


@dataclass
class ClipMaker:
    """Makes raw clips of ``frames`` frames from a generator; keeps nothing between calls."""

    settings: ClipSettings
    frames: int
    store: PictureStore
    shelf: CutOutShelf

    def real(self, rng: np.random.Generator, sequence: VideoSequence, largest_gap: int) -> RawClip | None:
        """A piece of video, seen through a steady crop near an object. None if its first frame shows no object."""
        places = following_frames(rng, len(sequence), self.frames, largest_gap)
        masks = [self.store.mask(sequence.mask_files[place]) for place in places]
        wanted = _one_of(rng, [key for key in sequence.categories if (masks[0] == key).any()])
        if wanted is None:
            return None
        flip = self._flips(rng)
        boxes = [_box_of(mask == wanted) for mask in (masks[0], masks[-1])]
        view = self._view(rng, masks[0].shape, _between(rng, *boxes), boxes[0], flip)
        pairs = [
            warp(self.store.image(sequence.image_files[place]), mask, view, self.settings.size)
            for place, mask in zip(places, masks, strict=True)
        ]
        clip = RawClip(
            images=[image for image, _ in pairs],
            ids=[ids for _, ids in pairs],
            categories=dict(sequence.categories),
            name=sequence.name,
            source=sequence.source,
            frame_indices=[int(abs(place - places[0])) for place in places],
            expressions=_mirrored(sequence.expressions) if flip else dict(sequence.expressions),
            wanted=(wanted,),
        )
        if len(self.shelf) and rng.random() < self.settings.paste_share:
            self._cross(rng, clip, 1, sequence.categories[wanted][0])
        return clip

    def moving_still(self, rng: np.random.Generator, picture: StillPicture) -> RawClip | None:
        """A whole still under a smooth affine and elastic motion, crossed by up to two cut-outs."""
        anchor = self._anchor(rng, picture)
        if anchor is None:
            return None
        clip = self._moving_picture(rng, picture, anchor.box, strength=1.0)
        siblings = [item.object_id for item in picture.objects if item.categories[0] == anchor.categories[0]]
        same = rng.random() < self.settings.distractor_share
        clip.wanted = (anchor.object_id, *(siblings if same else ()))
        if len(self.shelf):
            self._cross(rng, clip, int(rng.integers(0, 3)), anchor.categories[0] if same else None)
        return _either_way(rng, clip)

    def moving_cut_outs(self, rng: np.random.Generator, picture: StillPicture) -> RawClip | None:
        """Two or three cut-outs that move over a picture, whose own objects are background."""
        if not len(self.shelf):
            return None
        place = rng.random(2) * (picture.width, picture.height)
        clip = self._moving_picture(rng, picture, (*place, *place), strength=0.5)
        clip.ids = [np.zeros_like(ids) for ids in clip.ids]
        clip.categories = {}
        same = rng.random() < self.settings.distractor_share
        first = self.shelf.draw(rng)
        others = [self.shelf.draw(rng, first.categories[0] if same else None) for _ in range(int(rng.integers(1, 3)))]
        actors = [first, *others]
        layers = [self._actor(rng, actor, _FIRST_PASTED + i) for i, actor in enumerate(actors)]
        clip.categories = {_FIRST_PASTED + i: actor.categories for i, actor in enumerate(actors)}
        paste_layers(clip.images, clip.ids, layers)
        return _either_way(rng, clip)

    def _flips(self, rng: np.random.Generator) -> bool:
        return bool(self.settings.flip and rng.random() < 0.5)

    def _view(self, rng, shape: tuple[int, int], centre: np.ndarray, box: np.ndarray, flip: bool) -> np.ndarray:
        """Matrix [2, 3] of a crop at the wanted pixel scale with the middle of ``box`` in it, inside the picture."""
        height, width = self.settings.size
        low, high = self.settings.zoom
        reference = max(shape[1], shape[0] * width / height)
        scale = self.settings.scale_width / reference * np.exp(rng.uniform(np.log(low), np.log(high)))
        scale = max(scale, height / shape[0], width / shape[1])
        middle = np.array([box[0] + box[2], box[1] + box[3]]) / 2
        reach = 0.4 * np.array([width, height]) / scale
        centre = np.clip(centre + rng.uniform(-0.8, 0.8, 2) * reach, middle - reach, middle + reach)
        return crop_matrix(tuple(clamp_centre(centre, scale, (height, width), shape)), scale, (height, width), flip)

    def _anchor(self, rng: np.random.Generator, picture: StillPicture) -> StillObject | None:
        """The object that the crop is set on: a thing, more often a large one, or else a surface."""
        share = picture.width * picture.height
        usable = [item for item in picture.objects if not item.is_crowd and 0.003 < item.area / share < 0.6]
        usable = [item for item in usable if item.is_thing] or usable
        if not usable:
            return None
        weights = np.sqrt([item.area for item in usable])
        return usable[int(np.searchsorted(np.cumsum(weights) / weights.sum(), rng.random()))]

    def _moving_picture(self, rng, picture: StillPicture, box, strength: float) -> RawClip:
        size, motion = self.settings.size, self.settings.motion
        motion = replace(
            motion, **{name: strength * getattr(motion, name) for name in ("shift", "turn", "zoom", "shear")}
        )
        box = np.asarray(box, float)
        image, ids = self.store.image(picture.image_file), self.store.mask(picture.mask_file)
        view = self._view(rng, ids.shape, np.array([box[0] + box[2], box[1] + box[3]]) / 2, box, self._flips(rng))
        pivot = (rng.uniform(0.2, 0.8) * size[1], rng.uniform(0.2, 0.8) * size[0])
        course = smooth_motion(rng, self.frames, pivot, size[1], motion)
        bends = elastic_motion(rng, self.frames, motion.bend * size[1])
        # The source is looked at through a lookup that turns groups of things into unknown ground.
        table = np.arange(256, dtype=np.uint8)
        table[[item.object_id for item in picture.objects if item.is_crowd]] = IGNORE
        ids = cv2.LUT(ids, table)
        pairs = [warp(image, ids, chain(move, view), size, bend) for move, bend in zip(course, bends, strict=True)]
        return RawClip(
            images=[image for image, _ in pairs],
            ids=[ids for _, ids in pairs],
            categories={item.object_id: item.categories for item in picture.objects if not item.is_crowd},
            name=picture.name,
            source=picture.source,
            frame_indices=list(range(self.frames)),
        )

    def _cross(self, rng: np.random.Generator, clip: RawClip, count: int, category: str | None) -> None:
        """Let ``count`` cut-outs cross the clip; each is one more object or, as often, a nameless occluder."""
        layers = []
        for number in range(count):
            actor = self.shelf.draw(rng, category if rng.random() < 0.5 else None)
            label = _FIRST_PASTED + number
            layers.append(self._actor(rng, actor, label, reach=(0.12, 0.4), speed=2.5))
            if rng.random() < 0.5:
                clip.categories[label] = actor.categories
        paste_layers(clip.images, clip.ids, layers)

    def _actor(self, rng, actor: CutOut, label: int, reach=(0.15, 0.6), speed: float = 1.5) -> Layer:
        """A cut-out on its way over the canvas. ``reach``: range of the root of its area over the crop's height."""
        height, width = self.settings.size
        length = height * np.exp(rng.uniform(np.log(reach[0]), np.log(reach[1])))
        scale = min(length / np.sqrt(actor.area), 2.0)
        rows, columns = actor.mask.shape
        middle = ((columns - 1) / 2, (rows - 1) / 2)
        start = crop_matrix(middle, scale, self.settings.size, self._flips(rng), rng.normal(0, 8))
        place = np.array([rng.uniform(0.08, 0.92) * width, rng.uniform(0.12, 0.88) * height])
        start[:, 2] += place - ((width - 1) / 2, (height - 1) / 2)
        motion = self.settings.motion
        motion = replace(motion, shift=speed * motion.shift, turn=1.5 * motion.turn, zoom=1.5 * motion.zoom)
        course = smooth_motion(rng, self.frames, tuple(place), width, motion)
        bends = elastic_motion(rng, self.frames, 1.2 * motion.bend * max(length, 20.0))
        return Layer(actor.image, actor.mask, np.stack([chain(move, start) for move in course]), bends, label)


def _one_of(rng: np.random.Generator, items: list[int]) -> int | None:
    return items[rng.integers(len(items))] if items else None


def _box_of(mask: np.ndarray) -> np.ndarray:
    """Box (x0, y0, x1, y1) of a boolean mask, all zero if it is empty."""
    x, y, width, height = cv2.boundingRect(mask.view(np.uint8))
    return np.array([x, y, x + width, y + height], float)


def _between(rng: np.random.Generator, first: np.ndarray, last: np.ndarray) -> np.ndarray:
    """A point (x, y) on the way of an object from its ``first`` to its ``last`` box (empty: it has left)."""
    start = (first[:2] + first[2:]) / 2
    end = (last[:2] + last[2:]) / 2 if last.any() else start
    return start + rng.random() * (end - start)


def _either_way(rng: np.random.Generator, clip: RawClip) -> RawClip:
    """Half of the pseudo-videos run backwards, so that the undistorted view is as often the last as the first."""
    if rng.random() < 0.5:
        clip.images.reverse()
        clip.ids.reverse()
    return clip


def _mirrored(expressions: dict[int, tuple[str, ...]]) -> dict[int, tuple[str, ...]]:
    return {key: tuple(mirror_words(text) for text in texts) for key, texts in expressions.items()}

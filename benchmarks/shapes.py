"""A synthetic video of any length: textured ellipses that move over a moving texture, made frame by frame."""

from __future__ import annotations

import time

import numpy as np

from univs.video.source import FrameReader, VideoSource

SHARE = 0.3
"""Share of the picture that all shapes cover together if none overlap, up to LARGEST for one."""

LARGEST = 0.06


class MovingShapes(VideoSource):
    """``count`` ellipses in ``length`` frames of ``size`` (H, W); ``cpu_seconds`` counts what drawing them cost."""

    def __init__(self, count: int, length: int, size: tuple[int, int], seed: int = 0) -> None:
        super().__init__("moving shapes", size, 25.0, length)
        self.cpu_seconds = 0.0
        self.count = count
        rng = np.random.default_rng(seed)
        self._background = _texture(rng, (size[0] + 64, size[1] + 64), (90, 110, 100))
        area = min(SHARE / count, LARGEST) * size[0] * size[1]
        ratios = rng.uniform(0.7, 1.4, count)
        self.radii = np.stack([np.sqrt(area / np.pi / ratios), np.sqrt(area / np.pi * ratios)], 1)
        self._speeds = rng.uniform(0.01, 0.04, (count, 2))
        self._phases = rng.uniform(0, 2 * np.pi, (count, 2))
        colours = rng.uniform(30, 225, (count, 3))
        self._patches = [
            _texture(rng, tuple(2 * np.ceil(radius).astype(int) + 3), colour)
            for radius, colour in zip(self.radii, colours, strict=True)
        ]

    def centres(self, frame: int) -> np.ndarray:
        """Centres (y, x) of all shapes [count, 2] in a frame, in pixels."""
        place = 0.5 + 0.5 * np.sin(self._speeds * frame + self._phases)
        return self.radii + place * (np.array(self.size) - 2 * self.radii)

    def id_map(self, frame: int) -> np.ndarray:
        """Id map [H, W] of a frame: later shapes lie on earlier ones."""
        ids = np.zeros(self.size, np.int32)
        for number, (part, inside) in enumerate(self._places(frame), 1):
            ids[part][inside] = number
        return ids

    def open_reader(self) -> FrameReader:
        """A reader that draws."""
        return _Drawing(self)

    def draw(self, frame: int) -> np.ndarray:
        """A frame [H, W, 3] uint8."""
        began = time.process_time()
        y, x = int(32 + 31 * np.sin(frame / 40)), int(32 + 31 * np.cos(frame / 50))
        picture = self._background[y : y + self.size[0], x : x + self.size[1]].copy()
        for patch, (part, inside) in zip(self._patches, self._places(frame), strict=True):
            picture[part][inside] = patch[: inside.shape[0], : inside.shape[1]][inside]
        self.cpu_seconds += time.process_time() - began
        return picture

    def _places(self, frame: int) -> list[tuple[tuple[slice, slice], np.ndarray]]:
        """Per shape the part of the picture it lies in, and which pixels of the part it covers."""
        out = []
        for centre, radius in zip(self.centres(frame), self.radii, strict=True):
            top, left = np.maximum(np.floor(centre - radius).astype(int), 0)
            bottom, right = np.minimum(np.ceil(centre + radius).astype(int) + 1, self.size)
            y = (np.arange(top, bottom)[:, None] + 0.5 - centre[0]) / radius[0]
            x = (np.arange(left, right) + 0.5 - centre[1]) / radius[1]
            out.append(((slice(top, bottom), slice(left, right)), y**2 + x**2 <= 1))
        return out


class _Drawing(FrameReader):
    def __init__(self, shapes: MovingShapes) -> None:
        super().__init__()
        self._shapes = shapes

    def decode(self, index: int) -> np.ndarray:
        return self._shapes.draw(index)


def _texture(rng: np.random.Generator, size: tuple[int, int], colour: np.ndarray | tuple) -> np.ndarray:
    """Blotches [h, w, 3] uint8 of two sizes round a colour."""
    noise = np.zeros((*size, 1))
    for cell, strength in ((16, 25), (3, 18)):
        coarse = rng.normal(0, strength, (size[0] // cell + 1, size[1] // cell + 1, 1))
        noise += coarse.repeat(cell, 0).repeat(cell, 1)[: size[0], : size[1]]
    return np.clip(np.asarray(colour) + noise, 0, 255).astype(np.uint8)

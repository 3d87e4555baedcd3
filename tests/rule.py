"""Deterministic rules that fill model weights and make test inputs.

Everything is a pure function of text names and shapes, so that programs that share neither code nor data can build
the same network state and the same inputs. Every random array comes from NumPy's PCG64 seeded with the CRC-32 of a
name; the order of calls never matters.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence

import numpy as np

CENTRED = ("linear2.weight", "mask_embed.layers.1.weight", "mask_embed.layers.2.weight", "mask_features.weight")

TEXTS = [
    "a person riding a bicycle on the left",
    "the brown dog",
    "a white car that is turning around the corner",
    "the leftmost zebra, walking behind another one",
    "man in red shirt holding a skateboard",
    "an airplane",
    "the second parrot from the right is eating seeds",
    "woman with an umbrella near the old wooden bridge over the river",
    "a fish swimming toward the top right of the tank",
    "the cat's tail",
    "two-wheeled scooter (parked)",
    "a person",
]


def gen(name: str) -> np.random.Generator:
    """The generator of a name."""
    return np.random.Generator(np.random.PCG64(zlib.crc32(name.encode("utf-8"))))


def normal(name: str, shape: Sequence[int]) -> np.ndarray:
    """Standard normal numbers, float64."""
    return gen(name).standard_normal(math.prod(int(d) for d in shape)).reshape(tuple(shape))


def uniform(name: str, shape: Sequence[int]) -> np.ndarray:
    """Uniform numbers in [0, 1), float32 (drawn in float64)."""
    return gen("uniform/" + name).random(math.prod(int(d) for d in shape)).reshape(tuple(shape)).astype(np.float32)


def perm(name: str, n: int) -> np.ndarray:
    """A permutation of 0..n-1, int64."""
    return np.argsort(uniform("perm/" + name, (int(n),)), kind="stable").astype(np.int64)


def tensor(tag: str, name: str, shape: Sequence[int], scale: float = 1.0) -> np.ndarray:
    """Normal numbers times ``scale``, float32."""
    return (scale * normal(tag + "/" + name, shape)).astype(np.float32)


def weight(tag: str, name: str, shape: Sequence[int]) -> np.ndarray:
    """Values of the parameter whose key in the published state is ``name``, float32."""
    shape = tuple(int(d) for d in shape)
    x = normal(tag + "/" + name, shape)
    if name.endswith(CENTRED):
        x = x - x.mean(axis=1, keepdims=True)
    y = _named_weight(name, x)
    if y is None:
        y = _one_dimensional_weight(name, x) if len(shape) == 1 else _matrix_weight(name, x)
    return np.ascontiguousarray(y, dtype=np.float32)


def _named_weight(name: str, x: np.ndarray) -> np.ndarray | None:
    leaf = name.rsplit(".", 1)[-1]
    if leaf == "running_var":
        return 0.8 + 0.4 * np.abs(x)
    if leaf == "running_mean":
        return 0.2 * x
    if "cls_temp" in name or "reid_temp" in name:
        return math.log(1 / 0.07) + 0.05 * x
    if leaf == "relative_position_bias_table":
        return 0.5 * x
    if name.endswith(("query_feat.weight", "query_embed.weight")):
        return 1.0 * x
    if any(part in name for part in ("level_embed", "prompt_detection", "prompt_sot", "prompt_grounding")):
        return 0.5 * x
    for ending, scale in (("token_embedding.weight", 0.1), ("positional_embedding", 0.05), ("clip_cls_text_emb", 0.3)):
        if name.endswith(ending):
            return scale * x
    return None


def _one_dimensional_weight(name: str, x: np.ndarray) -> np.ndarray:
    if name.rsplit(".", 1)[-1] == "weight":
        y = 1 + 0.1 * x
        return 0.4 * y if name.endswith("conv3.norm.weight") else y
    return 2.0 * x if name.endswith("sampling_offsets.bias") else 0.05 * x


def _matrix_weight(name: str, x: np.ndarray) -> np.ndarray:
    r = x / math.sqrt(math.prod(x.shape[1:]))
    for ending, scale in (
        ("sampling_offsets.weight", 0.5),
        ("attention_weights.weight", 1.0),
        ("mask_embed.layers.2.weight", 0.6),
        ("in_proj_weight", 2.0),
        ("out_proj.weight", 0.15),
    ):
        if name.endswith(ending):
            return scale * r
    return math.sqrt(2.0) * r if x.ndim == 4 else 1.0 * r


def objects(tag: str, n: int, T: int) -> np.ndarray:
    """Centre and radii (cx, cy, rx, ry) in 0..1 of n ellipses in T frames, float64 [n, T, 4].

    Centres move on a straight line, radii breathe.
    """
    out = np.zeros((n, T, 4), dtype=np.float64)
    for i in range(n):
        u = uniform(f"{tag}/object/{i}", (8,)).astype(np.float64)
        for t in range(T):
            s = t / 8.0
            out[i, t, 0] = 0.15 + 0.70 * u[0] + (u[1] - 0.5) * 0.8 * s
            out[i, t, 1] = 0.15 + 0.70 * u[2] + (u[3] - 0.5) * 0.8 * s
            out[i, t, 2] = (0.08 + 0.14 * u[4]) * (1.0 + 0.25 * math.sin(2.0 * s + 6.0 * u[6]))
            out[i, t, 3] = (0.08 + 0.14 * u[5]) * (1.0 + 0.25 * math.cos(2.0 * s + 6.0 * u[7]))
    return out


def _inside(ellipse: np.ndarray, H: int, W: int) -> np.ndarray:
    """Squared distance from the centre in radii at every pixel centre, [H, W]; below 1 is inside."""
    yy = (np.arange(H, dtype=np.float64) + 0.5) / H
    xx = (np.arange(W, dtype=np.float64) + 0.5) / W
    return ((yy[:, None] - ellipse[1]) / ellipse[3]) ** 2 + ((xx[None, :] - ellipse[0]) / ellipse[2]) ** 2


def image(tag: str, T: int, H: int, W: int, n: int = 4) -> np.ndarray:
    """Textured ellipses on a smooth ground, uint8 RGB [T, 3, H, W]."""
    ellipses = objects(tag, n, T)
    colour = uniform(tag + "/colour", (n + 2, 3)).astype(np.float64)
    yy = (np.arange(H, dtype=np.float64) + 0.5) / H
    xx = (np.arange(W, dtype=np.float64) + 0.5) / W
    out = np.zeros((T, 3, H, W), dtype=np.float64)
    for t in range(T):
        for c in range(3):
            base = 60.0 + 120.0 * (colour[n, c] * yy[:, None] + colour[n + 1, c] * xx[None, :])
            base = base + 14.0 * np.sin(14.0 * xx[None, :] + 9.0 * yy[:, None] + c + 0.3 * t)
            for i in range(n):
                opacity = np.clip((1.15 - _inside(ellipses[i, t], H, W)) / 0.30, 0.0, 1.0)
                texture = 255.0 * colour[i, c] + 25.0 * np.cos(23.0 * (xx[None, :] - ellipses[i, t, 0]) * (i + 1))
                base = (1.0 - opacity) * base + opacity * texture
            out[t, c] = base
    return np.clip(np.floor(out + 0.5), 0, 255).astype(np.uint8)


def masks(tag: str, n: int, T: int, H: int, W: int) -> np.ndarray:
    """The ellipses of ``image`` as boolean masks [n, T, H, W]; they may overlap."""
    ellipses = objects(tag, n, T)
    out = np.zeros((n, T, H, W), dtype=bool)
    for i in range(n):
        for t in range(T):
            out[i, t] = _inside(ellipses[i, t], H, W) < 1.0
    return out


def boxes(m: np.ndarray) -> np.ndarray:
    """Tight boxes (x1, y1, x2, y2), right and bottom exclusive, divided by (W, H, W, H), float32 [n, T, 4].

    Zeros for empty masks.
    """
    n, T, H, W = m.shape
    out = np.zeros((n, T, 4), dtype=np.float32)
    for i in range(n):
        for t in range(T):
            ys = np.flatnonzero(m[i, t].any(1))
            xs = np.flatnonzero(m[i, t].any(0))
            if len(ys):
                out[i, t] = np.array([xs[0] / W, ys[0] / H, (xs[-1] + 1) / W, (ys[-1] + 1) / H], np.float32)
    return out


def labels(tag: str, n: int, K: int) -> np.ndarray:
    """Class numbers in 1..K, int64 [n]."""
    return (np.floor(uniform(tag + "/labels", (n,)).astype(np.float64) * K).astype(np.int64) % K) + 1


def texts(n: int) -> list[str]:
    """The first n expressions of a fixed list."""
    return list(TEXTS[:n])

"""Made-up colour images: a class is a figure with its own outline, texture and colours, on grounds that change.

A class is decided by its name alone. Every image of it has a turn, a size, a place, a light and a ground of its own,
and some have something in front. All arithmetic is on float32 by +, -, *, / and rounding, which every machine does in
the same way, and the random numbers are those of NumPy's frozen generator: the same bits everywhere.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from metaexp.data.files.images import Bytes

VERSION: Final = 1
"""The version of the drawings. Raise it whenever a pixel changes, or old caches are used."""

Floats = npt.NDArray[Any]
"""float32."""

_PARTS: Final = 3
_OUTLINES: Final = 4
_TEXTURES: Final = 4
_PALETTE_SHARE: Final = 0.45
"""How much of a ground's colour is its class's: some, as in photographs."""
_IMAGES_AT_ONCE: Final = 64


class _Looks(NamedTuple):
    """What the images of a class share.

    Attributes:
        outlines: (P,) which outline each part of the figure has.
        places: (P, 2) the middles of the parts.
        sizes: (P, 2) their half axes.
        texture: Which texture the figure has.
        waves: (2, 2) how often, and in which direction, the texture repeats.
        colours: (3, 3) the two colours of the figure and that of the ground.
    """

    outlines: tuple[int, ...]
    places: Floats
    sizes: Floats
    texture: int
    waves: Floats
    colours: Floats


def draw_class(name: str, n_images: int, size: int) -> Bytes:
    """Draw a class.

    Args:
        name: The class. Nothing else decides it.
        n_images: How many images. More of them leaves the first ones as they are.
        size: Height and width in pixels.

    Returns:
        (n_images, 3, size, size) uint8.
    """
    looks = _looks(_generator(name, -1))
    blocks = [range(start, min(start + _IMAGES_AT_ONCE, n_images)) for start in range(0, n_images, _IMAGES_AT_ONCE)]
    return np.concatenate([_draw(looks, [_generator(name, i) for i in block], size) for block in blocks])


def _generator(name: str, index: int) -> np.random.RandomState:
    digest = hashlib.sha256(f"{VERSION}\0{name}\0{index}".encode("utf-8", "surrogateescape")).digest()
    return np.random.RandomState(np.frombuffer(digest, "<u4").tolist())


def _uniform(generator: np.random.RandomState, low: float, high: float, *shape: int) -> Floats:
    return (low + (high - low) * generator.random_sample(shape)).astype(np.float32)


def _looks(generator: np.random.RandomState) -> _Looks:
    outlines = tuple((generator.random_sample(_PARTS) * _OUTLINES).astype(int).tolist())
    texture = int(generator.random_sample() * _TEXTURES)
    return _Looks(
        outlines=outlines,
        places=_uniform(generator, -0.5, 0.5, _PARTS, 2),
        sizes=_uniform(generator, 0.2, 0.6, _PARTS, 2),
        texture=texture,
        waves=_uniform(generator, -3.0, 3.0, 2, 2),
        colours=_uniform(generator, 0.0, 1.0, 3, 3),
    )


def _draw(looks: _Looks, generators: Sequence[np.random.RandomState], size: int) -> Bytes:
    """One image for each generator, (n, 3, size, size)."""
    words = np.stack([g.random_sample(24) for g in generators]).astype(np.float32)  # (n, 24)
    noise = np.stack([g.random_sample((size, size)) for g in generators]).astype(np.float32)  # (n, size, size)
    column = [words[:, i, None, None] for i in range(words.shape[1])]  # each (n, 1, 1)
    x, y = _grid(size)
    u, v = _turned(x, y, column)
    inside = _figure(looks, u, v, size)
    ground = _ground(looks, words, column, x, y)
    figure = _mixed(looks.colours[0], looks.colours[1], _texture(looks, u, v), 0.2 * words[:, 6:9] - 0.1)
    image = ground + inside[:, None] * (figure - ground)  # (n, 3, size, size)
    front = _front(column, x, y)[:, None]
    image = image + front * (words[:, 9:12, None, None] - image)
    light = (0.55 + 0.6 * column[12]) * (0.8 + 0.2 * (x * (column[13] - 0.5) + y * (column[14] - 0.5)) * 2)
    image = image * light[:, None] + 0.14 * (noise[:, None] - 0.5)
    drawn: Bytes = np.floor(np.clip(image, 0, 1) * 255 + np.float32(0.5)).astype(np.uint8)
    return drawn


def _grid(size: int) -> tuple[Floats, Floats]:
    """The coordinates of the pixels, from -1 to 1: (1, 1, size) across and (1, size, 1) down."""
    axis = ((2 * np.arange(size) + 1) / size - 1).astype(np.float32)
    return axis[None, None, :], axis[None, :, None]


def _turned(x: Floats, y: Floats, column: list[Floats]) -> tuple[Floats, Floats]:
    """The coordinates (n, size, size) of the pixels in the figure's own frame."""
    t = 0.7 * column[0] - 0.35  # of half the angle: up to 39 degrees either way
    cos, sin = (1 - t * t) / (1 + t * t), 2 * t / (1 + t * t)
    zoom = 1.1 + 0.7 * column[1]
    x, y = x - 0.5 * (column[2] - 0.5), y - 0.5 * (column[3] - 0.5)
    return zoom * (cos * x + sin * y), zoom * (cos * y - sin * x) * (0.85 + 0.3 * column[4])


def _figure(looks: _Looks, u: Floats, v: Floats, size: int) -> Floats:
    """How much of each pixel is inside the figure, the union of its parts: (n, size, size), 0 to 1."""
    level: Floats = np.full((1, 1, 1), -1, np.float32)
    for outline, (left, top), (a, b) in zip(looks.outlines, looks.places, looks.sizes, strict=True):
        p, q = (u - left) / a, (v - top) / b
        level = np.maximum(level, _outline(outline, p, q) * min(a, b))
    inside: Floats = np.clip(level * np.float32(size / 4) + np.float32(0.5), 0, 1)
    return inside


def _outline(outline: int, p: Floats, q: Floats) -> Floats:
    """Positive inside, and about the distance to the edge: an ellipse, a box, a diamond or a ring."""
    level: Floats
    if outline == 0:
        level = (1 - (p * p + q * q)) * np.float32(0.5)
    elif outline == 1:
        level = 1 - np.maximum(np.abs(p), np.abs(q))
    elif outline == 2:
        level = 1 - (np.abs(p) + np.abs(q))
    else:
        level = np.float32(0.35) - np.abs(p * p + q * q - np.float32(0.75))
    return level


def _texture(looks: _Looks, u: Floats, v: Floats) -> Floats:
    """Which of the two colours each point of the figure has: (n, size, size), 0 to 1."""
    first, second = (_wave(across * u + down * v) for across, down in looks.waves)
    choices: tuple[Floats, ...] = (first, first * second, np.abs(first - second), np.clip(u * 0.5 + 0.5, 0, 1))
    return choices[looks.texture]


def _wave(at: Floats) -> Floats:
    """A wave of period 1 from 0 to 1, flat at both ends."""
    wave: Floats = np.clip(4 * np.abs(at - np.floor(at) - np.float32(0.5)) - np.float32(0.5), 0, 1)
    return wave


def _ground(looks: _Looks, words: Floats, column: list[Floats], x: Floats, y: Floats) -> Floats:
    """What is behind the figure: (n, 3, size, size)."""
    across = _wave((4 * column[15] - 2) * x + (4 * column[16] - 2) * y + column[17])
    own = np.float32(_PALETTE_SHARE)
    return _mixed(own * looks.colours[2], own * looks.colours[2], across, (1 - own) * words[:, 18:21], words[:, 21:24])


def _mixed(first: Floats, second: Floats, share: Floats, shift: Floats, other: Floats | None = None) -> Floats:
    """The colours (n, 3, size, size) between two that are both moved by ``shift`` (n, 3), the second by ``other``."""
    low = (first + shift)[:, :, None, None]
    high = (second + (shift if other is None else np.float32(1 - _PALETTE_SHARE) * other))[:, :, None, None]
    colours: Floats = low + share[:, None] * (high - low)
    return colours


def _front(column: list[Floats], x: Floats, y: Floats) -> Floats:
    """How much of each pixel is hidden by a disc in front, which about half of the images have: (n, size, size)."""
    radius = 0.5 * column[5] - 0.25
    away = (x - 2 * column[17] + 1) * (x - 2 * column[17] + 1) + (y - 2 * column[15] + 1) * (y - 2 * column[15] + 1)
    hidden: Floats = np.where((radius > 0) & (away < radius * radius), np.float32(1), np.float32(0))
    return hidden

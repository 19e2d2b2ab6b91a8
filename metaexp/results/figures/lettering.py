"""Text as small images, each made once in a process: equal labels need no second layout and no second rendering."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from matplotlib.backends.backend_agg import RendererAgg
from matplotlib.colors import to_rgb
from matplotlib.font_manager import FontProperties

from metaexp.results.figures.style import DPI

if TYPE_CHECKING:
    from numpy.typing import NDArray

_FAMILY = ["DejaVu Sans"]
_LINE = 1.2
"""From one line of text to the next, in sizes of the font."""
_HALO = 3
"""Pixels of the white outline around letters that lie on top of lines and images."""
RIM = 8
"""Pixels around a text in its image, for the outline and for letters higher than usual, such as É."""
_CACHED = 4096
_NUMBER = frozenset("0123456789.,%+\N{MINUS SIGN}\N{PLUS-MINUS SIGN}")
"""Signs with a place of their own, whatever is beside them."""
_PHASES = 4
"""A digit begins on a quarter of a pixel."""


class Font(NamedTuple):
    """How a text looks.

    Attributes:
        size: In points.
        color: Of the letters.
        bold: Whether they are.
        upright: Whether the text runs from below to above.
        outlined: Whether it has a white outline.
    """

    size: float
    color: str
    bold: bool = False
    upright: bool = False
    outlined: bool = False


class Metrics(NamedTuple):
    """Lengths of a font in pixels.

    Attributes:
        ascent: From the base line to the highest letter.
        descent: From the base line to the lowest.
        capital: Height of a capital or a digit.
        line: From one line to the next.
    """

    ascent: int
    descent: int
    capital: int
    line: int


def points(length: float) -> float:
    """Return a length in points as pixels."""
    return length * DPI / 72


@lru_cache(_CACHED)
def metrics(size: float, bold: bool) -> Metrics:
    """Return the lengths of a font.

    Args:
        size: In points.
        bold: Whether it is.
    """
    _, height, descent = _extent("lp", size, bold)
    capital = _extent("H", size, bold)[1]
    return Metrics(math.ceil(height - descent), math.ceil(descent), round(capital), round(points(size) * _LINE))


def width(text: str, size: float, bold: bool = False) -> int:
    """Return the pixels that one line of text takes.

    Args:
        text: The text.
        size: Of its font, in points.
        bold: Whether it is.
    """
    words = text.split(" ")
    spaces = _advance(" ", size, bold) * (len(words) - 1)
    return math.ceil(sum(_word_width(word, size, bold) for word in words) + spaces)


@lru_cache(_CACHED)
def letters(text: str, font: Font) -> NDArray[Any]:
    """Return one line of text as an image (H, W, 4) from its lowest row to its highest.

    It is as wide and as high as :func:`width` and :func:`metrics` say, and larger by :data:`RIM` on all four sides.

    Args:
        text: The text.
        font: How it looks.
    """
    shape = metrics(font.size, font.bold)
    wide, high = width(text, font.size, font.bold), shape.ascent + shape.descent
    inked = np.zeros((high + 2 * RIM, wide + 2 * RIM + 2), np.uint8)
    x, space = 0.0, _advance(" ", font.size, font.bold)
    for word in text.split(" "):
        _add(inked, _word(word, font.size, font.bold), round(x))
        x += _word_width(word, font.size, font.bold) + space
    image = np.empty((*inked.shape, 4), np.uint8)
    image[..., :3] = np.round(np.array(to_rgb(font.color)) * 255)
    image[..., 3] = inked
    if font.outlined:
        image = _with_halo(image)
    if font.upright:
        image = np.rot90(image)
    return np.ascontiguousarray(image[::-1])


@lru_cache(_CACHED)
def _word_width(word: str, size: float, bold: bool) -> float:
    if _NUMBER.issuperset(word):
        return sum(_advance(sign, size, bold) for sign in word)
    return _extent(word, size, bold)[0]


@lru_cache(_CACHED)
def _advance(sign: str, size: float, bold: bool) -> float:
    """From a sign to the next one."""
    return (_extent(f"0{sign * 16}0", size, bold)[0] - _extent("00", size, bold)[0]) / 16


@lru_cache(_CACHED)
def _word(word: str, size: float, bold: bool) -> NDArray[Any]:
    """How much of each pixel the letters of a word cover (H, W). Numbers are put together from their digits."""
    if not _NUMBER.issuperset(word):
        return _rendered(word, size, bold, 0.0)
    high = sum(metrics(size, bold)[:2])
    inked = np.zeros((high + 2 * RIM, math.ceil(_word_width(word, size, bold)) + 2 * RIM + 2), np.uint8)
    x = 0.0
    for sign in word:
        _add(inked, _rendered(sign, size, bold, math.floor(x % 1.0 * _PHASES) / _PHASES), math.floor(x))
        x += _advance(sign, size, bold)
    return inked


@lru_cache(_CACHED)
def _rendered(text: str, size: float, bold: bool, shift: float) -> NDArray[Any]:
    """What matplotlib draws, ``shift`` pixels to the right."""
    shape = metrics(size, bold)
    wide = math.ceil(_extent(text, size, bold)[0]) + 1
    renderer = _renderer(wide + 2 * RIM, shape.ascent + shape.descent + 2 * RIM)
    renderer.draw_text(renderer.new_gc(), RIM + shift, RIM + shape.ascent, text, _properties(size, bold), 0)
    return np.array(renderer.buffer_rgba())[..., 3]


def _add(inked: NDArray[Any], part: NDArray[Any], x: int) -> None:
    """Add the letters of ``part`` at ``x``."""
    place = inked[:, x : x + part.shape[1]]
    np.maximum(place, part[:, : place.shape[1]], out=place)


def wrapped(text: str, room: float, size: float, bold: bool = False, most: int = 3) -> list[str]:
    """Return a text in lines. What the last one cannot hold is left out.

    Args:
        text: The text.
        room: The most pixels in width.
        size: Of its font, in points.
        bold: Whether it is.
        most: The most lines.
    """
    if width(text, size, bold) <= room:
        return [text]
    lines, words = [""], text.split(" ")
    while words:
        word = words.pop(0)
        longer = f"{lines[-1]} {word}" if lines[-1] else word
        if width(longer, size, bold) <= room:
            lines[-1] = longer
        elif lines[-1]:
            lines.append("")
            words.insert(0, word)
        else:
            fits = max(1, sum(width(word[:n], size, bold) <= room for n in range(1, len(word) + 1)))
            lines[-1] = word[:fits]
            words[:0] = [word[fits:]] if word[fits:] else []
            lines += [""] if words else []
    if len(lines) > most:
        last = lines[most - 1]
        while last and width(f"{last} …", size, bold) > room:
            last = last[:-1]
        lines = [*lines[: most - 1], f"{last.rstrip()} …"]
    return lines


def block(lines: Sequence[str], font: Font) -> tuple[int, int]:
    """Return how wide and how high lines of text are, in pixels, before they are turned upright.

    Args:
        lines: The lines.
        font: How they look.
    """
    shape = metrics(font.size, font.bold)
    wide = max(width(line, font.size, font.bold) for line in lines)
    return wide, shape.ascent + shape.descent + shape.line * (len(lines) - 1)


def _with_halo(image: NDArray[Any]) -> NDArray[Any]:
    """The image with white around its letters."""
    inked = image[..., 3].astype(np.float64) / 255
    around = np.zeros_like(inked)
    reach = range(-_HALO, _HALO + 1)
    for down, right in ((i, j) for i in reach for j in reach if i * i + j * j <= _HALO**2):
        np.maximum(around, np.roll(inked, (down, right), (0, 1)), out=around)  # the rim is empty, so nothing wraps
    alpha = inked + around * (1 - inked)
    share = (inked / np.maximum(alpha, 1e-9))[..., None]
    mixed = np.empty_like(image)
    mixed[..., :3] = np.round(image[..., :3] * share + 255 * (1 - share))
    mixed[..., 3] = np.round(alpha * 255)
    return mixed


def _extent(text: str, size: float, bold: bool) -> tuple[float, float, float]:
    """Width, height and descent in pixels."""
    wide, high, descent = _ruler().get_text_width_height_descent(text, _properties(size, bold), False)
    return wide, high, descent


@lru_cache(1)
def _ruler() -> Any:
    return _renderer(1, 1)


def _renderer(width: int, height: int) -> Any:
    return RendererAgg(width, height, DPI)  # type: ignore[no-untyped-call]


@lru_cache(_CACHED)
def _properties(size: float, bold: bool) -> FontProperties:
    return FontProperties(family=_FAMILY, size=size, weight="bold" if bold else "normal")

"""Which stored values of images are black and white, and whether the images of a dataset use that range.

Importing this module does not import torch.
"""

from __future__ import annotations

import math
from typing import Final, NamedTuple

from metaexp.core.counted import counted
from metaexp.core.errors import DataError
from metaexp.data.files.progress import Progress

Range = tuple[float, float]
"""The stored values that become black and white."""

LEAST_PART: Final = 1 / 4
"""Images of more than 8 bits that use no larger part of their range keep at most 64 grey levels: those of 14 bits in
files of 16, for example."""
HALF: Final = 1 / 2
"""Those that use no larger part keep at most 128: those of 15 bits in files of 16, or dim ones."""
_USUAL: Final = (1, 15, 255, 1023, 4095, 16383, 32767, 65535)
"""The largest values of usual depths."""


class Depth(NamedTuple):
    """How files store the values of an image.

    Attributes:
        name: What messages call it, after a number of images.
        white: The value that is white unless ``dataset.value_range`` says otherwise. Black is 0.
        most: The largest value that can be stored.
        is_read_whole: Whether all bits of a value are read.
    """

    name: str
    white: float
    most: float
    is_read_whole: bool = True

    @property
    def own_range(self) -> Range:
        """The values that are black and white unless ``dataset.value_range`` says otherwise."""
        return 0.0, self.white


EIGHT: Final = Depth("of 8 bits", 255.0, 255.0)
TWELVE: Final = Depth("of 12 bits", 4095.0, 4095.0)
SIXTEEN: Final = Depth("of 16 bits", 65535.0, 65535.0)
SIGNED: Final = Depth("of 16 bits with sign", 32767.0, 32767.0)
COLOUR: Final = Depth("of 16 bits a channel", 65535.0, 65535.0)
UPPER_COLOUR: Final = Depth("of 16 bits a channel", 65535.0, 65535.0, is_read_whole=False)
"""Kinds of which Pillow reads the upper 8 bits alone: CMYK, for example."""
LONG: Final = Depth("of 32 bits", 65535.0, 2.0**31 - 1)
FLOATS: Final = Depth("of floats", 1.0, float("inf"))


class Values(NamedTuple):
    """The values of an image as its file stores them."""

    depth: Depth
    lowest: float
    highest: float


class _Extent(NamedTuple):
    """The values of several images of one depth."""

    n_images: int
    first: str
    """The name of the first."""
    lowest: float
    highest: float


class ValueCheck:
    """Collects the values of the images of a dataset, and says when these are not what they seem.

    One image that is dark may be dark. If all are, white is elsewhere.

    Args:
        place: The folder or archive of the images, for messages.
        value_range: The values that are black and white; None for those of the depth of each image.
    """

    def __init__(self, place: str, value_range: Range | None) -> None:
        self._place = place
        self._range = value_range
        self._found: dict[Depth, _Extent] = {}

    def add(self, values: Values, name: str) -> None:
        """Count an image.

        Args:
            values: Its values.
            name: The name of its file.
        """
        old = self._found.get(values.depth, _Extent(0, name, values.lowest, values.highest))
        lowest, highest = min(old.lowest, values.lowest), max(old.highest, values.highest)
        self._found[values.depth] = _Extent(old.n_images + 1, old.first, lowest, highest)

    def finish(self, progress: Progress) -> None:
        """Check what was collected for a dataset.

        Args:
            progress: Receives a warning where all images of 8 bits are dark, whose values are kept as they are, or
                those of more bits use at most half of their range.

        Raises:
            DataError: Images of more than 8 bits use at most a quarter of their range, which leaves few grey levels; or
                one ``dataset.value_range`` is given for images of several depths.
        """
        if self._range is not None:
            self._refuse_mixed(self._range)
            return
        for depth, extent in self._found.items():
            part = self._used_part(depth, extent)
            if part > (LEAST_PART if depth == EIGHT else HALF):
                continue
            text = f"{self._few_levels(depth, extent)}. {_advice(depth, extent)}"
            if depth != EIGHT and part <= LEAST_PART:
                raise DataError(text)
            progress(f"Warning: {text}")

    def warn(self, progress: Progress) -> None:
        """Warn of images that use a small part of the range that is given, as those of another depth would.

        Args:
            progress: Receives a line for each depth.
        """
        for depth, extent in self._found.items():
            if self._used_part(depth, extent) <= LEAST_PART:
                progress(
                    f"Warning: {self._few_levels(depth, extent)}, as the run reads them. If they should be brighter, "
                    "save them as its own were."
                )

    def _refuse_mixed(self, value_range: Range) -> None:
        if len(self._found) > 1:
            found = [f"{extent.n_images} {depth.name} ({extent.first})" for depth, extent in self._found.items()]
            raise DataError(
                f"dataset.value_range={shown(value_range)} says which values are black and white in all images, and "
                f"{self._place} has images of several depths: {', '.join(found)}. Save them with one depth."
            )

    def _ends(self, depth: Depth, extent: _Extent) -> tuple[float, float]:
        """The least and the largest value, as parts of the way from black to white."""
        black, white = self._range or depth.own_range
        least = black if depth == EIGHT else extent.lowest
        return (least - black) / (white - black), (extent.highest - black) / (white - black)

    def _used_part(self, depth: Depth, extent: _Extent) -> float:
        first, last = self._ends(depth, extent)
        return last - first

    def _few_levels(self, depth: Depth, extent: _Extent) -> str:
        """Say which values there are, and how few grey levels they become."""
        black, white = self._range or depth.own_range
        first, last = (round(end * 255) for end in self._ends(depth, extent))
        images = f"{counted(extent.n_images, 'image')} {depth.name} in {self._place}"
        return (
            f"the values of {images} lie between {extent.lowest:.10g} and {extent.highest:.10g}. With {black:.10g} as "
            f"black and {white:.10g} as white, they have at most {last - first + 1} of 256 grey levels"
        )


def _advice(depth: Depth, extent: _Extent) -> str:
    keep = f"dataset.value_range={shown(depth.own_range)} to read them so"
    if not depth.is_read_whole:
        return f"Save them with 8 bits a channel, or set {keep}."
    return f"Set dataset.value_range={shown(likely_range(extent.lowest, extent.highest))}, or {keep}."


def likely_range(lowest: float, highest: float) -> Range:
    """Return the values that are probably black and white.

    Args:
        lowest: The lowest value of all images.
        highest: The highest.
    """
    if -1 <= lowest < 0 and highest <= 1:
        return -1.0, 1.0
    if lowest < 0 or highest - lowest <= highest / 4:  # with an offset
        return lowest, highest if highest > lowest else lowest + 1
    usual = next((most for most in _USUAL if most >= highest), highest)
    return 0.0, (float(usual) if highest > usual / 2 else highest) or 1.0


def shown(value_range: Range) -> str:
    """Return a range as it is written on a command line."""
    return f"[{value_range[0]:.10g},{value_range[1]:.10g}]"


def check_range(values: Values, value_range: Range | None, name: str, has_key: bool) -> Range:
    """Return the values that are black and white in an image.

    Args:
        values: Its values.
        value_range: What ``dataset.value_range`` says.
        name: What messages call the image.
        has_key: Whether the dataset has that key, so that it can be set.

    Raises:
        DataError: The image has values that are darker than black, brighter than white or not finite; or its file
            cannot store white.
    """
    depth, lowest, highest = values
    if not (math.isfinite(lowest) and math.isfinite(highest)):
        raise DataError(f"{name} has values that are not finite. Replace them, or take it out.")
    black, white = value_range or depth.own_range
    if value_range is not None and (white > depth.most or not (depth.is_read_whole or value_range == depth.own_range)):
        what = f"values up to {depth.most:.10g}" if depth.is_read_whole else "only the upper 8 bits are read"
        raise DataError(
            f"{name} is an image {depth.name}: {what}. dataset.value_range={shown(value_range)} does not fit that. "
            "Save all images with one depth."
        )
    if black <= lowest and highest <= white:
        return black, white
    likely = shown(likely_range(min(lowest, 0), highest))
    say = f"Say by dataset.value_range what is black and white in all images, such as {likely}; or scale"
    advice = say if has_key else "Scale"
    raise DataError(
        f"{name} is an image {depth.name} and holds values from {lowest:.10g} to {highest:.10g}; they must lie within "
        f"{black:.10g}, which becomes black, and {white:.10g}, which becomes white. {advice} its values."
    )

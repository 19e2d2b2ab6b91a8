"""Drawings as pixels, by resvg. Importing this module imports neither torch nor resvg."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from typing import TYPE_CHECKING, Any

from metaexp.core.errors import DataError
from metaexp.core.extras import install_command
from metaexp.data.base import Progress
from metaexp.data.icons.select import Drawing

if TYPE_CHECKING:
    from metaexp.data.files.images import Bytes

_LINE_EVERY = 5000


def renderer() -> Any:
    """Return the module that renders.

    Raises:
        DataError: The renderer is not installed.
    """
    try:
        import resvg_py
    except ImportError as error:
        raise DataError(
            f"Drawing icons needs resvg-py, once: then they are in the cache. Install it with: "
            f"{install_command('icons')}."
        ) from error
    return resvg_py


def render_all(drawings: Sequence[Drawing], size: int, channels: int, progress: Progress) -> Bytes:
    """Render drawings on white.

    Args:
        drawings: What to draw.
        size: Height and width in pixels. Drawings that are not square are centred.
        channels: 1 for grey, 3 for colour.
        progress: Receives a line now and then.

    Returns:
        (B, channels, size, size) uint8.

    Raises:
        DataError: The renderer is not installed, or refuses a drawing.
    """
    import numpy as np

    resvg = renderer()
    images = np.empty((len(drawings), channels, size, size), np.uint8)
    for row, drawing in enumerate(drawings):
        images[row] = render(drawing, size, channels, resvg)
        if (row + 1) % _LINE_EVERY == 0:
            progress(f"  {row + 1} of {len(drawings)} drawings")
    return images


def render(drawing: Drawing, size: int, channels: int, resvg: Any) -> Bytes:
    """Render one drawing, (channels, size, size) uint8.

    Args:
        drawing: What to draw.
        size: Height and width in pixels.
        channels: 1 for grey, 3 for colour.
        resvg: The module that renders.

    Raises:
        DataError: The drawing is damaged.
    """
    import numpy as np
    from PIL import Image

    try:
        png = resvg.svg_to_bytes(svg_string=svg(drawing, size), background="#ffffff", skip_system_fonts=True)
    except ValueError as error:
        raise DataError(f"{drawing.source} cannot be drawn: {error}.") from error
    with Image.open(BytesIO(png)) as image:
        pixels = np.asarray(image.convert("L" if channels == 1 else "RGB"))
    return pixels.reshape(size, size, channels).transpose(2, 0, 1)


def svg(drawing: Drawing, size: int) -> str:
    """Return a drawing as an SVG document.

    Args:
        drawing: What to draw.
        size: Height and width in pixels.
    """
    box = " ".join(f"{number:g}" for number in drawing.box)
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'width="{size}" height="{size}" viewBox="{box}">{drawing.body}</svg>'
    )

"""What figures are drawn with: PNG files, and letters that are kept."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from matplotlib.backends.backend_agg import RendererAgg
from matplotlib.font_manager import FontProperties
from PIL import Image

from metaexp.results.figures.lettering import RIM, Font, letters, metrics
from metaexp.results.figures.paper import Paper
from metaexp.results.figures.png import encode_png
from metaexp.results.figures.style import DPI


def test_a_png_file_has_the_pixels_and_their_size() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (20, 31, 3)).astype(np.uint8)
    content = encode_png(pixels, 150)
    with Image.open(io.BytesIO(content)) as image:
        image.load()
        assert image.mode == "RGB"
        assert (np.asarray(image) == pixels).all()
        assert [round(dpi) for dpi in image.info["dpi"]] == [150, 150]
    assert encode_png(pixels, 150) == content
    assert encode_png(255 - pixels, 150) != content


def _coverage(text: str, font: Font) -> Any:
    return letters(text, font)[::-1, :, 3].astype(float) / 255


@pytest.mark.parametrize("text", ["\N{MINUS SIGN}1,234.56", "99.97 %", "training steps"])
def test_texts_look_as_matplotlib_draws_them(text: str) -> None:
    font = Font(10.0, "black")
    ours = _coverage(text, font)
    renderer: Any = RendererAgg(ours.shape[1], ours.shape[0], DPI)
    properties = FontProperties(family=["DejaVu Sans"], size=10.0)
    renderer.draw_text(renderer.new_gc(), RIM, RIM + metrics(10.0, False).ascent, text, properties, 0)
    theirs = np.asarray(renderer.buffer_rgba())[..., 3] / 255
    assert abs(ours.sum() - theirs.sum()) < 0.05 * theirs.sum()
    assert _difference(ours, theirs) < 0.5, "versions of matplotlib differ in how they round the places of letters"
    assert _difference(_coverage(text[::-1], font), theirs) > 0.9, "another text differs"


def _difference(ours: Any, theirs: Any) -> float:
    """Share of the ink that is in other places, at the shift of at most a pixel that makes it least."""
    shifts = [(down, right) for down in (-1, 0, 1) for right in (-1, 0, 1)]
    return min(float(np.abs(np.roll(ours, shift, (0, 1)) - theirs).sum() / theirs.sum()) for shift in shifts)


def test_an_outline_is_white_around_letters_of_the_same_colour() -> None:
    plain, outlined = (letters("8", Font(10.0, "#ff0000", outlined=has)) for has in (False, True))
    assert (outlined[..., 3] > 0).sum() > 1.5 * (plain[..., 3] > 0).sum()
    inked = plain[..., 3] == 255
    assert (outlined[inked] == (255, 0, 0, 255)).all()
    around = (outlined[..., 3] == 255) & (plain[..., 3] == 0)
    assert around.any()
    assert (outlined[around][:, :3] == 255).all()


def test_an_upright_text_runs_from_below_to_above() -> None:
    level, upright = (letters("Ab", Font(10.0, "black", upright=up)) for up in (False, True))
    assert (np.rot90(level[::-1])[::-1] == upright).all()


def test_images_and_boxes_are_where_they_should_be() -> None:
    paper = Paper((1.0, 1.0))
    paper.image((10, 20, 30, 40), np.array([[0.0, 1.0], [0.5, 0.0]]))
    paper.box((100, 100, 120, 130), fill="#00ff00")
    pixels = paper.pixels()[::-1]  # from the lowest row
    assert pixels[39, 10].tolist() == [0, 0, 0]
    assert pixels[39, 29].tolist() == [255] * 3
    assert pixels[20, 10].tolist() == [128] * 3
    assert pixels[20, 29].tolist() == [0, 0, 0]
    assert pixels[41, 10].tolist() == pixels[20, 31].tolist() == [255] * 3
    assert pixels[115, 110].tolist() == [0, 255, 0]

"""Texts in figures are drawn as they are."""

from __future__ import annotations

import warnings
from io import BytesIO
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from metaexp.results.figures.style import Canvas, save

NAMES = ("costs $5", "$a_b^{2$", "$x$ and $y", "$\\notacommand$")
"""Names of classes, folders and datasets. As mathematics the second and the last end in an error."""


def figure() -> Figure:
    found = Figure(layout="constrained")
    found.subplots(1, 1)
    return found


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("place", ["title", "heading", "y labels", "x labels", "legend", "text"])
def test_a_name_with_dollars_is_not_mathematics(name: str, place: str, tmp_path: Path) -> None:
    drawn = figure()
    axes = drawn.axes[0]
    axes.plot([0, 1], label=name if place == "legend" else "line")
    if place == "title":
        axes.set_title(name)
    elif place == "heading":
        drawn.suptitle(name)
    elif place == "y labels":
        axes.set_yticks([0, 1], [name, name])
    elif place == "x labels":
        axes.set_xticks([0, 1], [name, name])
    elif place == "legend":
        axes.legend()
    else:
        axes.text(0.5, 0.5, name)
    save(drawn, tmp_path / "drawn.png")
    assert (tmp_path / "drawn.png").stat().st_size > 0


@pytest.mark.parametrize("suffix", ["png", "pdf", "svg"])
def test_a_name_whose_signs_the_font_lacks_gives_no_warning(suffix: str, tmp_path: Path) -> None:
    drawn = figure()
    drawn.axes[0].set_title("日本 \N{DESERET SMALL LETTER LONG I}")
    with pytest.warns(UserWarning, match="Glyph .* missing from font"):
        drawn.savefig(BytesIO())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        save(drawn, tmp_path / f"drawn.{suffix}")
        with pytest.raises(UserWarning, match="another"):
            warnings.warn("another", UserWarning, stacklevel=1)
    assert (tmp_path / f"drawn.{suffix}").stat().st_size > 0


def test_numbers_of_a_logarithmic_axis_stay_mathematics(tmp_path: Path) -> None:
    with Canvas(tmp_path / "drawn.png", 4.0, 3.0) as drawn:
        axes = drawn.subplots(1, 1)
        axes.plot([1, 1e6])
        axes.set_yscale("log")
    labels = [label for label in axes.yaxis.get_majorticklabels() if "$" in label.get_text()]
    assert labels
    assert all(label.get_parse_math() for label in labels)

"""A test on other data warns if black and white become other values than in training, and only then."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from metaexp.config.compose import Composer
from metaexp.config.purpose import Purpose
from metaexp.run.evaluation.fit import warn_of_pixels
from metaexp.run.progress import Lines


def warned(trained: list[str], asked: list[str]) -> str:
    """What is shown if a run of ``trained`` is tested with ``asked``."""
    before, after = (Composer().settings(overrides, Purpose.PLAN) for overrides in (trained, asked))
    shown = io.StringIO()
    warn_of_pixels(before.resolved, before.choices, after, Lines(Console(file=shown, width=1000)))
    return shown.getvalue()


OMNIGLOT, GLYPHS, FONTS = ["dataset=omniglot"], ["dataset=glyphs"], ["dataset=fonts"]
DARK = "dataset.invert=false"
SCALED = "dataset.normalise=[0.5,0.5]"
ARRAYS = ["dataset=arrays"]
OWN = ["dataset=image_folder", "dataset.channels=1", "dataset.image_size=28"]


@pytest.mark.parametrize(
    ("trained", "asked"),
    [
        (GLYPHS, OMNIGLOT),  # bright on black; dark on white, inverted
        (OMNIGLOT, GLYPHS),
        (FONTS, OMNIGLOT),
        (GLYPHS, [*OWN, "dataset.background=black"]),
        ([*OMNIGLOT, DARK], OWN),
        ([*OMNIGLOT, SCALED], [*FONTS, SCALED]),
        (ARRAYS, [*ARRAYS, "dataset.file=other.npz"]),
        (ARRAYS, GLYPHS),
    ],
)
def test_the_same_values_of_strokes_and_paper_bring_no_warning(trained: list[str], asked: list[str]) -> None:
    assert warned(trained, asked) == ""


@pytest.mark.parametrize(
    ("trained", "asked", "said"),
    [
        (
            GLYPHS,
            [*OMNIGLOT, DARK],
            "warning: the run was trained with dataset.invert=false, dataset.normalise=null on black; omniglot has "
            "dataset.invert=false, dataset.normalise=null on white. Its network may not have seen such values.\n",
        ),
        (OMNIGLOT, [*OMNIGLOT, DARK], "dataset.invert=true, dataset.normalise=null; omniglot has dataset.invert=false"),
        (GLYPHS, [*OMNIGLOT, SCALED], "dataset.normalise=null on black; omniglot has dataset.invert=true, "),
        (FONTS, [*OWN, "dataset.invert=true", "dataset.background=black"], " on white; image_folder-images has "),
        (ARRAYS, ["dataset=arrays", "dataset.invert=true"], "arrays has dataset.invert=true"),
    ],
)
def test_other_values_of_strokes_or_paper_are_warned_of(trained: list[str], asked: list[str], said: str) -> None:
    assert said in warned(trained, asked)

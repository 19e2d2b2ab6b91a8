"""Draws the figures of a run once, in a process whose forks will draw them again: fonts and texts stay in memory."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from metaexp.results.figures.curves import Lines, Selected, adaptation_curve, learning_curve
from metaexp.results.figures.episodes import AdaptedEpisode, adapted_episodes
from metaexp.results.figures.fits import Fit, function_fits
from metaexp.results.history import Curve
from metaexp.results.record import Score


def draw_figures_once(classification: bool) -> None:
    """Draw the figures of a run of few steps. Where no file can be written, later figures are slower, and that is all.

    Args:
        classification: Whether the run is classification. Regression has other figures.
    """
    metric = "accuracy" if classification else "mse"
    scores = [Score(metric, mean, 0.1, 100) for mean in (0.2, 0.6, 0.8, 0.9)]
    validation = Curve([0, 50, 100], [0.2, 0.6, 0.8], [0.1, 0.1, 0.1])
    loss = Curve([0, 50, 100], [2.0, 1.0, 0.5])
    lines = Lines(0.2) if classification else None
    with suppress(OSError), TemporaryDirectory() as folder:
        path = Path(folder) / "figure.png"
        learning_curve(path, "maml", metric, validation, loss, Selected(100), scores[-1], lines)
        adaptation_curve(path, "maml", scores, lines)
        if classification:
            adapted_episodes(path, "maml", [_episode(row) for row in range(4)])
        else:
            x = np.linspace(-5.0, 5.0, 11)
            function_fits(path, "maml", [Fit(x, x, x, x, {0: 0.0 * x, 1: 0.5 * x, 5: x})])


def _episode(row: int) -> AdaptedEpisode:
    """As of 5-way 1-shot, the most usual setting, with right and wrong answers and the digits of all percentages."""
    support, query = np.arange(5), np.repeat(np.arange(5), 2)
    images = [np.eye(28)] * 10
    return AdaptedEpisode(images, support, images, query, np.roll(query, 1), (np.arange(10) * 10 + row * 3) / 100)

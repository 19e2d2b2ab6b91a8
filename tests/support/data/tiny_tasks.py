"""Tiny tasks for the tests of algorithms and engines."""

from collections.abc import Callable

import pytest
import torch

from metaexp.core.types import Episode, Examples

MakeTask = Callable[..., Episode]


@pytest.fixture
def make_task() -> MakeTask:
    """A function that draws one task: noisy points in four dimensions, in float64, support and query shuffled.

    n_way 0 gives a regression task: the first coordinate, twice.
    """

    def make(n_way: int = 3, k_shot: int = 2, n_query: int = 2, seed: int = 0) -> Episode:
        generator = torch.Generator().manual_seed(seed)
        centres = 2 * torch.randn(max(n_way, 1), 4, generator=generator, dtype=torch.float64)

        def draw(per_class: int) -> Examples:
            y = torch.randperm(len(centres) * per_class, generator=generator) % len(centres)
            x = centres[y] + 0.5 * torch.randn(len(y), 4, generator=generator, dtype=torch.float64)
            return Examples(x, y, n_way) if n_way else Examples(x, x[:, :1].repeat(1, 2))

        return Episode(draw(k_shot), draw(n_query))

    return make

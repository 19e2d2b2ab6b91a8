"""How many ways, shots and queries an episode has. Importing this module does not import torch.

The rule of Meta-Dataset (Triantafillou et al., "Meta-Dataset: A Dataset of Datasets for Learning to Learn from Few
Examples", ICLR 2020, section 3.2 and appendix A.3), for a domain without a hierarchy of classes. With C the classes of
an episode and |Im(c)| the images of a class c:

    ways            N uniform in [least_ways, min(task.n_way, classes of the domain)]
    queries         q = min(task.n_query, min_c floor(|Im(c)| / 2)), for each class
    support size    min(most_support, sum_c ceil(beta * min(task.k_shot, |Im(c)| - q))), beta uniform in (0, 1]
    shots of c      min(floor(R_c * (support size - N)) + 1, |Im(c)| - q),
                    R_c proportional to exp(alpha_c) * |Im(c)|, alpha_c uniform in [log 0.5, log 2)

The paper has least_ways = 5, task.n_way = 50, task.k_shot = 100, task.n_query = 10 and most_support = 500. Departures:
beta and 2^u = exp(alpha) are multiples of 2^-20, and all else is computed in whole numbers, so that every machine gets
the same. ``unequal_queries`` is not in the paper: each class then has from 1 to q queries.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from metaexp.core.shapes import TaskShape

_ONE: Final = 1 << 20

Draw = Callable[[str, int, int], int]
"""(what, number, high) -> a whole number in [0, high), the same for the same episode."""


class Sampling(NamedTuple):
    """What is varied between episodes.

    Attributes:
        least_ways: The fewest ways; None: ``task.n_way`` in every episode.
        varied_shots: Whether shots and queries are drawn by the rule; otherwise they are those of ``task``.
        most_support: The largest support set.
        unequal_queries: Whether each class has its own number of queries.
        alike: How many consecutive episodes have ways, shots and domain in common.
    """

    least_ways: int | None = None
    varied_shots: bool = False
    most_support: int = 500
    unequal_queries: bool = False
    alike: int = 1

    @property
    def varies(self) -> bool:
        """Whether episodes differ in shape."""
        return self.least_ways is not None or self.varied_shots or self.unequal_queries


class Sizes(NamedTuple):
    """Shots and queries of each class of an episode."""

    shots: tuple[int, ...]
    queries: tuple[int, ...]


def n_ways(sampling: Sampling, shape: TaskShape, n_classes: int, draw: Draw) -> int:
    """Return the ways of an episode.

    Args:
        sampling: What is varied.
        shape: ``task``.
        n_classes: Classes of the domain.
        draw: The random numbers of the episode's shape.
    """
    if sampling.least_ways is None:
        return shape.n_way
    most = min(shape.n_way, n_classes)
    return sampling.least_ways + draw("ways", 0, max(most - sampling.least_ways, 0) + 1)


def sizes_of(sampling: Sampling, shape: TaskShape, images: Sequence[int], draw: Draw) -> Sizes:
    """Return shots and queries of each class of an episode.

    Args:
        sampling: What is varied.
        shape: ``task``.
        images: The images of each of its classes.
        draw: The random numbers of the episode's shape.
    """
    n_way = len(images)
    if not sampling.varied_shots:
        shots, most = (shape.k_shot,) * n_way, shape.n_query
    else:
        most = max(1, min(shape.n_query, min(images) // 2))
        beta = draw("beta", 0, _ONE) + 1
        size = min(sampling.most_support, sum(-(-beta * min(shape.k_shot, n - most) // _ONE) for n in images))
        weights = [round(2.0 ** (2 * draw("weights", i, _ONE) / _ONE - 1) * _ONE) * n for i, n in enumerate(images)]
        total = sum(weights)
        shots = tuple(
            min(w * max(size - n_way, 0) // total + 1, n - most) for w, n in zip(weights, images, strict=True)
        )
    queries = tuple(1 + draw("queries", i, most) if sampling.unequal_queries else most for i in range(n_way))
    return Sizes(shots, queries)

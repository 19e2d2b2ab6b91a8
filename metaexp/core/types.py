"""Examples, episodes, and what an evaluation returns. Axes are explained in :mod:`metaexp.core.shapes`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from torch import Tensor

from metaexp.core.errors import ConfigError

Adapted = Any
"""What an algorithm makes of a support set: any nest of tuples, lists and dicts of tensors."""


class Examples(NamedTuple):
    """Labelled examples of one task, or of T tasks with a leading T on both tensors.

    Attributes:
        x: float32 images (S, C, H, W), sequences (S, L, D) or vectors (S, D).
        y: (S,) int64 in [0, n_way) for classification, (S, D_out) float32 for regression.
        n_way: the number of classes N; 0 for regression. It is a plain int because shapes depend on it.
    """

    x: Tensor
    y: Tensor
    n_way: int = 0


class Episode(NamedTuple):
    """One task, ready to learn from and be tested on. A batch of tasks has a leading T on every tensor."""

    support: Examples
    query: Examples


class EpisodeClasses(NamedTuple):
    """The classes of an episode, and what its queries were taken for after the last step of adaptation.

    Attributes:
        names: the N classes, in the order of their labels.
        counts: (N, N), the queries of each class by the class that they were taken for.
    """

    names: tuple[str, ...]
    counts: list[list[int]]


class EvalResult(NamedTuple):
    """A metric over a bank of episodes.

    Attributes:
        mean: the mean of ``per_episode``.
        ci95: half the width of the 95 % interval, 1.96 * std(ddof=0) / sqrt(n).
        n_episodes: the number n of episodes.
        per_episode: (n_episodes,) float64, the metric on each episode.
        per_step: (steps + 1, n_episodes), the metric after 0..S adaptation steps. Its last row is ``per_episode``.
            Algorithms without steps have a single row.
        extra: name -> (n_episodes,), the metrics of ``eval.metrics`` after the last step.
        domains: the dataset that each episode is from, (n_episodes,), for a mixture; empty for other data.
        classes: the classes of each episode, (n_episodes,), with ``eval.metrics=[per_class]``; else empty, and where
            the dataset does not name its classes.
    """

    mean: float
    ci95: float
    n_episodes: int
    per_episode: Tensor
    per_step: Tensor
    extra: Mapping[str, Tensor] = MappingProxyType({})
    domains: tuple[str, ...] = ()
    classes: tuple[EpisodeClasses, ...] = ()


def map_tensors(function: Callable[[Tensor], Tensor], tree: Any) -> Any:
    """Apply ``function`` to every tensor in a nest of tuples, lists and dicts; other leaves stay.

    Args:
        function: Called with each tensor.
        tree: The nest.
    """
    if isinstance(tree, Tensor):
        return function(tree)
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):
        return type(tree)(*(map_tensors(function, item) for item in tree))
    if isinstance(tree, (list, tuple)):
        return type(tree)(map_tensors(function, item) for item in tree)
    if isinstance(tree, dict):
        return {key: map_tensors(function, item) for key, item in tree.items()}
    return tree


def combine_tensors(join: Callable[[list[Tensor]], Tensor], trees: Sequence[Any]) -> Any:
    """Join equal nests tensor by tensor, with ``torch.stack`` or ``torch.cat``; other leaves are those of the first.

    Args:
        join: Called with the tensors of all nests that have the same place.
        trees: The nests, of tuples, lists and dicts.

    Raises:
        ConfigError: Dicts that have the same place have different keys.
    """
    first = trees[0]
    if isinstance(first, Tensor):
        return join(list(trees))
    if isinstance(first, dict):
        if odd := set().union(*trees) - set.intersection(*map(set, trees)):
            raise ConfigError(
                f"some tasks of a batch give {min(map(str, odd))} and others do not. The buffers that a task assigns, "
                "and the names in what it returns, must not depend on its examples."
            )
        return {key: combine_tensors(join, [tree[key] for tree in trees]) for key in first}
    if isinstance(first, (tuple, list)):
        items = [combine_tensors(join, items) for items in zip(*trees, strict=True)]
        return type(first)(*items) if hasattr(first, "_fields") else type(first)(items)
    return first


def mapped_axes(tree: Any) -> Any:
    """Return the ``in_dims`` of ``torch.vmap`` for a nest of tuples: 0 for tensors, None for leaves like ``n_way``."""
    if isinstance(tree, Tensor):
        return 0
    if isinstance(tree, tuple):
        axes = [mapped_axes(item) for item in tree]
        return type(tree)(*axes) if hasattr(tree, "_fields") else tuple(axes)
    return None


def n_tasks(episodes: Episode) -> int:
    """T, the number of tasks in a batch."""
    return episodes.support.x.shape[0]


def select_tasks(episodes: Episode, start: int, stop: int) -> Episode:
    """Return some tasks of a batch, still with the leading axis.

    Args:
        episodes: A batch of tasks.
        start: The first task.
        stop: The task after the last one.
    """
    selected: Episode = map_tensors(lambda t: t[start:stop], episodes)
    return selected


def one_task(episodes: Episode, index: int) -> Episode:
    """Task ``index`` of a batch, without the leading axis.

    Args:
        episodes: Tasks with a leading axis T.
        index: Which one, in [0, T).
    """
    task: Episode = map_tensors(lambda t: t[index], episodes)
    return task

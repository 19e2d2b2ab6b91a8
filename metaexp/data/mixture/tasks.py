"""The episodes of a mixture of datasets, by address.

Episode i of a split is an episode of one domain: in training a domain drawn for i, in validation and test the domains
in turn, so that all have equally many. With a fixed shape it is exactly episode i of the domain alone. Shape and
domain are functions of (seed, split, i), so all ranks and all algorithms see the same.

Where episodes differ in shape, those of one shape are stacked and computed together, and the groups one after the other
(:meth:`TaskSource.alike`). Nothing is padded or masked, so statistics of batch norm, prototypes and losses are exactly
those of the episode alone, for every algorithm.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import torch
from torch import Tensor

from metaexp.core.addressing import distinct, episode_keys, integers, permutation, subkeys
from metaexp.core.errors import ConfigError
from metaexp.core.shapes import Split, TaskShape
from metaexp.core.types import Episode, Examples
from metaexp.data.base import TaskSource
from metaexp.data.classification.class_dataset import ClassDataset
from metaexp.data.classification.tasks import ClassTasks, first_rows
from metaexp.data.mixture.sizes import Sampling, Sizes, n_ways, sizes_of

_CLASSES: Final = 0
_EXAMPLES: Final = 1
_ROTATION: Final = 2
_SUPPORT_ORDER: Final = 3
_QUERY_ORDER: Final = 4
_DOMAIN: Final = 10
_STREAMS: Final = {"ways": 11, "beta": 12, "weights": 13, "queries": 14}
_HASHED_AT_ONCE: Final = 1024


class EpisodeDraw(NamedTuple):
    """The rows and labels of one episode of a domain.

    Attributes:
        domain: The number of the domain.
        n_way: Its classes.
        support_rows: (S,) int64.
        support_y: (S,) int64.
        query_rows: (M,) int64.
        query_y: (M,) int64.
    """

    domain: int
    n_way: int
    support_rows: Tensor
    support_y: Tensor
    query_rows: Tensor
    query_y: Tensor


class _Mixed(TaskSource):
    """What tasks of both kinds share: the domains, and which episode is of which."""

    def __init__(self, domains: Mapping[str, ClassDataset], shape: TaskShape, seed: int, sampling: Sampling) -> None:
        """Take the domains, the shape of tasks, the seed that decides which they are, and what is varied."""
        self._domains = dict(domains)
        self._shape = shape
        self._seed = seed
        self._sampling = sampling

    def domain_names(self, split: Split, n_episodes: int) -> list[str]:
        """Return the domain of each of the first episodes of a split."""
        names = self._names(split)
        return [names[d] for d in self._numbers(split, torch.arange(n_episodes))]

    def _names(self, split: Split) -> list[str]:
        """The domains that have classes in a split."""
        names = [name for name, domain in self._domains.items() if split in domain.capacity()]
        if not names:
            raise ConfigError(f"no dataset of the mixture has classes for {split}.")
        return names

    def _numbers(self, split: Split, indices: Tensor) -> list[int]:
        """The number, among those of the split, of the domain of each episode."""
        n_domains, blocks = len(self._names(split)), indices.cpu() // self._sampling.alike
        if split != "train":
            found: list[int] = (blocks % n_domains).tolist()
        else:
            keys = episode_keys(self._seed, split, blocks)
            found = integers(subkeys(keys, _DOMAIN, 1), n_domains).squeeze(-1).tolist()
        return found


class FixedShapeTasks(_Mixed):
    """Episodes of one shape: episode i is episode i of its domain."""

    def __init__(self, domains: Mapping[str, ClassDataset], shape: TaskShape, seed: int, sampling: Sampling) -> None:
        """Take the domains, the shape of tasks, the seed that decides which they are, and what is varied: nothing."""
        super().__init__(domains, shape, seed, sampling)
        self._tasks = {name: domain.tasks(shape, seed) for name, domain in domains.items()}

    def episodes(self, split: Split, indices: Tensor) -> Episode:
        """Return the episodes at ``indices`` (T,): images (T, S, C, H, W), labels (T, S)."""
        names, numbers = self._names(split), self._numbers(split, indices)
        places = {d: [t for t, number in enumerate(numbers) if number == d] for d in dict.fromkeys(numbers)}
        if len(places) == 1:
            return self._tasks[names[numbers[0]]].episodes(split, indices)
        parts = [self._tasks[names[d]].episodes(split, indices[torch.tensor(at)]) for d, at in places.items()]
        order = torch.tensor([t for at in places.values() for t in at]).argsort().to(parts[0].support.y.device)
        support, query = (_in_order([part[i] for part in parts], order) for i in (0, 1))
        return Episode(support, query)

    def class_names(self, split: Split, n_episodes: int) -> list[tuple[str, ...]]:
        """Return the classes of each of the first episodes, as ``domain: class``."""
        domains = self.domain_names(split, n_episodes)
        found = {name: self._tasks[name].class_names(split, n_episodes) for name in dict.fromkeys(domains)}
        return [tuple(f"{name}: {label}" for label in found[name][i]) for i, name in enumerate(domains)]

    def bank_hash(self, split: Split, n_episodes: int) -> str:
        """Return the SHA-256 (hex) over the domains, and over the rows and labels of the first episodes, in order."""
        digest = _hash_of(self._domains)
        names = self._names(split)
        for start in range(0, n_episodes, _HASHED_AT_ONCE):
            indices = torch.arange(start, min(start + _HASHED_AT_ONCE, n_episodes))
            numbers = self._numbers(split, indices)
            draws = {d: _rows(self._tasks[names[d]], split, indices) for d in sorted(set(numbers))}
            for t, d in enumerate(numbers):
                digest.update(names[d].encode() + draws[d][t].numpy().astype("<i8").tobytes())
        found: str = digest.hexdigest()
        return found


class VariedTasks(_Mixed):
    """Episodes that differ in ways, shots and queries, by :mod:`metaexp.data.mixture.sizes`."""

    varies = True

    def episodes(self, split: Split, indices: Tensor) -> Episode:
        """Return the episodes at ``indices`` (T,), which must be of one shape, as one group of :meth:`alike` is.

        Raises:
            ConfigError: The episodes differ in shape, so that they cannot be stacked.
        """
        draws = self._draws(split, indices)
        if len({_shape_of(draw) for draw in draws}) > 1:
            raise ConfigError(
                "these episodes of a mixture differ in ways, shots or queries, and cannot be stacked. Ask for them one "
                "by one, or for the groups of TaskSource.alike."
            )
        names = self._names(split)
        domains = [self._domains[names[draw.domain]] for draw in draws]

        def stacked(rows: str, labels: str) -> Examples:
            x = torch.stack(
                [domain.examples(_at(draw, rows, domain)) for domain, draw in zip(domains, draws, strict=True)]
            )
            y = torch.stack([getattr(draw, labels) for draw in draws]).to(x.device)
            return Examples(x, y, draws[0].n_way)

        return Episode(stacked("support_rows", "support_y"), stacked("query_rows", "query_y"))

    def alike(self, split: Split, indices: Tensor) -> list[Tensor]:
        """Return the places in ``indices`` (T,) of episodes of one shape, a group for each shape, first ones first."""
        groups: dict[tuple[int, ...], list[int]] = {}
        for place, draw in enumerate(self._draws(split, indices)):
            groups.setdefault(_shape_of(draw), []).append(place)
        return [torch.tensor(places) for places in groups.values()]

    def class_names(self, split: Split, n_episodes: int) -> list[tuple[str, ...]]:
        """Return the classes of each of the first episodes, as ``domain: class``."""
        names, found = self._names(split), []
        for draw in self._draws(split, torch.arange(n_episodes)):
            labels = self._domains[names[draw.domain]].classes_of(first_rows(draw.support_rows, draw.support_y))
            found.append(tuple(f"{names[draw.domain]}: {label}" for label in labels))
        return found

    def bank_hash(self, split: Split, n_episodes: int) -> str:
        """Return the SHA-256 (hex) over the domains, and over the rows and labels of the first episodes, in order."""
        digest = _hash_of(self._domains)
        names = self._names(split)
        for draw in self._draws(split, torch.arange(n_episodes)):
            content = torch.cat(draw[2:])
            digest.update(names[draw.domain].encode() + content.numpy().astype("<i8").tobytes())
        found: str = digest.hexdigest()
        return found

    def _draws(self, split: Split, indices: Tensor) -> list[EpisodeDraw]:
        names, numbers, places = self._names(split), self._numbers(split, indices), indices.cpu()
        return [
            self._draw(split, int(index), d, self._domains[names[d]])
            for index, d in zip(places.tolist(), numbers, strict=True)
        ]

    def _draw(self, split: Split, index: int, number: int, domain: ClassDataset) -> EpisodeDraw:
        """The rows and labels of one episode, all on the CPU."""
        table = domain.table(split)
        block = episode_keys(self._seed, split, torch.tensor([index // self._sampling.alike]))

        def draw(what: str, at: int, high: int) -> int:
            return int(integers(subkeys(block, _STREAMS[what], at + 1)[0, at], high))

        n_way = n_ways(self._sampling, self._shape, table.n_classes, draw)
        key = episode_keys(self._seed, split, torch.tensor([index]))  # (1,)
        classes = distinct(key, _CLASSES, n_way, table.n_classes)[0]  # (N,)
        length, first = table.length.cpu()[classes], table.first.cpu()[classes]
        sizes = sizes_of(self._sampling, self._shape, length.tolist(), draw)
        most = max(k + q for k, q in zip(*sizes, strict=True))
        # Of a class with fewer images than the most that another needs, only the first draws are used, which are right.
        chosen = distinct(subkeys(key, _EXAMPLES, n_way)[0], 0, most, length)  # (N, K + Q)
        rows = first.unsqueeze(-1) + chosen + self._turn(key, n_way, split, domain)
        support = _taken(rows, sizes, of_queries=False, key=key, stream=_SUPPORT_ORDER)
        query = _taken(rows, sizes, of_queries=True, key=key, stream=_QUERY_ORDER)
        return EpisodeDraw(number, n_way, *support, *query)

    def _turn(self, key: Tensor, n_way: int, split: Split, domain: ClassDataset) -> Tensor | int:
        """What to add to the rows (N, ...) so that they show a drawn turn, as in :class:`ClassTasks`."""
        rotation = domain.rotation_draw(split)
        if rotation.over == "none":
            return 0
        n = n_way if rotation.over == "per_class" else 1
        return integers(subkeys(key, _ROTATION, n), 4)[0].unsqueeze(-1) * rotation.stride


def _taken(rows: Tensor, sizes: Sizes, *, of_queries: bool, key: Tensor, stream: int) -> tuple[Tensor, Tensor]:
    """The rows (n,) and labels (n,) of the support or the queries, in random order."""
    counts = sizes.queries if of_queries else sizes.shots
    starts = sizes.shots if of_queries else (0,) * len(counts)
    parts = [row[start : start + n] for row, start, n in zip(rows, starts, counts, strict=True)]
    labels = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    order = permutation(key, stream, len(labels))[0]
    return torch.cat(parts)[order], labels[order]


def _shape_of(draw: EpisodeDraw) -> tuple[int, int, int]:
    return draw.n_way, len(draw.support_y), len(draw.query_y)


def _at(draw: EpisodeDraw, rows: str, domain: ClassDataset) -> Tensor:
    found: Tensor = getattr(draw, rows)
    return found.to(domain.device)


def _in_order(parts: list[Examples], order: Tensor) -> Examples:
    x, y = torch.cat([part.x for part in parts]), torch.cat([part.y for part in parts])
    return Examples(x[order], y[order], parts[0].n_way)


def _rows(tasks: ClassTasks, split: Split, indices: Tensor) -> Tensor:
    return torch.cat(tasks.draw(split, indices), dim=1).cpu()


def _hash_of(domains: Mapping[str, ClassDataset]) -> Any:
    text = "".join(f"{name}\0{domain.origin.digest}\0" for name, domain in domains.items())
    return hashlib.sha256(text.encode())

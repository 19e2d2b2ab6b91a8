"""Supervised batches of a mixture, by address."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Final

import torch
from torch import Tensor

from metaexp.core.addressing import distinct, episode_keys, integers, subkeys
from metaexp.core.errors import ConfigError
from metaexp.core.shapes import Split
from metaexp.core.types import Episode, Examples
from metaexp.data.base import TaskSource
from metaexp.data.classification.class_dataset import ClassDataset

_EXAMPLES: Final = 1
_ROTATION: Final = 2


class MixtureBatches(TaskSource):
    """Batches of different examples of all domains, drawn uniformly over the examples.

    The labels of a domain begin where those of the one before end. Turns that are drawn per class or per episode in
    tasks are drawn per example here.
    """

    def __init__(self, domains: Mapping[str, ClassDataset], batch_size: int, seed: int) -> None:
        """Take the domains, the number of examples in a batch, and the seed that decides which they are."""
        self._domains = dict(domains)
        self._batch_size = batch_size
        self._seed = seed

    def episodes(self, split: Split, indices: Tensor) -> Episode:
        """Return the batches at ``indices`` (T,): images (T, B, C, H, W), labels (T, B), as support and as query."""
        places, y = self._draw(split, indices)
        x: Tensor | None = None
        for number, domain in enumerate(self._in(split).values()):
            own = places[..., 0] == number
            examples = domain.examples(places[..., 1][own].to(domain.device))  # (n, C, H, W)
            x = examples.new_zeros(*own.shape, *domain.input_shape) if x is None else x
            x[own.to(x.device)] = examples
        assert x is not None
        batch = Examples(x, y.to(x.device), sum(d.table(split).n_classes for d in self._in(split).values()))
        return Episode(batch, batch)

    def bank_hash(self, split: Split, n_episodes: int) -> str:
        """Return the SHA-256 (hex) over the domains, and over the rows and labels of the first batches."""
        digest = hashlib.sha256("".join(f"{n}\0{d.origin.digest}\0" for n, d in self._domains.items()).encode())
        for index in range(n_episodes):
            places, y = self._draw(split, torch.tensor([index]))
            digest.update(torch.cat([places.flatten(), y.flatten()]).numpy().astype("<i8").tobytes())
        return digest.hexdigest()

    def _in(self, split: Split) -> dict[str, ClassDataset]:
        return {name: domain for name, domain in self._domains.items() if split in domain.capacity()}

    def _draw(self, split: Split, indices: Tensor) -> tuple[Tensor, Tensor]:
        """The domain and row (T, B, 2), and the label (T, B), of every example, on the CPU."""
        tables = [domain.table(split).to(torch.device("cpu")) for domain in self._in(split).values()]
        total = sum(table.total for table in tables)
        if self._batch_size > total:
            raise ConfigError(
                f"train.meta_batch_size={self._batch_size} examples are more than the {total} that the mixture has for "
                f"{split}. Lower it."
            )
        owner = torch.repeat_interleave(torch.arange(len(tables)), torch.tensor([t.n_classes for t in tables]))
        first, length = torch.cat([t.first for t in tables]), torch.cat([t.length for t in tables])
        keys = episode_keys(self._seed, split, indices.cpu())  # (T,)
        number = distinct(keys, _EXAMPLES, self._batch_size, total)  # (T, B)
        ends = length.cumsum(0)
        y = torch.searchsorted(ends, number, right=True)  # (T, B)
        rows = first[y] + number - (ends - length)[y]
        strides = [domain.rotation_draw(split) for domain in self._in(split).values()]
        stride = torch.tensor([0 if draw.over == "none" else draw.stride for draw in strides])
        rows = rows + integers(subkeys(keys, _ROTATION, self._batch_size), 4) * stride[owner[y]]
        return torch.stack([owner[y], rows], dim=-1), y

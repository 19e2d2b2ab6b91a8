"""A mixture of datasets in memory."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

import torch

from metaexp.core.errors import ConfigError
from metaexp.core.fit.domains import Domains, domain_problems
from metaexp.core.shapes import SPLITS, Capacity, Split, TaskShape
from metaexp.data.base import MetaDataset, TaskSource
from metaexp.data.classification.class_dataset import ClassDataset
from metaexp.data.classification.preprocessing import Pixels
from metaexp.data.mixture.batches import MixtureBatches
from metaexp.data.mixture.sizes import Sampling
from metaexp.data.mixture.tasks import FixedShapeTasks, VariedTasks


class MixtureData(MetaDataset):
    """Several classification datasets; an episode is of one of them."""

    kind = "classification"
    target_size = 0

    def __init__(self, domains: Mapping[str, ClassDataset], sampling: Sampling) -> None:
        """Take the datasets.

        Args:
            domains: Name -> dataset; all have examples of one shape.
            sampling: What is varied between episodes.

        Raises:
            ConfigError: The examples of the domains differ in shape.
        """
        (first, like), *others = domains.items()
        for name, domain in others:
            if domain.input_shape != like.input_shape:
                raise ConfigError(
                    f"examples of dataset.domains.{name} are of shape {domain.input_shape}, and those of "
                    f"dataset.domains.{first} of {like.input_shape}. Bring them to one size and number of channels, "
                    f"such as dataset.domains.{name}.image_size={like.input_shape[-1]}."
                )
        self.domains = dict(domains)
        self.sampling = sampling
        self.input_shape = like.input_shape
        text = json.dumps([[name, domain.digest] for name, domain in domains.items()] + [list(sampling)])
        self.digest = hashlib.sha256(text.encode()).hexdigest()

    def capacity(self) -> dict[Split, Capacity] | None:
        """Return the fewest classes, and the smallest class, of any domain; None where ways and shots are drawn."""
        if self.sampling.varies:
            return None
        found: dict[Split, Capacity] = {}
        for split in SPLITS:
            sizes = [sizes[split] for sizes in (d.capacity() for d in self.domains.values()) if split in sizes]
            if sizes:
                found[split] = Capacity(min(s.n_classes for s in sizes), min(s.per_class for s in sizes))
        return found

    def sizes(self) -> Domains:
        """Return what each domain holds."""
        sizes = {name: domain.capacity() for name, domain in self.domains.items()}
        return Domains(sizes, self.sampling.least_ways, self.sampling.varied_shots)

    def class_ids(self, split: Split) -> dict[str, frozenset[str]]:
        """Return what the classes of all domains are recognised by, under ``domain: class``."""
        return {
            f"{name}: {label}": ids
            for name, domain in self.domains.items()
            for label, ids in domain.class_ids(split).items()
        }

    def stored_pixels(self) -> Pixels | None:
        """Return how bytes become float32 in all domains; None if they store floats.

        Raises:
            ConfigError: The domains differ in mean or std, or some store floats.
        """
        found = {name: domain.stored_pixels() for name, domain in self.domains.items()}
        (first, like), *others = found.items()
        for name, pixels in others:
            if (like and like[1:]) != (pixels and pixels[1:]):
                raise ConfigError(
                    "augment.crop, brightness, contrast and saturation need one scale of values, and that of "
                    f"dataset.domains.{name} differs from that of dataset.domains.{first}. Give both the same "
                    "normalise, or leave these keys at 0."
                )
        return like

    def tasks(self, shape: TaskShape, seed: int) -> TaskSource:
        """Return the tasks.

        Raises:
            ConfigError: The shape is impossible, or a domain is too small for it.
        """
        if shape.n_way < 1 or shape.k_shot < 1 or shape.n_query < 1:
            raise ConfigError(
                f"task.n_way={shape.n_way}, task.k_shot={shape.k_shot} and task.n_query={shape.n_query}: "
                "all must be at least 1 for a mixture of classification datasets."
            )
        if not self.sampling.varies:
            return FixedShapeTasks(self.domains, shape, seed, self.sampling)
        self._check_room(shape)
        return VariedTasks(self.domains, shape, seed, self.sampling)

    def batches(self, batch_size: int, seed: int) -> TaskSource:
        """Return batches over the classes of all domains; the labels of one begin where those of the one before end.

        Raises:
            ConfigError: A batch has no example.
        """
        if batch_size < 1:
            raise ConfigError(f"a batch of {batch_size} examples is not possible; the least is 1.")
        return MixtureBatches(self.domains, batch_size, seed)

    def n_labels(self) -> int:
        """Return the training classes of all domains together."""
        return sum(domain.capacity()["train"].n_classes for domain in self.domains.values() if _trains(domain))

    def to(self, device: torch.device) -> MixtureData:
        return MixtureData({name: domain.to(device) for name, domain in self.domains.items()}, self.sampling)

    def _check_room(self, shape: TaskShape) -> None:
        """Raise ConfigError for a domain that has too few classes, or a class with too few examples."""
        problems = [line for split in SPLITS for line in domain_problems(self.sizes(), split, shape)]
        if problems:
            raise ConfigError(list(dict.fromkeys(line.replace("SECTION", "task") for line in problems)))


def _trains(domain: ClassDataset) -> bool:
    return "train" in domain.capacity()

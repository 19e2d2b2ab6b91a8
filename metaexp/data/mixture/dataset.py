"""``dataset=mixture``: several datasets as one. Importing this module does not import torch."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from metaexp.core.counted import counted
from metaexp.core.errors import ConfigError, DataError, MissingDataError
from metaexp.core.fields import PositiveInt
from metaexp.core.fit.domains import Domains
from metaexp.core.shapes import SPLITS, Capacity, Split
from metaexp.data.base import Dataset, MetaDataset, Progress
from metaexp.data.classification.class_ids import named_classes
from metaexp.data.inventory.before_loading import ask_dataset
from metaexp.data.inventory.card import Card
from metaexp.data.inventory.sources import How, Sources
from metaexp.data.mixture.sizes import Sampling

_KEY = re.compile(r"\bdataset\.(?!domains\.|stand_in\b)(?=[a-z])")
"""The beginning of a key of one dataset. ``dataset.stand_in`` is a key of mixtures, too."""


class Mixture(Dataset):
    """Classification datasets whose examples have one shape. Each episode is of one of them.

    Training draws the dataset of each episode; validation and test take them in turn, so that all have equally many
    episodes, and results are known for each.
    """

    kind = "classification"
    equal_classes = False
    card = Card("Several datasets; see the card of each.", "That of each dataset.")

    def __init__(
        self,
        domains: dict[str, Dataset],
        least_ways: PositiveInt | None = None,
        varied_shots: bool = False,
        most_support: PositiveInt = 500,
        unequal_queries: bool = False,
        alike: PositiveInt = 1,
        stand_in: bool = False,
    ) -> None:
        """Describe the mixture.

        Args:
            domains: Name -> dataset.
            least_ways: The fewest ways of an episode, drawn up to ``task.n_way``; None: always ``task.n_way``.
            varied_shots: Whether shots and queries are drawn for each episode, and shots for each class, by the rule of
                Meta-Dataset, with ``task.k_shot`` and ``task.n_query`` as the most. See
                :mod:`metaexp.data.mixture.sizes`.
            most_support: The largest support set then.
            unequal_queries: Whether each class of an episode has its own number of queries, from 1 to the most.
            alike: How many consecutive episodes have their domain, ways and shots in common, so that they can be
                computed together.
            stand_in: Whether made-up images take the place of those of all datasets. The files of mixtures pass it on
                to each (``stand_in: ${dataset.stand_in}``).

        Raises:
            ConfigError: There are fewer than two datasets, one is not a classification dataset, or an episode would
                have one way.
        """
        if len(domains) < 2:
            raise ConfigError(f"dataset.domains has {counted(len(domains), 'dataset')}; a mixture needs at least two.")
        for name, domain in domains.items():
            if domain.kind != "classification" or isinstance(domain, Mixture):
                kind = "a mixture itself" if isinstance(domain, Mixture) else f"for {domain.kind}"
                raise ConfigError(f"dataset.domains.{name} is {kind}; a mixture is of classification datasets.")
        real = [name for name, domain in domains.items() if getattr(domain, "stand_in", ...) is None]
        if stand_in and real:
            raise ConfigError(
                f"dataset.stand_in=true, and dataset.domains.{real[0]} has real images. Write "
                f"`{real[0]}: {{stand_in: ${{dataset.stand_in}}}}` below domains in the file of the mixture."
            )
        if least_ways == 1:
            raise ConfigError("dataset.least_ways=1 leaves nothing to tell apart; set it to 2 or more.")
        self.domains = domains
        self.sampling = Sampling(least_ways, varied_shots, most_support, unequal_queries, alike)
        self.varied_ways = least_ways is not None
        self.val_in_train = any(domain.val_in_train for domain in domains.values())

    def capacity(self) -> Mapping[Split, Capacity] | None:
        """Return None: each domain has its own, see :meth:`sizes_in`."""
        return None

    def sizes_in(self, folder: Path | None) -> Domains:
        """Return what each domain holds, as far as it or its files tell before it is loaded.

        Args:
            folder: ``paths.data``; None reads no file.

        Raises:
            DataError: The files of a domain are wrong. One whose files are missing is not an error here.
        """
        found: dict[str, Mapping[Split, Capacity]] = {}
        for name, domain in self.domains.items():
            try:
                sizes = ask_dataset(domain, "capacity")
                if sizes is None and folder is not None:
                    sizes = ask_dataset(domain, "capacity_in", folder)
            except (MissingDataError, OSError):
                continue
            except DataError as error:
                raise type(error)(self._of_domain(name, str(error))) from error
            if sizes is not None:
                found[name] = sizes
        return Domains(found, self.sampling.least_ways, self.sampling.varied_shots)

    def class_ids_in(self, folder: Path) -> Mapping[Split, Mapping[str, frozenset[str]]] | None:
        """Return the identifiers of all domains, under ``domain: class``; None if those of a domain are not known."""
        found: dict[Split, dict[str, frozenset[str]]] = {split: {} for split in SPLITS}
        for name, domain in self.domains.items():
            known = named_classes(domain, folder)
            if known is None:
                return None
            for split, classes in known.items():
                found[split] |= {f"{name}: {label}": ids for label, ids in classes.items()}
        return found

    def sources(self, folder: Path) -> Sources:
        """Return the files of all domains, and what to do where some are missing."""
        found = {name: of_it for name, domain in self.domains.items() if (of_it := domain.sources(folder)) is not None}
        files = {file.path: file for of_it in found.values() for file in of_it.files}
        missing = {name: of_it for name, of_it in found.items() if of_it.advice}
        is_fetched = all(of_it.how == "fetched" for of_it in missing.values())
        how: How = "computed" if not files and not missing else "fetched" if is_fetched else "by hand"
        fetched = {name: of_it.fetch_size for name, of_it in missing.items() if of_it.fetch_size}
        parts = [f"{name}: {of_it.advice}" for name, of_it in missing.items() if name not in fetched]
        if fetched:  # once for all of them
            sizes = ", ".join(f"{name} ({size})" for name, size in fetched.items())
            parts.insert(0, f"metaexp data prepare fetches {sizes}")
        advice = "; ".join(parts)
        return Sources(how, tuple(files.values()), advice)

    def load(self, folder: Path, progress: Progress) -> MetaDataset:
        """Load every domain.

        Raises:
            ConfigError: The examples of the datasets differ in shape.
            DataError: A dataset is missing, or its test episodes are fixed, so that no others can be drawn from it.
        """
        from metaexp.data.classification.class_dataset import ClassDataset
        from metaexp.data.fixed.tasks import FixedTestDataset
        from metaexp.data.mixture.data import MixtureData

        loaded: dict[str, ClassDataset] = {}
        for name, domain in self.domains.items():
            try:
                found = domain.load(folder, progress)
            except DataError as error:
                raise type(error)(self._of_domain(name, str(error))) from error
            if not isinstance(found, ClassDataset) or isinstance(found, FixedTestDataset):
                raise ConfigError(
                    f"dataset.domains.{name} is not made of classes to draw from, as one with fixed test episodes is "
                    "not. Leave it out."
                )
            if self.sampling.varies and type(found).tasks is not ClassDataset.tasks:
                raise ConfigError(
                    f"dataset.domains.{name} draws tasks by a rule of its own, such as leave_out, and so does this "
                    "mixture. Leave out one of the two."
                )
            loaded[name] = found
        return MixtureData(loaded, self.sampling)

    def _of_domain(self, name: str, message: str) -> str:
        """A message of one of the datasets, with the keys as they are called in the mixture."""
        place = f"dataset.domains.{name}"
        keys = _KEY.sub(lambda _: f"{place}.", message)
        leave_out = f" Or leave {name} out of the mixture: '~{place}'." if len(self.domains) > 2 else ""
        return f"{place}: {keys}{leave_out}"

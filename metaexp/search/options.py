"""Options of a search: ``search=NAME`` and ``search.KEY=VALUE``. Without torch."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from metaexp.config.command_line.override_text import key_of
from metaexp.config.command_line.verb_options import check_verb_options, read_verb_options
from metaexp.config.compose import Composer
from metaexp.core.errors import ConfigError
from metaexp.core.fields import NonNegativeInt, PositiveInt

_DEFAULT = "tpe"
_DECIDING = ("sampler", "pruner", "seed", "startup_trials", "warmup_steps", "storage")


@dataclass(frozen=True)
class SearchOptions:
    """The keys of ``search.*``. The files of ``conf/search`` explain each.

    Attributes:
        sampler: Proposes points.
        pruner: Decides which trials stop early.
        trials: Number of trials; None tries all points of a grid.
        workers: Trials at once on this machine.
        seed: Seed of the sampler.
        startup_trials: Trials before the sampler and the pruner use earlier results.
        warmup_steps: Steps before a trial may be stopped early.
        storage: File format of the study.
        folder: The search's folder; None for one below ``paths.outputs``.
        metric: Metric that trials are judged by; None for the validation metric of the task.
        test_best: Whether to test the best trial once all are done.
    """

    sampler: Literal["tpe", "random", "grid"]
    pruner: Literal["median", "halving", "none"]
    trials: PositiveInt | None
    workers: PositiveInt
    seed: NonNegativeInt
    startup_trials: PositiveInt
    warmup_steps: NonNegativeInt
    storage: Literal["journal", "sqlite"]
    folder: str | None
    metric: str | None
    test_best: bool
    fork: bool = True

    def deciding(self) -> list[Any]:
        """Return the options that decide which points are tried and stopped. Other values make another search."""
        return [getattr(self, name) for name in _DECIDING]

    def seed_of_trial(self, number: int) -> int:
        """Return the sampler's seed (32 bits) for a trial.

        Args:
            number: Number of the trial.
        """
        return int.from_bytes(hashlib.sha256(f"{self.seed} {number}".encode()).digest()[:4], "big")

    @classmethod
    def parse(cls, overrides: Sequence[str], composer: Composer) -> SearchCommand:
        """Separate the options of the search from the overrides of its trials.

        Args:
            overrides: All overrides of the command line.
            composer: Reads overrides and files.

        Raises:
            ConfigError: An option is wrong. The message lists all mistakes.
        """
        problems: list[str] = []
        _, file, given, rest = read_verb_options("search", overrides, composer, problems, default=_DEFAULT)
        options = check_verb_options("search", cls, {**file, **given}, problems)
        if options is not None and options.trials is None and options.sampler != "grid":
            problems.append(
                "search.trials=null has no end; give a number, or search=grid, which tries every combination."
            )
        if problems or options is None:
            raise ConfigError(problems)
        return SearchCommand(options, rest)


def decides(override: str) -> bool:
    """Return whether an override of the command line decides which points are tried, or what a trial is."""
    section, _, name = key_of(override).partition(".")
    return section != "search" or name in ("", *_DECIDING)


class SearchCommand(NamedTuple):
    """The parts of a command line.

    Attributes:
        options: Options of the search.
        trial_overrides: Overrides of the trials.
    """

    options: SearchOptions
    trial_overrides: list[str]

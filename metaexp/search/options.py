"""``search=NAME`` and ``search.KEY=VALUE``: what is asked of a search rather than of its trials. Without torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from metaexp.config.compose import Composer
from metaexp.config.verb_options import check_verb_options, read_verb_options
from metaexp.core.errors import ConfigError
from metaexp.core.fields import NonNegativeInt, PositiveInt

_DEFAULT = "tpe"


@dataclass(frozen=True)
class SearchOptions:
    """``search.*``, as the files of ``conf/search`` explain them. ``trials`` None is all points of a grid."""

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

    def deciding(self) -> list[Any]:
        """Return what decides which points are tried and stopped: another search where it is different."""
        return [self.sampler, self.pruner, self.seed, self.startup_trials, self.warmup_steps, self.storage]

    @classmethod
    def parse(cls, overrides: Sequence[str], composer: Composer) -> SearchCommand:
        """Separate what is asked of the search from what is asked of its trials.

        Args:
            overrides: All overrides of the command line.
            composer: Reads overrides and files.

        Raises:
            ConfigError: With all problems.
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


class SearchCommand(NamedTuple):
    """What a command line asks for: of the search, and of its trials."""

    options: SearchOptions
    trial_overrides: list[str]

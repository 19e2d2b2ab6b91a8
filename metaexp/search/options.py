"""``search=NAME`` and ``search.KEY=VALUE``: what is asked of a search rather than of its trials. Without torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from omegaconf import OmegaConf

from metaexp.config.classes.values import nearest, show
from metaexp.config.compose import Composer
from metaexp.config.section_overrides import kinds_of, section_overrides
from metaexp.core.errors import ConfigError
from metaexp.core.fields import NonNegativeInt, PositiveInt

_SCHEMA = "metaexp.search.options.SearchOptions"
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
        """What decides which points are tried and stopped: another search where it is different."""
        return [self.sampler, self.pruner, self.seed, self.startup_trials, self.warmup_steps, self.storage]


class Asked(NamedTuple):
    """A command taken apart. trial_overrides: of the trials."""

    options: SearchOptions
    trial_overrides: list[str]


def take_apart(overrides: Sequence[str], composer: Composer) -> Asked:
    """Separate what is asked of the search from what is asked of its trials. Raises ConfigError with all problems."""
    problems: list[str] = []
    names, values, rest = section_overrides("search", overrides, composer, problems)
    content = _file(names[0] if names else _DEFAULT, composer, problems) | values
    _check(content, problems)
    if problems:
        raise ConfigError(problems)
    return Asked(SearchOptions(**content), rest)


def _file(name: str, composer: Composer, problems: list[str]) -> dict[str, Any]:
    known = composer.loader.get_group_options("search")
    found = composer.loader.repository.load_config(f"search/{name}") if name in known else None
    content = None if found is None else OmegaConf.to_container(found.config, resolve=False)
    if isinstance(content, dict):
        return {str(key): value for key, value in content.items()}
    problems.append(f"search={name} is not there.{nearest(name, known)} Known: {', '.join(known)}.")
    return _file(_DEFAULT, composer, problems) if name != _DEFAULT else {}


def _check(content: dict[str, Any], problems: list[str]) -> None:
    known = kinds_of(_SCHEMA)
    for key, value in content.items():
        if key not in known:
            problems.append(f"search.{key} is not a key of search.{nearest(key, known)} Known: {', '.join(known)}.")
        elif not known[key].accepts(value):
            problems.append(f"search.{key}={show(value)} must be {known[key].words()}.")
    problems += [f"search.{key} is missing; it must be {known[key].words()}." for key in known if key not in content]
    if content.get("trials") is None and content.get("sampler") != "grid" and not problems:
        problems.append("search.trials=null has no end; give a number, or search=grid, which tries every combination.")

"""``search=NAME`` and ``search.KEY=VALUE``: what is asked of a search rather than of its trials. Without torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from hydra.core.override_parser.types import Override
from omegaconf import OmegaConf

from metaexp.core.errors import ConfigError
from metaexp.core.fields import NonNegativeInt, PositiveInt
from metaexp.runner.compose import Composer
from metaexp.runner.signatures import constructor
from metaexp.runner.source import find_class
from metaexp.runner.sweep.frozen import key_of
from metaexp.runner.values import nearest, show

_SCHEMA = "metaexp.runner.search.options.SearchOptions"
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
    own = [line for line in overrides if is_of_search(line)]
    rest = [line for line in overrides if not is_of_search(line)]
    problems: list[str] = []
    names = [line.partition("=")[2] for line in own if key_of(line) == "search"]
    if len(names) > 1:
        problems.append(f"search= is given {len(names)} times ({', '.join(names)}); give it once.")
    content = _file(names[0] if names else _DEFAULT, composer, problems)
    content |= {
        key_of(line).removeprefix("search."): _value(line, composer, problems) for line in own if "." in key_of(line)
    }
    _check(content, problems)
    if problems:
        raise ConfigError(problems)
    return Asked(SearchOptions(**content), rest)


def is_of_search(line: str) -> bool:
    """Whether an override is for the search."""
    key = key_of(line)
    return key == "search" or key.startswith("search.")


def _file(name: str, composer: Composer, problems: list[str]) -> dict[str, Any]:
    known = composer.loader.get_group_options("search")
    found = composer.loader.repository.load_config(f"search/{name}") if name in known else None
    content = None if found is None else OmegaConf.to_container(found.config, resolve=False)
    if isinstance(content, dict):
        return {str(key): value for key, value in content.items()}
    problems.append(f"search={name} is not there.{nearest(name, known)} Known: {', '.join(known)}.")
    return _file(_DEFAULT, composer, problems) if name != _DEFAULT else {}


def _value(line: str, composer: Composer, problems: list[str]) -> Any:
    parsed = composer.parse(line)
    if isinstance(parsed, Override) and not parsed.is_sweep_override():
        return parsed.value()
    problems.append(parsed if isinstance(parsed, str) else f"{line} holds several values; a search has one.")
    return None


def _check(content: dict[str, Any], problems: list[str]) -> None:
    source = find_class(_SCHEMA)
    assert source is not None
    known = {argument.name: argument.kind for argument in constructor(source).arguments}
    for key, value in content.items():
        if key not in known:
            problems.append(f"search.{key} is not a key of search.{nearest(key, known)} Known: {', '.join(known)}.")
        elif not known[key].accepts(value):
            problems.append(f"search.{key}={show(value)} must be {known[key].words()}.")
    problems += [f"search.{key} is missing; it must be {known[key].words()}." for key in known if key not in content]
    if content.get("trials") is None and content.get("sampler") != "grid" and not problems:
        problems.append("search.trials=null has no end; give a number, or search=grid, which tries every combination.")

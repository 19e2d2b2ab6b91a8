"""``sweep=NAME`` and ``sweep.KEY=VALUE``: what is asked of a sweep rather than of its jobs. Without torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

from omegaconf import OmegaConf

from metaexp.config.classes.values import nearest, show
from metaexp.config.compose import Composer
from metaexp.config.section_overrides import key_of, kinds_of, section_overrides
from metaexp.core.errors import ConfigError
from metaexp.core.fields import NonNegativeInt, PositiveInt

_SCHEMA = "metaexp.sweep.options.SweepOptions"


@dataclass(frozen=True)
class SweepOptions:
    """``sweep.*``.

    on_error: after a job fails, ``continue`` with the others, ``stop`` them (they save), or ``retry`` it.
    retries: with ``retry``, how often a job that failed is tried again. n_jobs: jobs at once on this machine, with
    ``hydra/launcher=basic``. new: begin anew where the same command has a sweep already. reuse: a new sweep
    takes completed runs over that are what its jobs would be.
    """

    on_error: Literal["continue", "stop", "retry"] = "continue"
    retries: NonNegativeInt = 2
    n_jobs: PositiveInt = 1
    new: bool = False
    reuse: bool = False


class Asked(NamedTuple):
    """A command taken apart. name: of the ready-made sweep, None where there is none. job_overrides: of the jobs."""

    name: str | None
    options: SweepOptions
    job_overrides: list[str]


def take_apart(overrides: Sequence[str], composer: Composer) -> Asked:
    """Separate what is asked of the sweep from what is asked of its jobs, and put the ready-made sweep in.

    Keys of the command line come before those of the file. Raises ConfigError with all problems.
    """
    problems: list[str] = []
    names, given, rest = section_overrides("sweep", overrides, composer, problems)
    name = names[0] if names and names[0] not in ("null", "") else None
    file = _file(name, composer, problems) if name else {}
    params = file.pop("params", {})
    options = _checked({**file, **given}, problems)
    keys = {key_of(line) for line in rest}
    job_overrides = [f"{key}={_choices(value)}" for key, value in params.items() if key.lstrip("+") not in keys] + rest
    if problems:
        raise ConfigError(problems)
    return Asked(name, options, job_overrides)


def _file(name: str, composer: Composer, problems: list[str]) -> dict[str, Any]:
    """The content of a ready-made sweep."""
    known = composer.groups().get("sweep", [])
    found = composer.loader.repository.load_config(f"sweep/{name}") if name in known else None
    if found is None:
        problems.append(f"sweep={name} is not there.{nearest(name, known)} Known: {', '.join(known) or 'none'}.")
        return {}
    content = OmegaConf.to_container(found.config, resolve=False)
    params = content.get("params") if isinstance(content, dict) else None
    if not isinstance(content, dict) or not isinstance(params, Mapping):
        problems.append(f"sweep/{name}.yaml must have params: keys, each with its values.")
        return {}
    return {str(key): value for key, value in content.items()}


def _checked(given: Mapping[str, Any], problems: list[str]) -> SweepOptions:
    known = kinds_of(_SCHEMA)
    options = SweepOptions()
    for key, value in given.items():
        if key not in known:
            problems.append(
                f"sweep.{key} is not a key of sweep.{nearest(key, known)} Known: {', '.join(known)}; in files, params."
            )
        elif value is not None and not known[key].accepts(value):
            problems.append(f"sweep.{key}={show(value)} must be {known[key].words()}.")
        elif value is not None:
            options = replace(options, **{key: value})
    return options


def _choices(value: Any) -> str:
    """Values of a key in a file, as they are written on the command line: a list is several values."""
    return ",".join(show(item) for item in value) if isinstance(value, list) else show(value)

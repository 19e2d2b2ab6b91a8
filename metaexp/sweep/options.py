"""``sweep=NAME`` and ``sweep.KEY=VALUE``: what is asked of a sweep rather than of its jobs. Without torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from metaexp.config.classes.values import show
from metaexp.config.compose import Composer
from metaexp.config.section_overrides import key_of
from metaexp.config.verb_options import check_verb_options, read_verb_options
from metaexp.core.errors import ConfigError
from metaexp.core.fields import NonNegativeInt, PositiveInt


@dataclass(frozen=True)
class SweepOptions:
    """``sweep.*``.

    Attributes:
        on_error: After a job fails, ``continue`` with the others, ``stop`` them (they save), or ``retry`` it.
        retries: With ``retry``, how often a job that failed is tried again.
        n_jobs: Jobs at once on this machine, with ``hydra/launcher=basic``.
        new: Begin anew where the same command has a sweep already.
        reuse: Let a new sweep take over completed runs that are what its jobs would be.
    """

    on_error: Literal["continue", "stop", "retry"] = "continue"
    retries: NonNegativeInt = 2
    n_jobs: PositiveInt = 1
    new: bool = False
    reuse: bool = False

    @classmethod
    def parse(cls, overrides: Sequence[str], composer: Composer) -> SweepCommand:
        """Separate what is asked of the sweep from what is asked of its jobs, and put the ready-made sweep in.

        Args:
            overrides: All overrides of the command line. Their keys come before those of the file.
            composer: Reads overrides and files.

        Raises:
            ConfigError: With all problems.
        """
        problems: list[str] = []
        name, file, given, rest = read_verb_options("sweep", overrides, composer, problems)
        params = file.pop("params", None)
        if name is not None and not problems and not isinstance(params, Mapping):
            problems.append(f"sweep/{name}.yaml must have params: keys, each with its values.")
            file = {}
        options = check_verb_options("sweep", cls, {**file, **given}, problems, hint="; in files, params")
        if problems or options is None:
            raise ConfigError(problems)
        keys = {key_of(line) for line in rest}
        added = [f"{key}={_choices(value)}" for key, value in (params or {}).items() if key.lstrip("+") not in keys]
        return SweepCommand(name, options, added + rest)


class SweepCommand(NamedTuple):
    """What a command line asks for.

    Attributes:
        name: Of the ready-made sweep; None where there is none.
        options: Of the sweep.
        job_overrides: Of the jobs.
    """

    name: str | None
    options: SweepOptions
    job_overrides: list[str]


def _choices(value: Any) -> str:
    """Values of a key in a file, as they are written on the command line: a list is several values."""
    return ",".join(show(item) for item in value) if isinstance(value, list) else show(value)

"""Options of a sweep: ``sweep=NAME`` and ``sweep.KEY=VALUE``. Without torch."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

from metaexp.config.classes.values import format_setting
from metaexp.config.command_line.override_text import key_of
from metaexp.config.command_line.verb_options import check_verb_options, read_verb_options
from metaexp.config.compose import Composer
from metaexp.core.errors import ConfigError
from metaexp.core.fields import NonNegativeInt, PositiveInt
from metaexp.sweep.groups import asks_for_seeds, together_problems, with_seeds

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


@dataclass(frozen=True)
class SweepOptions:
    """``sweep.*``.

    Attributes:
        on_error: After a job fails, ``continue`` with the others, ``stop`` them (they save), or ``retry`` it.
        retries: With ``retry``, how often a job that failed is tried again.
        n_jobs: Jobs at once on this machine, with ``hydra/launcher=basic``; ``auto`` is one on each core.
        fork: Fork jobs on the CPU from one process that has imported everything, so that none waits for imports.
        new: Start a new sweep, even if the same command has one already.
        reuse: Copy completed runs that the jobs of a new sweep would repeat.
        together: Train jobs together that differ only in the seed and in what comes after the gradient, such as
            ``optimizer.lr``. Small networks are faster so. ``train.seeds`` sets it.
        name: The name of the sweep's folder and of its group in W&B. By default it is made from the keys that vary.
    """

    on_error: Literal["continue", "stop", "retry"] = "continue"
    retries: NonNegativeInt = 2
    n_jobs: PositiveInt | Literal["auto"] = 1
    fork: bool = True
    new: bool = False
    reuse: bool = False
    together: bool = False
    name: str | None = None

    @classmethod
    def parse(cls, overrides: Sequence[str], composer: Composer) -> SweepCommand:
        """Separate the options of the sweep from the overrides of its jobs, and add those of the sweep file.

        Args:
            overrides: All overrides of the command line. They win over the sweep file.
            composer: Reads overrides and files.

        Raises:
            ConfigError: An option is wrong. The message lists all mistakes.
        """
        problems: list[str] = []
        name, file, given, rest = read_verb_options("sweep", overrides, composer, problems)
        params = file.pop("params", None)
        if name is not None and not problems and not isinstance(params, Mapping):
            problems.append(f"sweep/{name}.yaml must have params: keys, each with its values.")
            file = {}
        options = check_verb_options("sweep", cls, {**file, **given}, problems, hint="; in files, params")
        if options is not None and options.name is not None and not _NAME.fullmatch(options.name):
            problems.append(
                f"sweep.name={format_setting(options.name)} names a folder: letters, digits, '.', '-' and '_', at most "
                "100, the first a letter or a digit."
            )
        if asks_for_seeds(rest):
            rest = with_seeds(rest, composer, problems)
            options = options and replace(options, together=True)
        if options is not None and options.together:
            problems += together_problems(rest)
        if problems or options is None:
            raise ConfigError(problems)
        keys = {key_of(line) for line in rest}
        added = [f"{key}={_choices(value)}" for key, value in (params or {}).items() if key.lstrip("+") not in keys]
        return SweepCommand(name, options, added + rest)


class SweepCommand(NamedTuple):
    """The parts of a command line.

    Attributes:
        name: Name of the sweep file; None if none is chosen.
        options: Options of the sweep.
        job_overrides: Overrides of the jobs.
    """

    name: str | None
    options: SweepOptions
    job_overrides: list[str]


def _choices(value: Any) -> str:
    """A value of the sweep file as it stands on the command line. A list becomes several values."""
    return ",".join(format_setting(item) for item in value) if isinstance(value, list) else format_setting(value)

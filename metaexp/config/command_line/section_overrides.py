"""Separates options of a verb (``sweep=NAME``, ``sweep.KEY=VALUE``) from overrides of its runs. Without torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from hydra.core.override_parser.types import Override

from metaexp.config.classes.signatures import constructor
from metaexp.config.classes.source import find_class
from metaexp.config.classes.values import Kind
from metaexp.config.command_line.override_text import key_of
from metaexp.config.compose import Composer

FROM = "from"
"""``from=RUN``: continue from the last checkpoint of another run."""


class SectionOverrides(NamedTuple):
    """The overrides of a command line, those of one section apart from the others."""

    names: list[str]
    """Values given to the section itself, such as ``seeds`` in ``sweep=seeds``."""
    values: dict[str, Any]
    """Key -> value, as in ``sweep.n_jobs=2``."""
    rest: list[str]
    """All other overrides, as given."""


def section_overrides(
    section: str, overrides: Sequence[str], composer: Composer, problems: list[str]
) -> SectionOverrides:
    """Separate the overrides of one section from the others.

    Args:
        section: Its name, such as ``sweep``.
        overrides: All overrides of the command line.
        composer: Reads the overrides.
        problems: A sentence is added for each override of the section that cannot be read.
    """
    own = [line for line in overrides if _is_of(section, line)]
    names = [line.partition("=")[2] for line in own if key_of(line) == section]
    if len(names) > 1:
        problems.append(f"{section}= is given {len(names)} times ({', '.join(names)}); give it once.")
    values = {
        key_of(line).removeprefix(f"{section}."): _value(section, line, composer, problems)
        for line in own
        if "." in key_of(line)
    }
    return SectionOverrides(names, values, [line for line in overrides if not _is_of(section, line)])


def continues_run(overrides: Sequence[str]) -> bool:
    """Return whether overrides ask for a run that continues another one."""
    return any(key_of(line) == FROM for line in overrides)


def kinds_of(schema: str) -> Mapping[str, Kind]:
    """Return the fields of a dataclass, each with the values that it accepts.

    Args:
        schema: The dotted path of the dataclass.
    """
    source = find_class(schema)
    assert source is not None
    return {argument.name: argument.kind for argument in constructor(source).arguments}


def _is_of(section: str, line: str) -> bool:
    return key_of(line) == section or key_of(line).startswith(f"{section}.")


def _value(section: str, line: str, composer: Composer, problems: list[str]) -> Any:
    parsed = composer.parse(line)
    if isinstance(parsed, Override) and not parsed.is_sweep_override():
        return parsed.value()
    problems.append(parsed if isinstance(parsed, str) else f"{line} holds several values; a {section} has one.")
    return None

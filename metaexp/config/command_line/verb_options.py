"""Options of a verb, such as ``sweep.n_jobs``: read from a file and the command line, and checked. Without torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields
from typing import Any, NamedTuple, TypeVar

from metaexp.config.classes.refusal import format_refusal
from metaexp.config.classes.values import format_nearest
from metaexp.config.command_line.section_overrides import kinds_of, section_overrides
from metaexp.config.compose import Composer
from metaexp.config.yaml_files import plain

Options = TypeVar("Options")


class VerbOptions(NamedTuple):
    """The options of a verb on a command line, unchecked.

    Attributes:
        name: The file of the verb's group that was chosen; None where none was.
        file: The content of that file.
        given: Key -> value of the command line.
        rest: All other overrides, as given.
    """

    name: str | None
    file: dict[str, Any]
    given: dict[str, Any]
    rest: list[str]


def read_verb_options(
    section: str, overrides: Sequence[str], composer: Composer, problems: list[str], default: str | None = None
) -> VerbOptions:
    """Separate the options of a verb from the overrides of its jobs, and read the file that is chosen.

    Args:
        section: The section's name, which is that of its group of files: ``sweep`` or ``search``.
        overrides: All overrides of the command line.
        composer: Reads overrides and files.
        problems: A sentence is added for each mistake.
        default: The file that is read where none is chosen.
    """
    names, given, rest = section_overrides(section, overrides, composer, problems)
    name = names[0] if names and names[0] not in ("null", "") else None
    file = _read_file(section, name or default, composer, problems) if name or default else None
    if file is None and default is not None:  # so that other mistakes are reported too
        file = _read_file(section, default, composer, problems)
    return VerbOptions(name, file or {}, given, rest)


def _read_file(section: str, name: str | None, composer: Composer, problems: list[str]) -> dict[str, Any] | None:
    known = composer.loader.get_group_options(section)
    found = composer.loader.repository.load_config(f"{section}/{name}") if name in known else None
    if found is None:
        problems.append(f"{section}={name} is not there.{format_nearest(str(name), known)} Known: {', '.join(known)}.")
        return None
    content = plain(found.config)
    if not isinstance(content, dict):
        problems.append(f"{section}/{name}.yaml must hold keys and values.")
        return None
    return {str(key): value for key, value in content.items()}


def check_verb_options(
    section: str, cls: type[Options], values: Mapping[str, Any], problems: list[str], hint: str = ""
) -> Options | None:
    """Check options and make them.

    Args:
        section: The section's name, for messages.
        cls: The dataclass of the options.
        values: Key -> value. A null that a key does not take leaves the key at its default.
        problems: A sentence is added for each mistake.
        hint: Added to the sentence about an unknown key.

    Returns:
        The options; None where there is a mistake.
    """
    known = kinds_of(f"{cls.__module__}.{cls.__qualname__}")
    defaults = {f.name for f in fields(cls) if f.default is not MISSING}  # type: ignore[arg-type]
    taken: dict[str, Any] = {}
    found: list[str] = []
    for key, value in values.items():
        if key not in known:
            found.append(
                f"{section}.{key} is not a key of {section}.{format_nearest(key, known)} "
                f"Known: {', '.join(known)}{hint}."
            )
        elif not (refusal := format_refusal(f"{section}.{key}", value, known[key])):
            taken[key] = value
        elif value is not None or key not in defaults:
            found.append(refusal)
    found += [
        f"{section}.{key} is missing; it must be {kind.format_allowed()}."
        for key, kind in known.items()
        if key not in values and key not in defaults
    ]
    problems += found
    return None if found else cls(**taken)

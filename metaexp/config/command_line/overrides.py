"""Checks each override of the command line, before anything is composed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from typing import NamedTuple

from hydra.core.override_parser.types import Glob, Override
from hydra.errors import HydraException

from metaexp.config.classes.domains import HOW_TO_ADD
from metaexp.config.classes.values import format_nearest, format_setting
from metaexp.config.command_line.inner_sweeps import holds_sweep
from metaexp.config.command_line.misnamed import format_misnamed, format_other_type
from metaexp.config.command_line.override_text import (
    EXAMPLES,
    function_advice,
    incomplete,
    is_of_hydra,
    packaged_key,
    quote_advice,
    quote_home,
)
from metaexp.config.hydra_internals import ConfigLoaderImpl
from metaexp.config.loader import parse_override
from metaexp.core.counted import listed, shortened
from metaexp.core.errors import first_line, name_option
from metaexp.core.extras import install_command

_ALLOWED_HYDRA = ("hydra.launcher.", "hydra.run.dir", "hydra.sweep.dir")
_ALLOWED_GROUPS = ("hydra/launcher", "hydra/sweeper")

_GROUPS = (
    "algorithm", "dataset", "model", "task", "optimizer", "schedule", "clip", "device", "tracker", "paths",
    "experiment", "debug",
)  # fmt: skip
"""Groups of which every configuration has a choice, so that a plus before them changes nothing."""
_SEVERAL = ("tracker",)
"""Groups of which a configuration may have several files."""
_SUFFIX = re.compile(r"\.ya?ml$", re.IGNORECASE)
_MOST_CHARACTERS = 20_000
_MOST_VALUES = 10_000
_MOST_NAMED = 50
"""Choices of a group that are listed in a message."""

_LAUNCHERS = {"joblib": "parallel", "submitit_local": "submitit", "submitit_slurm": "submitit", "ray": "ray"}
"""Launchers that are plugins, and the extra that brings each."""


_SAMPLERS = (
    "`metaexp search` lets a sampler choose values, as sweepers of Hydra do (search=tpe, random or grid): "
    "metaexp search 'optimizer.lr=interval(0.001, 0.01)'. `metaexp train -m` runs all combinations."
)


class SortedOverrides(NamedTuple):
    """Overrides, sorted by how they are applied.

    Attributes:
        choices: Those that decide which files are composed, as given.
        values: Those that set, add or take out one value.
        problems: A sentence for each that is wrong.
        broken: Top-level keys whose value means nothing, because a choice that decides it was wrong.
    """

    choices: list[str]
    values: list[Override]
    problems: list[str]
    broken: frozenset[str]


def sort_overrides(overrides: Sequence[str], loader: ConfigLoaderImpl) -> SortedOverrides:
    """Sort overrides into those that can be composed and those that cannot, with a sentence for each of these.

    Args:
        overrides: Those of the command line.
        loader: Hydra's loader, which knows the groups.
    """
    accepted: list[Override] = []
    problems: list[str] = []
    broken: set[str] = set()
    for line in overrides:
        parsed = parse(line, loader)
        if isinstance(parsed, str):
            problems.append(parsed)
        elif (problem := _problem(parsed, loader)) is not None:
            problems.append(problem)
            broken.add(parsed.key_or_group.partition(".")[0])
        elif not _changes_nothing(parsed):
            accepted.append(parsed)
    sound = [o for o in accepted if o.key_or_group.partition(".")[0] not in broken]
    return SortedOverrides(
        [o.input_line or "" for o in sound if _is_choice(o, loader)],
        [o for o in sound if not _is_choice(o, loader)],
        problems,
        frozenset(broken),
    )


def parse(line: str, loader: ConfigLoaderImpl) -> Override | str:
    """Read one override.

    Args:
        line: The override, as given on the command line.
        loader: Knows the groups and their files.

    Returns:
        The override, or a sentence on why it cannot be read.
    """
    if line.startswith("=") or not ("=" in line or line.startswith("~")):
        return f"'{shortened(line)}' is not an override; write {EXAMPLES}."
    shown = shortened(line)
    if len(line) > _MOST_CHARACTERS:
        return f"{shown} is too long; an override has at most {_MOST_CHARACTERS:,} characters."
    try:
        parsed = replace(parse_override(quote_home(line)))
    except RecursionError:
        return f"{shown} is nested too deeply to be read."
    except (HydraException, ValueError) as error:  # ValueError: a number of thousands of digits
        said = first_line(error).rstrip(".")[:200]
        why = incomplete(line) or f"{said}. {function_advice(said)}{quote_advice(line)}"
        return f"{shown} cannot be read: {why}"
    if parsed.is_add() and parsed.key_or_group in _GROUPS and is_group(parsed, loader):  # Hydra's habit: +experiment=
        return parse(line.removeprefix("+"), loader)
    if holds_sweep(parsed.value()):
        return f"{shown} has a range, an interval or a choice within other values. Write one of these alone, or values."
    parsed.config_loader = loader  # a glob asks it for the files
    return packaged_key(line) or _values_problem(parsed) or parsed


def _values_problem(override: Override) -> str | None:
    """Several values that are none, or too many to be listed."""
    if not override.is_discrete_sweep():
        return None
    line = override.input_line or ""
    try:
        count = sum(1 for _ in islice(override.sweep_iterator(), _MOST_VALUES + 1))
    except (HydraException, ValueError, ZeroDivisionError) as error:
        return f"{line} cannot be read: {first_line(error).rstrip('.')}."
    if count == 0 and isinstance(override.value(), Glob):
        return f"{line} matches nothing."
    if count == 0:
        return f"{line} holds no value at all. Give at least one; range(start,stop) ends before its stop."
    return f"{line} holds more than {_MOST_VALUES:,} values. Give fewer." if count > _MOST_VALUES else None


def is_group(override: Override, loader: ConfigLoaderImpl) -> bool:
    """Whether an override chooses a file of a group, rather than setting a value.

    Args:
        override: A parsed override.
        loader: Hydra's loader, which knows the groups.
    """
    chooses = not isinstance(override.value(), dict)
    return chooses and bool(loader.repository.group_exists(override.key_or_group))


def _problem(override: Override, loader: ConfigLoaderImpl) -> str | None:
    key, line = override.key_or_group, override.input_line or ""
    if key == "sweep" or key.startswith("sweep."):
        return f"{line} is about a sweep, which is several runs; use it with metaexp train -m, or metaexp plan."
    if key in ("from", "resume"):
        return f"{line} continues a run; use it with metaexp train, and give the folder of one run."
    if override.is_sweep_override():
        values = line.partition("=")[2]
        return f"{line} holds several values; metaexp train -m and evaluate take them; [{values}] is one value, a list."
    if key == "search" or key.startswith("search."):
        return f"{line} is about a search, which is many runs; use it with metaexp search."
    problem = _hydra_problem(override, line) if is_of_hydra(line) else None
    if problem is None and "/" in key and not loader.repository.group_exists(key):
        return _slash_problem(key, line)
    return _group_problem(override, loader) if problem is None and is_group(override, loader) else problem


def _slash_problem(key: str, line: str) -> str:
    """Why a key with a slash, which is for groups of files, names none."""
    if f"{key}/".startswith("dataset/domains/"):
        return f"{line}: a command line cannot add a dataset to a mixture. {HOW_TO_ADD}"
    return (
        f"{line}: there is no group of files {key}. A choice of a file is group=name, such as algorithm=maml. A key "
        f"has points: {key.replace('/', '.')}."
    )


def _hydra_problem(override: Override, line: str) -> str | None:
    """Why a key or a group of Hydra's own section cannot be set; None if it can."""
    key = override.key_or_group
    if override.is_delete():
        return f"{line}: nothing can be taken out of Hydra's section; leave {line} out."
    if f"{key}.".startswith("hydra.sweeper."):
        return f"{line}: {_SAMPLERS}"
    if key == "hydra.searchpath":
        where = f"in metaexp and in one folder of your own, {name_option('--config-dir', 'DIR')}"
        return f"{key} cannot be set: files are looked for {where}."
    if not (key.startswith(_ALLOWED_HYDRA) or key in _ALLOWED_GROUPS):
        return (
            f"{key} cannot be set: metaexp does that itself. Of Hydra's section, hydra.run.dir, hydra.sweep.dir "
            "and the launcher can be set."
        )
    if override.is_add() and "/" in key:
        return f"{line}: write {line.lstrip('+')}, without the plus."
    return None


def _group_problem(override: Override, loader: ConfigLoaderImpl) -> str | None:
    group, choice = override.key_or_group, override.value()
    known = loader.get_group_options(group)
    if choice == "":
        return f"{override.input_line} names no file of the group {group}. Known: {_format_known(known, '')}."
    if group in _SEVERAL and isinstance(choice, list):
        return _list_problem(group, [format_setting(name) for name in choice], known, loader)
    other = "" if _changes_nothing(override) else format_other_type(override, known)
    if other or override.is_delete() or _changes_nothing(override):
        return other or None
    if override.is_force_add():
        return f"{override.input_line}: write {group}={format_setting(choice)}, without ++."
    if (
        isinstance(choice, str)
        and choice not in known
        and (name := _SUFFIX.sub("", choice).rpartition("/")[2]) in known
    ):
        left_out = choice.removeprefix(name) if choice.startswith(name) else "folders and suffix"
        return f"{override.input_line}: write {group}={name}, without {left_out}."
    if not isinstance(choice, str) or choice not in known:
        if group == "hydra/sweeper":
            return f"{group}={format_setting(choice)}: {_SAMPLERS}"
        extra = _LAUNCHERS.get(str(choice)) if group == "hydra/launcher" else None
        hint = f" Install it with: {install_command(extra)}." if extra else ""
        hint = hint or format_misnamed(loader, group, str(choice)) or format_nearest(str(choice), known)
        return f"{group}={format_setting(choice)} is not there.{hint} Known: {_format_known(known, str(choice))}."
    return None


def _list_problem(group: str, names: Sequence[str], known: Sequence[str], loader: ConfigLoaderImpl) -> str | None:
    """What is wrong with several files of a group, such as ``tracker=[wandb,tensorboard]``."""
    unknown = [name for name in names if name not in known]
    given = f"{group}=[{','.join(names)}]"
    if unknown:
        hint = format_misnamed(loader, group, unknown[0]) or format_nearest(unknown[0], known)
        return f"{given}: {unknown[0]} is not there.{hint} Known: {_format_known(known, unknown[0])}."
    if len(set(names)) < len(names):
        return f"{given} names a file twice; name each once."
    return None if names else f"{given} is empty; {group}=files has only the files that every run writes."


def _format_known(names: Sequence[str], given: str) -> str:
    """The names; of many, those that have ``given`` in them, and where all are listed."""
    if len(names) > _MOST_NAMED:
        like = [name for name in names if given.strip() and given.strip().lower() in name]
        some = f", such as {listed(like, 5)} with {given.strip()}" if like else ""
        return f"{len(names)} names{some}, which metaexp train --help lists"
    return ", ".join(names) or "none"


def _changes_nothing(override: Override) -> bool:
    """Whether an override chooses nothing, such as ``experiment=null`` or ``debug=null``, which is the default."""
    return override.key_or_group in ("experiment", "debug") and override.value() is None and not override.is_delete()


def _is_choice(override: Override, loader: ConfigLoaderImpl) -> bool:
    """Whether an override is for Hydra itself: a file of a group, or a value in Hydra's own section."""
    return is_group(override, loader) or override.key_or_group.startswith("hydra")

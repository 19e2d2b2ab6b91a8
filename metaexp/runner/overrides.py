"""Overrides of the command line, each judged by itself before anything is composed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException

from metaexp.runner.values import nearest, show

_ALLOWED_HYDRA = ("hydra.launcher.", "hydra.sweeper.", "hydra.run.dir", "hydra.sweep.dir", "hydra.searchpath")


class Judged(NamedTuple):
    """What came of judging overrides.

    accepted: those without a problem, as given. forced: the same, with every value to be set whether or not its
    key exists, so that all unknown keys are seen by the check and not just the first by Hydra. broken: top-level
    keys whose value is not to be believed, because a choice that decides it was wrong.
    """

    accepted: list[str]
    forced: list[str]
    problems: list[str]
    broken: frozenset[str]


def judge(overrides: Sequence[str], loader: ConfigLoaderImpl) -> Judged:
    """Sort overrides into those that can be composed and those that cannot, with a sentence for each of these."""
    accepted: list[Override] = []
    problems: list[str] = []
    broken: set[str] = set()
    for line in overrides:
        parsed = parse(line, loader)
        if isinstance(parsed, str):
            problems.append(parsed)
            continue
        problem = _problem(parsed, loader)
        if problem is None:
            accepted.append(parsed)
            continue
        problems.append(problem)
        broken.add(parsed.key_or_group.partition(".")[0])
    accepted = [o for o in accepted if o.key_or_group.partition(".")[0] not in broken and not _changes_nothing(o)]
    lines = [o.input_line or "" for o in accepted]
    return Judged(lines, [_forced(o, loader) for o in accepted], problems, frozenset(broken))


def parse(line: str, loader: ConfigLoaderImpl) -> Override | str:
    """One override, or why it cannot be read."""
    if "=" not in line and not line.startswith("~"):
        return f"'{line}' is not an override; write key=value, such as algorithm=maml or train.steps=2000."
    try:
        return OverridesParser.create(config_loader=loader).parse_override(line)
    except HydraException as error:
        return f"{line} cannot be read: {first_line(error)}. Quote special characters twice: 'key=\"value\"'."


def is_group(override: Override, loader: ConfigLoaderImpl) -> bool:
    """Whether an override chooses a file of a group, rather than setting a value."""
    chooses = not isinstance(override.value(), dict)
    return chooses and bool(loader.repository.group_exists(override.key_or_group))


def first_line(error: BaseException) -> str:
    """The first line of an error's text, without its full stop."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")


def _problem(override: Override, loader: ConfigLoaderImpl) -> str | None:
    key, line = override.key_or_group, override.input_line or ""
    if override.is_sweep_override():
        values = line.partition("=")[2]
        return f"{line} holds several values; add -m to run them all, or write [{values}] for one value that is a list."
    if is_group(override, loader):
        return _group_problem(override, loader)
    if key == "hydra" or (key.startswith("hydra.") and not key.startswith(_ALLOWED_HYDRA)):
        return (
            f"{key} cannot be set: metaexp does that itself. Of Hydra's section, hydra.run.dir, hydra.sweep.dir, "
            "hydra.searchpath, the launcher and the sweeper are open."
        )
    return None


def _group_problem(override: Override, loader: ConfigLoaderImpl) -> str | None:
    group, choice = override.key_or_group, override.value()
    known = loader.get_group_options(group)
    if override.is_delete() or _changes_nothing(override):
        return None
    if override.is_force_add():
        return f"{override.input_line}: write {group}={show(choice)}, without ++."
    if not isinstance(choice, str) or choice.removesuffix(".yaml") not in known:
        hint = nearest(str(choice), known)
        return f"{group}={show(choice)} is not there.{hint} Known: {', '.join(known) or 'none'}."
    return None


def _changes_nothing(override: Override) -> bool:
    """``experiment=null``: no experiment is what there is without it."""
    return override.key_or_group == "experiment" and override.value() is None and not override.is_delete()


def _forced(override: Override, loader: ConfigLoaderImpl) -> str:
    line = override.input_line or ""
    if override.is_delete() or is_group(override, loader) or override.key_or_group.startswith("hydra"):
        return line
    return "++" + line.lstrip("+")

"""The names that the W&B server takes, checked before a run starts. Without the wandb package."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from typing import Literal

from metaexp.core.errors import ConfigError

log = logging.getLogger(__name__)

Mode = Literal["offline", "online", "disabled"]
MODES: tuple[Mode, ...] = ("offline", "online", "disabled")
_OTHER_MODES: dict[str, Mode] = {"dryrun": "offline", "run": "online", "shared": "online"}
"""Values of WANDB_MODE that the client knows beside :data:`MODES`."""

OF_ONE_RUN = {"WANDB_RUN_ID": "an id", "WANDB_NAME": "a name"}
"""Variables that name one run, and what they give it. Where a command makes several runs, they are left out."""

LONGEST_NAME = 128
_LONGEST_TAG = 64
_NOT_IN_PROJECTS = "/\\#?%:"
NOT_IN_IDS = ":;,#?/'\\% "


def mode_of_environment() -> Mode | None:
    """The mode that WANDB_MODE asks for, None where it is not set.

    Raises:
        ConfigError: The client would not know the value, and would not start.
    """
    given = os.environ.get("WANDB_MODE", "").strip().lower()
    for mode in MODES:
        if given == mode:
            return mode
    if not given or given in _OTHER_MODES:
        return _OTHER_MODES.get(given)
    known = ", ".join([*MODES, *_OTHER_MODES])
    raise ConfigError(
        f"WANDB_MODE={given!r} in the environment is none of {known}. Change it, or unset it to use tracker.wandb.mode."
    )


def tags_of_environment() -> list[str]:
    """The tags in WANDB_TAGS, which are separated by commas."""
    return [tag.strip() for tag in os.environ.get("WANDB_TAGS", "").split(",") if tag.strip()]


def notes_of_one_run(each: str) -> list[str]:
    """Return a line for each variable of :data:`OF_ONE_RUN` that is set and is left out.

    Args:
        each: What there are several of: ``job of a sweep``.
    """
    given = [name for name in OF_ONE_RUN if os.environ.get(name)]
    return [f"{name} names one run and is not used: each {each} has {OF_ONE_RUN[name]} of its own" for name in given]


def mode_in_force(wanted: Mode) -> Mode:
    """Return the mode: online under an agent of W&B, else the key, unless WANDB_MODE says otherwise.

    Args:
        wanted: the key tracker.wandb.mode.
    """
    before: Mode = "online" if os.environ.get("WANDB_SWEEP_ID") else wanted
    given = mode_of_environment()
    if given is None or given == before:
        return before
    log.info("WANDB_MODE=%s in the environment comes before tracker.wandb.mode=%s", given, wanted)
    return given


def check_names(project: str, entity: str | None, group: str | None, tags: Sequence[str]) -> None:
    """Refuse what the server would refuse once the run has started.

    The check is of the values in force, and a variable of the environment comes before its key.

    Args:
        project: the key tracker.wandb.project.
        entity: the key tracker.wandb.entity.
        group: the key tracker.wandb.group.
        tags: the key tracker.wandb.tags.

    Raises:
        ConfigError: There are names that the server would not take. The message has one sentence for each.
    """
    environment = os.environ
    problems = [
        *_project(*_in_force("WANDB_PROJECT", "tracker.wandb.project", project)),
        *_entity(*_in_force("WANDB_ENTITY", "tracker.wandb.entity", entity)),
        *_length(*_in_force("WANDB_RUN_GROUP", "tracker.wandb.group", group)),
        *_length("WANDB_NAME", environment.get("WANDB_NAME")),
        *_run_id("WANDB_RUN_ID", environment.get("WANDB_RUN_ID")),
    ]
    named = tags_of_environment()
    source = "WANDB_TAGS" if named else "tracker.wandb.tags"
    for tag in named or tags:
        if not 1 <= len(str(tag)) <= _LONGEST_TAG:
            problems.append(
                f"{source} has the tag {_short(str(tag))} of {len(str(tag))} characters; "
                f"W&B takes 1 to {_LONGEST_TAG}. Use another tag."
            )
    if problems:
        raise ConfigError(problems)


def shorten(name: str) -> str:
    """``name``, cut where W&B would refuse its length. For names that metaexp makes, which only are displayed."""
    return name if len(name) <= LONGEST_NAME else name[: LONGEST_NAME - 3] + "..."


def _in_force(variable: str, key: str, value: str | None) -> tuple[str, str | None]:
    """Where a value comes from, and the value."""
    given = os.environ.get(variable)
    return (variable, given) if given else (key, value)


def _project(source: str, value: str | None) -> list[str]:
    if not value or not value.strip():
        return [f"{source}={value!r} is empty; W&B needs the name of a project, such as metaexp."]
    return _length(source, value) + _without(source, value, _NOT_IN_PROJECTS)


def _entity(source: str, value: str | None) -> list[str]:
    if value is None:
        return []
    if value and all(c.isascii() and (c.isalnum() or c in "-_.") for c in value):
        return _length(source, value)
    return [
        f"{source}={_short(value)} is not the name of a user or team: W&B's have letters, digits, - and _ alone. "
        "Give the name in the address of your page, or null for the default of your account."
    ]


def _run_id(source: str, value: str | None) -> list[str]:
    if not value:
        return []
    if value != value.strip():
        return [f"{source}={value!r} begins or ends with a space, which W&B refuses. Remove it."]
    return _length(source, value) + _without(source, value, NOT_IN_IDS)


def _length(source: str, value: str | None) -> list[str]:
    if value is None or len(value) <= LONGEST_NAME:
        return []
    return [f"{source}={_short(value)} has {len(value)} characters; W&B takes {LONGEST_NAME} at most. Shorten it."]


def _without(source: str, value: str, refused: str) -> list[str]:
    found = "".join(sorted(set(value) & set(refused)))
    if not found:
        return []
    shown, all_shown = (" ".join("a space" if c == " " else c for c in some) for some in (found, refused))
    return [f"{source}={_short(value)} has {shown} in it; W&B refuses {all_shown} there. Remove it."]


def _short(value: str) -> str:
    return repr(value if len(value) <= 40 else value[:37] + "...")

"""Reads the text of an experiment's file: the comment at its head, which names departures from the paper."""

from __future__ import annotations

import re
from pathlib import Path

from metaexp.config.shipped import shipped_text

_NOTHING = ("in nothing", "from nothing")
_LABEL = re.compile(r"#\s{0,2}(\w+):\s+(.*)")


def departures(experiment: str, config_dir: Path | None = None) -> str | None:
    """Return the ``Departs:`` part of an experiment's header, in one line.

    Args:
        experiment: The name of its file.
        config_dir: The user's own folder of files, which is looked into first.

    Returns:
        The text; None where the header has no such part.
    """
    return read_labels(_text(experiment, config_dir)).get("Departs")


def stated_departures(experiment: str | None) -> str:
    """Return where an experiment of metaexp departs from its paper.

    Args:
        experiment: The name of its file; None for a run without an experiment.

    Returns:
        The text; empty if the header says that it departs in nothing, or there is no such file among metaexp's.
    """
    try:
        text = (departures(experiment) if experiment else None) or ""
    except FileNotFoundError:  # an experiment of the user's own folder
        return ""
    return "" if text.startswith(_NOTHING) else text


def states_reference(experiment: str, config_dir: Path | None = None) -> bool:
    """Whether an experiment's file gives a published number itself, and not by another file in its defaults.

    Args:
        experiment: The name of its file.
        config_dir: The user's own folder of files, which is looked into first.
    """
    try:
        return re.search(r"^reference\s*:", _text(experiment, config_dir), re.MULTILINE) is not None
    except FileNotFoundError:
        return False


def read_labels(text: str) -> dict[str, str]:
    """Return the labelled parts of the comment at the start of a text: label -> its text in one line."""
    found: dict[str, str] = {}
    label = None
    for line in text.splitlines():
        if not line.startswith("#"):
            break
        match = _LABEL.fullmatch(line.rstrip())
        if match is not None:
            label = match.group(1)
            found[label] = match.group(2)
        elif label is not None:
            found[label] += " " + line.lstrip("# ").rstrip()
    return found


def _text(experiment: str, config_dir: Path | None) -> str:
    own = None if config_dir is None else config_dir / "experiment" / f"{experiment}.yaml"
    if own is not None and own.is_file():
        return own.read_text(encoding="utf-8")
    return shipped_text("experiment", experiment)

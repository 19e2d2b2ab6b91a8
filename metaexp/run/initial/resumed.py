"""Which run a command continues: that of ``resume=FOLDER``, from the command line or in Python. Without torch."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from metaexp.config.command_line.override_text import key_of
from metaexp.core.errors import ConfigError
from metaexp.run.folder import existing


def asks_to_resume(overrides: Sequence[str]) -> bool:
    """Whether ``resume=`` is among the overrides."""
    return any(key_of(line) == "resume" for line in overrides)


def resumed_folder(overrides: Sequence[str], is_many: bool = False) -> Path:
    """Return the folder of the run that ``resume=`` names.

    Args:
        overrides: The overrides, as given; ``resume=`` is among them.
        is_many: Whether many runs are asked for.

    Raises:
        ConfigError: No folder is named, or other settings are given too.
        RunFolderError: There is no run in the folder.
    """
    folders = [line.partition("=")[2] for line in overrides if key_of(line) == "resume"]
    if not all(folder.strip("'\" ") for folder in folders):
        raise ConfigError("resume= names no run folder. Give the folder of the run: metaexp train resume=outputs/RUN.")
    if len(overrides) > 1 or is_many:
        others = [line for line in overrides if key_of(line) != "resume"]
        instead = shlex.join(["metaexp", "train", f"from={folders[0]}", *(others or ["train.steps=N"])])
        longer = any(key_of(line) == "train.steps" for line in others)
        raise ConfigError(
            f"a resumed run continues with its own configuration; remove {' '.join(others) or '-m'}. "
            + (f"To train for longer: {instead}" if longer else "To continue with other settings, start a new run.")
        )
    return existing(Path(folders[0]).expanduser()).path

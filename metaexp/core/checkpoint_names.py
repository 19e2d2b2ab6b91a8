"""Names of the files in a run's folder of checkpoints."""

from __future__ import annotations

import re
from collections.abc import Iterable

_MANIFEST = re.compile(r"step_(\d{9,})\.json")


def step_name(step: int) -> str:
    """Return the name of the checkpoint after ``step`` steps, without suffix."""
    return f"step_{step:09d}"


def saved_steps(names: Iterable[str]) -> list[int]:
    """Return the steps whose checkpoint has a manifest, oldest first.

    Args:
        names: The names of the files in the folder. Other names are ignored.
    """
    found = [_MANIFEST.fullmatch(name) for name in names]
    return sorted(int(match.group(1)) for match in found if match)

"""Reads the learning curves of runs, and says which of them cannot be read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from metaexp.compare.gather import GatheredRun, LeftOut
from metaexp.core.errors import RunFolderError
from metaexp.results.history import History, read_history
from metaexp.results.privacy import clean_text


def read_histories(runs: Sequence[GatheredRun]) -> tuple[dict[Path, History], list[LeftOut]]:
    """Read the scalars of training of some runs.

    A file that is damaged, too large or unreadable costs the run its learning curve, and nothing else: its test score
    is in other files.

    Args:
        runs: The runs that are compared.

    Returns:
        The scalars by run folder, and for every other run why it has no learning curve.
    """
    histories: dict[Path, History] = {}
    unread: list[LeftOut] = []
    for run in runs:
        try:
            histories[run.folder] = read_history(run.folder)
        except (RunFolderError, PermissionError) as error:
            reason = clean_text(str(error).replace(f"{run.folder}/", ""))
            unread.append(LeftOut(run.folder.name, f"only its learning curve, which cannot be read: {reason}"))
    return histories, unread

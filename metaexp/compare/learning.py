"""Reads the learning curves of runs, and says which of them cannot be read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from metaexp.compare.gather import GatheredRun, LeftOut
from metaexp.core.errors import RunFolderError
from metaexp.core.json_lines import METRICS_FILE
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
            history = read_history(run.folder)
            _check_whole(run, history)
            histories[run.folder] = history
        except (RunFolderError, PermissionError) as error:
            reason = clean_text(str(error).replace(f"{run.folder}/", ""))
            unread.append(LeftOut(run.folder.name, f"only its learning curve, which cannot be read: {reason}"))
    return histories, unread


def _check_whole(run: GatheredRun, history: History) -> None:
    """Raise RunFolderError where the metrics of a tested run have lost their last lines: its curve would be shorter."""
    has_curve = len(history.validation.steps) or len(history.train_loss.steps)
    if has_curve and run.record.status == "completed" and run.record.test is not None and not history.ends_with_test:
        raise RunFolderError(f"{run.folder / METRICS_FILE} does not end with the result of the test: restore it.")

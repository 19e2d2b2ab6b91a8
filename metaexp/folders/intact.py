"""Whether the files of a run are there, and are what the run wrote, for what is said of it."""

from __future__ import annotations

from pathlib import Path

from metaexp.core.errors import RunFolderError, first_line
from metaexp.core.json_lines import METRICS_FILE
from metaexp.core.terminal_text import plain
from metaexp.folders.state import RunState
from metaexp.run.folder import existing
from metaexp.run.integrity import check_run_files, checked_metrics


def problem_of_settings(folder: Path) -> str:
    """Return why the configuration of a run cannot be read, which continues, tests and repeats it; "" if it can.

    Args:
        folder: The run folder.
    """
    try:
        existing(folder).read_config()
    except RunFolderError as error:
        return first_line(error)
    return ""


def has_weights(folder: Path) -> bool:
    """Return whether a run folder has weights."""
    return any((folder / "checkpoints").glob("*.safetensors"))


def problem_of_test(folder: Path, state: RunState) -> str:
    """Return why ``metaexp evaluate`` would refuse a completed run; "" if it would not.

    Args:
        folder: The run folder.
        state: How far the run is.
    """
    if problem := problem_of_settings(folder) or _problem_of_files(folder, state):
        return problem
    return "" if has_weights(folder) else f"{folder / 'checkpoints'} has no weights."


def problem_of_metrics(folder: Path, state: RunState) -> str:
    """Return what the metrics of a run with a record have lost; "" if nothing, or if it is running.

    Args:
        folder: The run folder.
        state: How far the run is.
    """
    if state.record is None or state.state == "running":
        return ""
    path = folder / METRICS_FILE
    try:
        is_empty = not checked_metrics(folder) and path.exists() and state.record.steps > 0
    except (RunFolderError, OSError) as error:
        return first_line(error)
    return f"{path} is empty, and the run wrote lines to it. Restore it." if is_empty else ""


def format_changed(folder: Path, state: RunState) -> str:
    """Return what was changed in a completed run after its end, which no command takes then; "" if nothing was.

    Args:
        folder: The run folder.
        state: How far the run is.
    """
    if problem_of_settings(folder) or not (problem := _problem_of_files(folder, state)):
        return ""
    return (
        "changed after the run, so it is not tested, compared or reproduced; what is below is of record.json: "
        f"{plain(problem)[:500]}"
    )


def _problem_of_files(folder: Path, state: RunState) -> str:
    """Which file of a completed run is not what the run wrote; "" if all are."""
    if state.state != "completed" or state.record is None:
        return ""
    try:
        check_run_files(folder, state.record)
    except (RunFolderError, OSError) as error:
        return first_line(error)
    return ""

"""The files that a search writes into its folder."""

from __future__ import annotations

import os
from pathlib import Path

from metaexp.core.errors import RunFolderError
from metaexp.results.job_note import REPORT_FILE as REPORT_FILE
from metaexp.results.record import FROZEN_FILE

STUDY_JOURNAL = "study.journal"
STUDY_DATABASE = "study.db"
BEST_FILE = Path("best", "experiment", "best.yaml")
"""The best trial as an experiment."""
TRIAL_OF_BEST = "# Trial:    "
COMMAND_OF_BEST = "# Command:  "
BEST_HEADER = f"""\
# @package _global_
# The best of {{trials}} trials of a search, by {{metric}}: {{value}}. Chosen on validation tasks; no trial was tested.
# Search:   metaexp search {{overrides}}
{TRIAL_OF_BEST}{{trial}}
{COMMAND_OF_BEST}{{command}}
# To keep it, copy this file into the folder experiment/ of your own --config-dir.
"""
"""How that file begins, with a place for each thing to be said."""


def study_file(folder: Path, storage: str) -> Path:
    """Return the file with the trials of a search.

    Args:
        folder: The search's folder.
        storage: ``search.storage``.
    """
    return folder / (STUDY_JOURNAL if storage == "journal" else STUDY_DATABASE)


def check_study_file(folder: Path, storage: str) -> None:
    """Check that nobody has removed the file with the trials of a search.

    New trials would get the folders of earlier ones.

    Args:
        folder: The search's folder.
        storage: ``search.storage``.

    Raises:
        RunFolderError: There are folders of trials, and no such file.
    """
    trials = list(folder.glob(f"*/{FROZEN_FILE}"))  # looked for first: another process may just have begun
    file = study_file(folder, storage)
    if trials and not os.path.lexists(file):
        raise RunFolderError(
            f"{file} is missing, so the search does not know what its trials in {folder} measured. Restore the file, "
            "or start a new search in another folder: search.folder=FOLDER."
        )

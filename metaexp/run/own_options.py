"""The ``--trust`` options without which a later command refuses the code of a run. Without torch."""

from __future__ import annotations

import shlex
from pathlib import Path

from metaexp.config.classes.targets import trusted
from metaexp.config.project import trust_options
from metaexp.core.errors import RunFolderError
from metaexp.results.record import RunRecord, read_record


def trust_of_run(run: Path | RunRecord) -> list[str]:
    """Return the ``--trust`` options that commands with a run need; none where the project or the environment has them.

    Args:
        run: Its folder or its record. Nothing is known of the code of a run without a readable record.
    """
    try:
        record = read_record(run) if isinstance(run, Path) else run
    except RunFolderError:
        return []
    return [] if record.own_code is None else trust_options(record.own_code.git)


def measure_command() -> str:
    """Return the command that tests a later run on classes that it was trained on, in quotes, with RUN for its folder.

    It has the ``--trust`` options of this command, without which it would be refused before anything else is said.
    """
    return f"`{shlex.join(['metaexp', 'evaluate', 'RUN', *trust_options(trusted()), '--allow-trained-classes'])}`"


def resume_command(path: Path) -> str:
    """Return the command that continues a run, quoted for a shell.

    Args:
        path: The run folder.
    """
    return shlex.join(["metaexp", "train", *trust_of_run(path), f"resume={path}"])


def repeat_command(path: Path) -> str:
    """Return the command that repeats a run in a new folder, quoted for a shell.

    Args:
        path: The run folder.
    """
    return shlex.join(["metaexp", "reproduce", *trust_of_run(path), str(path)])

"""How far a running run is, in a small file of its folder that others can look at. Without torch.

The file is for the eye: it is written about once a second, without waiting for the disk, and removed at the end. What a
killed run leaves behind is ignored, because nothing holds the folder's lock.
"""

from __future__ import annotations

import json
import math
import os
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from metaexp.core.disk.files import read_regular
from metaexp.core.errors import RunFolderError
from metaexp.results.reading import build

PROGRESS_FILE = ".progress.json"
PROFILE_FILE = "profile.txt"
"""The profile of a run (``debug=profile``), which is written as it runs, too."""
_MOST_BYTES = 10_000
_MOST = 1e12


@dataclass(frozen=True)
class Progress:
    """How far a run is.

    Attributes:
        phase: ``train``, ``validate`` or ``test``.
        done: Parts of the phase that are done: steps, or episodes.
        total: Parts of the phase.
        step: Training steps done.
        steps: Training steps of the run.
        steps_per_second: The rate over this session, with its validations; 0 before it is known.
        episodes_per_second: The rate of the last validation; 0 before it is known.
        seconds: The time since the session began.
    """

    phase: str
    done: int
    total: int
    step: int
    steps: int
    steps_per_second: float
    episodes_per_second: float
    seconds: float

    def seconds_left(self, test_episodes: int) -> float | None:
        """Estimate how long the run still takes; None before a rate is known.

        Args:
            test_episodes: How many episodes the test will have; 0 without a test.
        """
        rate = self.steps_per_second
        left = 0.0
        if self.phase != "test" and self.step < self.steps:
            if not rate > 0:
                return None
            left = (self.steps - self.step) / rate
        tested = self.done if self.phase == "test" else 0
        if self.episodes_per_second > 0:
            left += max(0, test_episodes - tested) / self.episodes_per_second
        return left


def write_progress(folder: Path, progress: Progress) -> None:
    """Replace the file. A full disk or a missing folder is not an error here: the run will say so itself.

    Args:
        folder: The run folder.
        progress: How far the run is.
    """
    path = folder / PROGRESS_FILE
    draft = folder / f".{PROGRESS_FILE}.{os.getpid()}.tmp"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0)
    with suppress(OSError):
        draft.unlink(missing_ok=True)
        with os.fdopen(os.open(draft, flags, 0o666), "w") as file:
            json.dump(asdict(progress), file)
        draft.replace(path)


def remove_progress(folder: Path) -> None:
    """Remove the file at the end of a run."""
    with suppress(OSError):
        (folder / PROGRESS_FILE).unlink()


def read_progress(folder: Path) -> Progress | None:
    """Return how far a run is; None if the file is missing or damaged."""
    try:
        found: Progress = build(Progress, json.loads(read_regular(folder / PROGRESS_FILE, _MOST_BYTES)))
    except (OSError, ValueError, AttributeError, TypeError, RecursionError, RunFolderError):
        return None
    numbers = (found.done, found.total, found.step, found.steps, found.steps_per_second, found.episodes_per_second)
    is_sound = all(0 <= number < _MOST and math.isfinite(number) for number in (*numbers, found.seconds))
    return found if is_sound and found.phase in ("train", "validate", "test") else None

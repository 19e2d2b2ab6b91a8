"""What one would do next: commands to copy, at the end of what a verb prints. Without torch."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple


class Step(NamedTuple):
    """A command that one could give next.

    Attributes:
        command: It, quoted for a shell.
        why: What it does, in a few words.
    """

    command: str
    why: str


def step(why: str, *words: str | Path) -> Step:
    """Return a command of metaexp.

    Args:
        why: What it does.
        words: The words after ``metaexp``; each is quoted where a shell would read it otherwise.
    """
    return Step(shlex.join(["metaexp", *map(str, words)]), why)


def format_next(steps: Sequence[Step]) -> str:
    """Format commands to copy, each with a comment that a shell ignores; an empty text for none."""
    if not steps:
        return ""
    width = max(len(item.command) for item in steps)
    return "\n".join(["next:", *(f"  {item.command:{width}}  # {item.why}" for item in steps)])


def after_run(folder: Path, *, is_tested: bool) -> list[Step]:
    """Return what one would do after a completed run.

    Args:
        folder: The run folder.
        is_tested: Whether it has a test result.
    """
    again = step("test it once more, on more episodes", "evaluate", folder, "eval.episodes=5000")
    first = step("test its selected weights", "evaluate", folder)
    return [
        again if is_tested else first,
        *([step("is the number the same again?", "reproduce", folder)] if is_tested else []),
        step("settings, results and files", "show", folder),
    ]


def after_stop(folder: Path) -> list[Step]:
    """Return what one would do with a run that was interrupted or killed."""
    return [step("continue it, as if it had never stopped", "train", f"resume={folder}")]


def after_sweep(folder: Path, *, is_complete: bool, command: Sequence[str] = ()) -> list[Step]:
    """Return what one would do after a sweep.

    Args:
        folder: The sweep's folder.
        is_complete: Whether every job is completed.
        command: The words of the command that made it; empty if they are not known.
    """
    again = [] if is_complete or not command else [Step(shlex.join(command), "run what is left")]
    failed = [] if is_complete else [step("which jobs failed, and why", "ls", folder, "state=failed")]
    return [*again, *failed, step("which is better, and how certain that is", "compare", folder)]

"""Waiting for what other processes do, for as long as pytest lets a test run, and showing what they printed last."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

_MOST_LOGS, _MOST_LINES = 5, 40


def until(true: Callable[[], object]) -> None:
    """Wait for an event. A folder that disappears while it is looked through means: not yet."""
    while True:
        try:
            if true():
                return
        except FileNotFoundError:
            pass
        time.sleep(0.01)


def once(true: Callable[[], object], action: Callable[[], object]) -> int:
    """Do something once a condition holds, in a forked process, since this one must have one thread; return its id."""
    watcher = os.fork()
    if watcher == 0:
        try:
            until(true)
            action()
        finally:
            os._exit(0)
    return watcher


def ends_of_logs(folder: Path) -> list[tuple[str, str]]:
    """Return the last lines of the first logs below a folder: pytest has captured nothing of what jobs print."""
    logs = [path for path in sorted(folder.rglob("*.log")) if path.is_file()][:_MOST_LOGS]
    lines = [(path, path.read_text(errors="replace").splitlines()[-_MOST_LINES:]) for path in logs]
    return [(str(path.relative_to(folder)), "\n".join(last)) for path, last in lines]

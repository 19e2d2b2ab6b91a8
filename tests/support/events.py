"""Waiting for what other processes do, for as long as pytest lets a test run."""

from __future__ import annotations

import os
import time
from collections.abc import Callable


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

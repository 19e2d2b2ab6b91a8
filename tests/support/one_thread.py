"""Importing this ends the threads of W&B's client before each fork of this process.

A fork copies only the thread that calls it, so a lock that another thread holds would never be released in the child.
W&B's client keeps two threads and a service when its run is over; a later run starts them again.
"""

from __future__ import annotations

import os
import sys

_TESTS = os.getpid()


def end_threads_of_wandb() -> None:
    """End W&B's service and its threads, unless a run is being logged. It takes 20 ms."""
    wandb = sys.modules.get("wandb")
    if os.getpid() == _TESTS and getattr(wandb, "run", None) is None:
        getattr(wandb, "teardown", lambda: None)()


os.register_at_fork(before=end_threads_of_wandb)

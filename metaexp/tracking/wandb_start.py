"""A run of W&B begins sooner than by the client itself. Without the wandb package."""

from __future__ import annotations

import functools
import sys
import time
from typing import Any

_LAUNCH = "wandb.sdk.launch.inputs.internal"
_METHOD = "_detect_and_apply_job_inputs"
_WAITING = "wandb.sdk.lib.service.service_port_file"
_SLEEP = "_SLEEP"
_SECONDS_BETWEEN_LOOKS = 0.01


def begin_sooner(runs: Any) -> None:
    """Let a run of W&B begin sooner, by what the client need not do. It must be imported.

    Another version of the client, which does these things otherwise, does them as it does.

    Args:
        runs: ``wandb.Run``.
    """
    leave_launch_out(runs)
    look_often(sys.modules.get(_WAITING))


def leave_launch_out(runs: Any) -> None:
    """Let a run of W&B begin without the client's launch part, whose import takes half a second.

    At the start of each run the client hands over the inputs that a launched job has declared. To declare any, a job
    imports the launch part, so where it is not imported there are none.

    Args:
        runs: ``wandb.Run``.
    """
    method = getattr(runs, _METHOD, None)
    if method is None or hasattr(method, "__wrapped__"):
        return

    @functools.wraps(method)
    def apply_if_declared(run: Any) -> None:
        if _LAUNCH in sys.modules:
            method(run)

    setattr(runs, _METHOD, apply_if_declared)


def look_often(waiting: Any) -> None:
    """Let the client look often for the file with which its own process says that it is ready.

    With the first run, the client starts that process. It looks at once, when there can be no file yet, and then every
    0.2 seconds. The process takes a quarter of that.

    Args:
        waiting: The module in which the client waits.
    """
    if getattr(waiting, _SLEEP, None) is time.sleep:
        setattr(waiting, _SLEEP, _sleep_shortly)


def _sleep_shortly(seconds: float) -> None:
    """Sleep, but not for as long as the client would. It reads the time itself, and gives up when it would have."""
    time.sleep(min(seconds, _SECONDS_BETWEEN_LOOKS))

"""W&B's client imports its part for jobs of W&B Launch only in such a job. Without the wandb package."""

from __future__ import annotations

import functools
import sys
from typing import Any

_LAUNCH = "wandb.sdk.launch.inputs.internal"
_METHOD = "_detect_and_apply_job_inputs"


def leave_launch_out(runs: Any) -> None:
    """Let a run of W&B begin without the client's launch part, whose import takes half a second.

    At the start of each run the client hands over the inputs that a launched job has declared. To declare any, a job
    imports the launch part, so where it is not imported there are none. Another version of the client, without this
    method, imports what it imports.

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

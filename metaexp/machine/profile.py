"""Profiles a few training steps: which operations take the time."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile, schedule

from metaexp.core.disk.files import write_atomically
from metaexp.results.progress_file import PROFILE_FILE

log = logging.getLogger(__name__)

_WARM_UP = 1
"""Steps before those that are profiled, in which torch allocates memory and the profiler starts."""
_MOST_ROWS = 40
_NAME_WIDTH = 60


@contextmanager
def profile_steps(n_steps: int, folder: Path, device: torch.device) -> Iterator[Callable[[], None]]:
    """Profile some steps of the loop in this block, and write a table of operations into the run folder.

    The first step is left out, and the profiler warms up in the second. Numbers do not change.

    Args:
        n_steps: How many steps; 0 profiles nothing.
        folder: The run folder.
        device: The device that computes.

    Yields:
        A function to call after each step.
    """
    if n_steps == 0:
        yield lambda: None
        return
    activities = [ProfilerActivity.CPU]
    activities += [ProfilerActivity.CUDA] if device.type == "cuda" else []
    plan = schedule(wait=_WARM_UP, warmup=_WARM_UP, active=n_steps, repeat=1)
    with profile(
        activities=activities, schedule=plan, on_trace_ready=lambda found: _write(found, n_steps, folder, device)
    ) as profiler:
        yield profiler.step


def _write(found: profile, n_steps: int, folder: Path, device: torch.device) -> None:
    """Write the table, the costliest operation first."""
    order = "self_cuda_time_total" if device.type == "cuda" else "self_cpu_time_total"
    averages = found.key_averages()
    table = averages.table(sort_by=order, row_limit=_MOST_ROWS, max_name_column_width=_NAME_WIDTH)
    title = f"torch.profiler over {n_steps} training steps or fewer, by {order}\n"
    write_atomically(folder / PROFILE_FILE, f"{title}{table}".encode())
    log.info("profile: %s", folder / PROFILE_FILE)

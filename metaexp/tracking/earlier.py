"""What earlier sessions of a resumed run have left in its folder for a tracker. Without the wandb package."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from heapq import merge
from pathlib import Path

from metaexp.core.json_lines import METRICS_FILE, TIMINGS_FILE, read_lines

log = logging.getLogger(__name__)

EARLIER_FOLDER = "earlier"
"""In ``wandb`` of a run folder. ``wandb sync`` does not look into it."""


def earlier_rows(folder: Path, resumed_at: int) -> Iterator[tuple[int, dict[str, float]]]:
    """Yield what a run recorded before it was resumed, as (step, values) in the order of the steps.

    Args:
        folder: The run folder.
        resumed_at: The step of the checkpoint. Rates and times of later steps are left out; these steps come again.
    """
    times = {step: values for step, values in read_lines(folder / TIMINGS_FILE) if step <= resumed_at}
    yield from merge(read_lines(folder / METRICS_FILE), sorted(times.items(), key=_step), key=_step)


def _step(row: tuple[int, dict[str, float]]) -> int:
    return row[0]


def set_earlier_aside(folder: Path, newest: Path) -> None:
    """Move offline folders of W&B that a newer one replaces into ``wandb/earlier``.

    The newest one holds the whole run. ``wandb sync`` with all folders of a run would upload their steps twice. If the
    process of an earlier one was killed, its file has no end, and ``wandb sync`` would leave out the whole run.

    Args:
        folder: The run folder.
        newest: The folder of W&B that the client writes now.
    """
    for path in (folder / "wandb").glob("offline-run-*"):
        if path.name != newest.name:
            place = folder / "wandb" / EARLIER_FOLDER / path.name
            try:
                place.parent.mkdir(exist_ok=True)
                path.rename(place)
            except OSError as error:
                log.warning("W&B: %s cannot be moved (%s); leave it out of wandb sync", path, error.strerror)

"""Asks a schedule of own code for the factors of all steps before the first one."""

from __future__ import annotations

import copy
import logging

import torch

from metaexp.core.counted import counted
from metaexp.core.errors import ConfigError, first_line
from metaexp.core.optim import Schedule, checked_factor
from metaexp.core.own_imports import lines_of
from metaexp.models.library_noise import keep_numpy_and_python

log = logging.getLogger(__name__)


def check_schedule(schedule: Schedule, total: int) -> list[str]:
    """Ask copies of a schedule of own code for its factors, so that a mistake in the last step is seen at once.

    Warns where it gives another factor when it is asked again for step 0, and where all factors are 0.

    Args:
        schedule: The schedule. It stays as it is, as do random generators.
        total: Steps of the whole run.

    Returns:
        What it keeps and no checkpoint holds; empty where nothing was seen.

    Raises:
        ConfigError: It fails for a step, or its factor is not a finite number of at least 0.
    """
    if type(schedule).__module__.startswith("metaexp."):
        return []
    try:
        twin, again = copy.deepcopy(schedule), copy.deepcopy(schedule)
    except Exception as error:  # code of users: what a copy of it raises
        log.debug("the schedule was not tried on a copy: %s: %s", type(error).__name__, error)
        return []
    with keep_numpy_and_python(), torch.random.fork_rng(devices=[]):
        begin = torch.get_rng_state()
        factors = [_factor(twin, step, total) for step in range(total)]
        torch.set_rng_state(begin)
        second = [_factor(again, step, total) for step in range(min(total, 1))]
    remembers = factors[:1] != second
    if remembers:
        log.warning(
            "schedule %s gives the factor %s for step 0, and %s when it is asked again. The run cannot be repeated, "
            "and one that is resumed differs. Compute the factor from step and total_steps alone.",
            type(schedule).__name__, factors[0], second[0],
        )  # fmt: skip
    if factors and not any(factors):
        log.warning(
            "schedule %s gives the factor 0 for all %s, so nothing is trained. Does it divide whole numbers by //?",
            type(schedule).__name__, counted(total, "step"),
        )  # fmt: skip
    return [f"what the schedule {type(schedule).__name__} keeps"] if remembers else []


def _factor(schedule: Schedule, step: int, total: int) -> float:
    try:
        return checked_factor(schedule, step, total)
    except ConfigError:
        raise
    except Exception as error:  # code of users
        _, own = lines_of(error)
        where = f" in {own[-1][0]}, line {own[-1][1]}" if own[1:] else ""  # the first line is that of checked_factor
        raise ConfigError(
            f"schedule: factor(step={step}, total_steps={total}) of {type(schedule).__name__} raises "
            f"{type(error).__name__}{where}: {first_line(error)}. It is called for each step from 0 to {total - 1:,}, "
            "and must return the number by which the learning rate is multiplied."
        ) from error

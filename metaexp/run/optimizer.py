"""The optimiser of a run, and whether checkpoints hold all that it changes."""

from __future__ import annotations

import copy
import inspect
import json
import logging
from typing import Any

import torch
from torch import nn

from metaexp.config.classes.make import make
from metaexp.config.schema import ClassSpec
from metaexp.core.errors import ConfigError
from metaexp.core.optim import Schedule
from metaexp.machine.device import Compute
from metaexp.run.state import plain_state

log = logging.getLogger(__name__)


def make_optimizer(spec: ClassSpec, parameters: list[nn.Parameter], compute: Compute) -> torch.optim.Optimizer:
    """Make the optimiser. On a GPU it takes its step in one operation where it can, unless the settings say how.

    Args:
        spec: The class and its checked arguments.
        parameters: What it trains.
        compute: The device.

    Raises:
        ConfigError: Its step computes the loss by itself, or no checkpoint can hold its state.
    """
    chosen = {"fused", "foreach", "capturable", "differentiable"} & set(spec.arguments)
    how = {"fused": True} if compute.device.type == "cuda" and not chosen else {}
    made = make(spec, torch.optim.Optimizer, params=parameters, **how)
    closure = inspect.signature(made.step).parameters.get("closure")
    if closure is not None and closure.default is inspect.Parameter.empty:
        raise ConfigError(
            f"optimizer={spec.target} computes the loss several times in a step (step needs a closure), and metaexp "
            "computes it once. Choose another one, such as optimizer=adam."
        )
    refuse_unwritable(made)
    return made


def refuse_unwritable(optimizer: torch.optim.Optimizer) -> None:
    """Refuse an optimiser whose state no checkpoint can hold.

    Args:
        optimizer: The optimiser, with its state of now.

    Raises:
        ConfigError: It keeps an object, or something that is not of a parameter.
    """
    slots = optimizer.state_dict()["state"]
    bad = [str(key) for key, values in slots.items() if not (isinstance(key, int) and isinstance(values, dict))]
    if not bad:
        state = plain_state(optimizer)
        found = [*state["groups"], *state["slots"].values()]
        bad = sorted({str(key) for values in found for key, value in values.items() if not _is_writable(value)})
    if bad:
        raise ConfigError(
            f"optimizer: {type(optimizer).__name__} keeps {bad[0]} in its state, which no checkpoint can "
            "hold. Keep tensors, numbers and texts there, for each parameter and under names of their own."
        )


def warn_of_random_schedule(schedule: Schedule, total: int) -> None:
    """Warn of a schedule that gives another factor when a copy of it is asked again for step 0.

    Args:
        schedule: The schedule.
        total: Steps of the whole run.
    """
    if type(schedule).__module__.startswith("metaexp."):
        return
    state = torch.get_rng_state()
    try:
        factors = []
        for _ in range(2):
            torch.set_rng_state(state)
            factors.append(copy.deepcopy(schedule).factor(0, total))
    except Exception as error:  # code of users: what a copy of it raises
        log.debug("the schedule was not tried on a copy: %s: %s", type(error).__name__, error)
        return
    finally:
        torch.set_rng_state(state)
    if factors[0] != factors[1]:
        log.warning(
            "schedule %s gives the factor %s for step 0, and %s when it is asked again. The run cannot be repeated, "
            "and one that is resumed differs. Compute the factor from step and total_steps alone.",
            type(schedule).__name__, factors[0], factors[1],
        )  # fmt: skip


def _is_writable(value: Any) -> bool:
    try:
        json.dumps(value)
    except (TypeError, ValueError, RecursionError):  # ValueError: it contains itself
        return False
    return True

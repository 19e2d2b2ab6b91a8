"""The optimiser of a run, and whether checkpoints hold all that it changes."""

from __future__ import annotations

import copy
import inspect
import json
import logging
from collections import deque
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn

from metaexp.config.classes.make import make
from metaexp.config.schema import ClassSpec
from metaexp.core.counted import listed
from metaexp.core.errors import ConfigError
from metaexp.core.optim import Schedule
from metaexp.machine.device import Compute
from metaexp.run.state import plain_state

log = logging.getLogger(__name__)

_NOT_LOOKED_AT: Final = {
    "state",
    "param_groups",
    "_opt_called",
    "_warned_capturable_if_run_uncaptured",
    "_need_device_dtype_check_for_fused",  # of fused SGD and Adagrad, the default on a GPU
}
"""Attributes of an optimiser: two that checkpoints hold, and notes that torch makes."""
_MOST_LEVELS: Final = 20
"""How deep containers are looked into."""


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


class UnsavedState:
    """Finds what a step of training changes in an optimiser, clip or schedule, and no checkpoint holds.

    A run that is resumed would continue differently from one that was not stopped. Numbers, texts, tensors and arrays
    are looked at, and containers of them.

    Args:
        optimizer: Before its first step in this process.
        others: What is used beside it, by name.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, **others: object) -> None:
        self.optimizer = optimizer
        self._parts = {"optimizer": optimizer, **others}
        self._before = dict(self._held())

    def check(self) -> None:
        """Warn of what the step has changed.

        Raises:
            ConfigError: The state of the optimiser cannot be written.
        """
        refuse_unwritable(self.optimizer)
        after = dict(self._held())
        changed = sorted(key for key in self._before.keys() | after.keys() if self._before.get(key) != after.get(key))
        if changed:
            log.warning(
                "a step of training changes %s, which checkpoints do not hold. If the numbers depend on it, a resumed "
                "run differs from one that was not stopped; an optimiser can keep it in its state or param_groups.",
                listed(changed, 3),
            )

    def _held(self) -> Iterator[tuple[str, Any]]:
        for part, holder in self._parts.items():
            for name, value in vars(holder).items():
                if name not in _NOT_LOOKED_AT:
                    yield f"{name} of {part} {type(holder).__name__}", comparable(value)


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


def comparable(value: Any, inside: tuple[int, ...] = ()) -> Any:
    """Return a copy of what a value holds; None for objects, parameters, which checkpoints hold, and what it is in.

    Args:
        value: A number, text, tensor or array, or a container of such.
        inside: The containers that it is in.
    """
    if isinstance(value, Tensor) and not isinstance(value, nn.Parameter):
        try:
            return value.detach().cpu().resolve_conj().reshape(-1).contiguous().view(torch.uint8).numpy().tobytes()
        except RuntimeError:  # sparse, or without values
            return None
    if isinstance(value, np.ndarray):
        return value.tobytes()
    if isinstance(value, (dict, list, tuple, deque)):
        if id(value) in inside or len(inside) == _MOST_LEVELS:
            return None
        inside = (*inside, id(value))
        if isinstance(value, dict):
            return {key: comparable(item, inside) for key, item in value.items()}
        return [comparable(item, inside) for item in value]
    return repr(value) if isinstance(value, (bool, int, float, str)) else None  # nan is equal to itself as a text


def _is_writable(value: Any) -> bool:
    try:
        json.dumps(value)
    except (TypeError, ValueError, RecursionError):  # ValueError: it contains itself
        return False
    return True

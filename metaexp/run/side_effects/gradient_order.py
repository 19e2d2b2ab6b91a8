"""Warns of algorithms of one's own whose meta-gradient is of another order than they say."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Mapping
from typing import Final

import torch
from torch import Tensor

from metaexp.core.algorithm import Algorithm
from metaexp.core.types import Episode, map_tensors
from metaexp.doctor.gradients import InnerGradients, slope_by_differences
from metaexp.doctor.low_precision import LowPrecision
from metaexp.doctor.subject import gradient_of
from metaexp.models.checks.made_again import is_foreign

log = logging.getLogger(__name__)

_DISTANCES: Final = (1e-5, 1e-6, 1e-4)
"""How far parameters are moved along the gradient. The best one counts, since any may pass over a kink."""
_EXACT: Final = 1e-6
"""Relative error below which a slope equals finite differences in float64."""
_INEXACT: Final = 1e-5
"""Relative error above which it does not."""
_CLEAR: Final = 1e-2
"""Relative error that no kink explains, so that one distance is enough."""

_MEASURED: Final = {
    True: "it leaves second derivatives out, or detaches something else. To keep them, take inner gradients with "
    "torch.func.grad or with create_graph=True. If they are left out on purpose, let first_order return True",
    False: "it has second derivatives. If that is meant, let first_order return False",
    None: "no inner gradient is taken. If that is meant, let first_order return None",
}


def warn_of_order(algorithm: Algorithm, first_task: Callable[[], Episode]) -> None:
    """Warn where the property ``first_order`` says of the meta-gradient what its first training task does not show.

    A copy in float64 computes the task: once with its gradient, and a few times at weights beside these. Algorithms of
    metaexp are not looked at, nor are those with ``set_progress``, which may change the order later, and those on an
    accelerator, where float64 is slow or missing.

    Args:
        algorithm: The algorithm, in training mode.
        first_task: Makes the task, with a leading T of 1.
    """
    is_on_cpu = all(parameter.is_cpu for parameter in algorithm.parameters())
    is_steady = type(algorithm).set_progress is Algorithm.set_progress
    if not (is_foreign(type(algorithm)) and is_on_cpu and is_steady):
        return
    try:
        shown = _shown(copy.deepcopy(algorithm).cpu().double(), _in_float64(first_task()))
    except Exception as error:  # code of users that cannot be copied, or takes float32 only
        log.debug("the order of the meta-gradient was not measured: %s: %s", type(error).__name__, error)
        return
    claimed = algorithm.first_order
    if shown and shown != [claimed]:
        log.warning(
            "the property first_order of %s is %s, and records repeat it, but the meta-gradient of the first training "
            "task shows: %s. `metaexp check` says more.",
            type(algorithm).__name__, claimed, _MEASURED[shown[0]],
        )  # fmt: skip


def _shown(algorithm: Algorithm, task: Episode) -> list[bool | None]:
    """What ``first_order`` must be, by what is measured; an empty list if that is not certain."""
    with InnerGradients() as taken, LowPrecision() as low:
        gradient = gradient_of(algorithm, task, 1)
    if low.dtype is not None:  # then slopes are not those of finite differences
        return []
    has_inner = taken.calls > 1  # the outer one is counted, too
    error = _slope_error(algorithm, task, gradient)
    if error < _EXACT:
        return [False] if has_inner else [None]
    return [True] if has_inner and error > _INEXACT else []


def _slope_error(algorithm: Algorithm, task: Episode, gradient: Mapping[str, Tensor]) -> float:
    """How far the slope along the gradient is from finite differences, as a part of the slope."""
    slope = float(torch.stack([g.square().sum() for g in gradient.values()]).sum().sqrt())
    direction = {name: g / slope for name, g in gradient.items()}
    least = float("inf")
    for distance in _DISTANCES:
        measured = slope_by_differences(algorithm, task, direction, distance)
        least = min(least, abs(slope - measured) / max(slope, abs(measured)))
        if least < _EXACT or least > _CLEAR:
            break
    return least


def _in_float64(task: Episode) -> Episode:
    found: Episode = map_tensors(lambda t: t.cpu().double() if t.is_floating_point() else t.cpu(), task)
    return found

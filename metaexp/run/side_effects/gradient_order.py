"""Warns of algorithms of one's own whose meta-gradient is of another order than they say, or not that of the loss."""

from __future__ import annotations

import copy
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from typing import Any, Final, Literal

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from metaexp.core.algorithm import Algorithm
from metaexp.core.types import Episode, map_tensors
from metaexp.doctor.gradients import InnerGradients, slope_by_differences
from metaexp.doctor.low_precision import LowPrecision
from metaexp.doctor.subject import fix_noise, gradient_of
from metaexp.models.checks.made_again import is_foreign

log = logging.getLogger(__name__)

_DISTANCES: Final = (1e-5, 1e-6, 1e-4)
"""How far parameters are moved along the gradient. The best one counts, since any may pass over a kink."""
_EXACT: Final = 1e-6
"""Relative error below which a slope equals finite differences in float64."""
_INEXACT: Final = 1e-5
"""Relative error above which it does not."""
_AGREEMENT: Final = 0.1
"""Finite differences at two distances must differ by less than this part of their error. Else it may be noise."""

_DETACHED: Final = "detached"
_Shown = bool | Literal["detached"] | None
"""What ``first_order`` must be; or that something is detached where there is no inner gradient."""
_MEASURED: Final[Mapping[_Shown, str]] = {
    True: "it leaves second derivatives out, or detaches something else. To keep them, take inner gradients with "
    "torch.func.grad or with create_graph=True. If they are left out on purpose, let first_order return True",
    False: "it has second derivatives. If that is meant, let first_order return False",
    None: "no derivative is left out, and torch takes no inner gradient. If the code computes an inner gradient by "
    "itself, let first_order return False; if there is none, let it return None",
}


def warn_of_order(algorithm: Algorithm, first_task: Callable[[], Episode]) -> None:
    """Warn where the property ``first_order`` says of the meta-gradient what its first training task does not show.

    A copy in float64 computes the task: once with its gradient, and a few times at weights beside these. If that
    contradicts the property, the gradient is computed again with constant inner gradients, which must confirm it.
    An inner gradient that the code writes out by itself is not seen, so False is true of it where nothing is left out.
    Algorithms of metaexp are not looked at, nor are those with ``set_progress``, which may change the order later, and
    those on an accelerator, where float64 is slow or missing, nor those that say that they approximate the gradient.

    Args:
        algorithm: The algorithm, in training mode.
        first_task: Makes the task, with a leading T of 1.
    """
    is_on_cpu = all(parameter.is_cpu for parameter in algorithm.parameters())
    is_steady = type(algorithm).set_progress is Algorithm.set_progress
    if not (is_foreign(type(algorithm)) and is_on_cpu and is_steady) or algorithm.approximates_gradient:
        return
    claimed = algorithm.first_order
    try:
        with fix_noise(0):
            task = _in_float64(first_task())
        shown = _shown(copy.deepcopy(algorithm).cpu().double(), task, claimed)
    except Exception as error:  # code of users that cannot be copied, or takes float32 only
        log.debug("the order of the meta-gradient was not measured: %s: %s", type(error).__name__, error)
        return
    if shown == [_DETACHED]:
        log.warning(
            "the meta-gradient of %s in the first training task is not the gradient of its meta-loss, though it has no "
            "inner gradient: something is detached, computed in torch.no_grad(), or has a gradient of its own. If that "
            "is meant, write approximates_gradient = True into the class. `metaexp check` says more.",
            type(algorithm).__name__,
        )
    elif shown and shown != [claimed]:
        log.warning(
            "the property first_order of %s is %s, and records repeat it, but the meta-gradient of the first training "
            "task shows: %s. `metaexp check` says more.",
            type(algorithm).__name__, claimed, _MEASURED[shown[0]],
        )  # fmt: skip


class _Constant(TorchFunctionMode):
    """Makes the gradients that torch.func or torch.autograd.grad take constants while it is active."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Compute ``func``, and detach what it returns if these are gradients."""
        out = func(*args, **(kwargs or {}))
        return tuple(g if g is None else g.detach() for g in out) if func is torch.autograd.grad else out


def _shown(algorithm: Algorithm, task: Episode, claimed: bool | None) -> list[_Shown]:
    """What ``first_order`` must be, by what is measured; an empty list if that is not certain."""
    with InnerGradients() as taken, LowPrecision() as low:
        gradient = gradient_of(algorithm, task, 1)
    slope = _norm(gradient)
    if low.dtype is not None or not 0 < slope < math.inf:  # in fewer digits, slopes are not those of finite differences
        return []
    error = _slope_error(algorithm, task, gradient, slope)
    if taken.calls < 2:  # the outer one is counted, too; one that the code writes out by itself is not seen
        if claimed is None and error > _INEXACT:
            return [_DETACHED]
        return [None] if error < _EXACT and claimed is not False else []
    if not (error < _EXACT or error > _INEXACT):
        return []
    is_first_order = error > _INEXACT
    if is_first_order == claimed:
        return [claimed]
    with _Constant():
        constant = gradient_of(algorithm, task, 1)
    has_second_derivatives = _norm({name: g - constant[name] for name, g in gradient.items()}) > _INEXACT * slope
    return [] if is_first_order == has_second_derivatives else [is_first_order]


def _slope_error(algorithm: Algorithm, task: Episode, gradient: Mapping[str, Tensor], slope: float) -> float:
    """How far the slope along the gradient is from finite differences, as a part of the slope; NaN if these are noise.

    Noise is what differs from distance to distance: rounding where slopes are small, or numbers that own code draws.
    """
    direction = {name: g / slope for name, g in gradient.items()}
    measured: list[float] = []
    least = spread = math.inf
    for distance in _DISTANCES:
        measured.append(slope_by_differences(algorithm, task, direction, distance) / slope)
        if not math.isfinite(measured[-1]):
            return math.nan
        least = min(abs(1 - m) / max(1, abs(m)) for m in measured)
        spread = min((abs(a - b) for a, b in combinations(measured, 2)), default=math.inf)
        if least < _EXACT or spread < _AGREEMENT * least:
            return least
    return math.nan


def _norm(tensors: Mapping[str, Tensor]) -> float:
    return float(torch.stack([t.square().sum() for t in tensors.values()]).sum().sqrt())


def _in_float64(task: Episode) -> Episode:
    found: Episode = map_tensors(lambda t: t.cpu().double() if t.is_floating_point() else t.cpu(), task)
    return found

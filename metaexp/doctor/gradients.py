"""Checks that the meta-gradient is that of the meta-loss, has the claimed order, and reaches every parameter."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from metaexp.core.algorithm import Algorithm
from metaexp.core.counted import listed
from metaexp.core.types import Episode
from metaexp.doctor.finding import Finding, does_not_apply, no_nan, ok, wrong
from metaexp.doctor.low_precision import LowPrecision
from metaexp.doctor.subject import Subject, connected_gradient, gradient_of, losses_of, parameters_of
from metaexp.models.base import has_batch_norm

_EXACT = 1e-6
"""Relative error below which a slope equals finite differences."""
_STEPS = (1e-4, 1e-5, 1e-6, 1e-7)
"""Steps of finite differences. The best one counts, since a long one is inaccurate and any may pass over a kink."""
_FLAT = 1e-12
_WORDS = {True: "first order", False: "second order", None: "no inner gradient"}
_IF_MEANT = (
    "an implicit gradient, a straight-through estimator and whatever else is meant to differ need "
    "approximates_gradient = True in the class"
)
_NOTHING_TO_TRAIN = "it has no parameters to train"


def meta_gradient(subject: Subject) -> Finding:
    """Check that the order of the meta-gradient is the claimed one.

    Slopes along a random direction equal finite differences only if no derivative is left out. An algorithm that says
    that it approximates the gradient is left alone.
    """
    name = "meta-gradient"
    algorithm = subject.build()
    parameters = parameters_of(algorithm)
    if not parameters:
        return does_not_apply(name, _NOTHING_TO_TRAIN)
    batch = subject.training_batch(1)
    with InnerGradients() as inner:
        losses_of(algorithm, batch, 1)
    gradient = gradient_of(algorithm, batch, 1)
    error = slope_error(algorithm, batch, gradient, random_direction(parameters))
    is_exact = error < _EXACT
    numbers = {"relative_error": error, "inner_gradients": inner.calls}
    if subject.cls.approximates_gradient:
        said = "its approximates_gradient says that it is not that of the meta-loss"
        return ok(name, f"{said}: only you can tell whether it is right", **numbers)
    if is_exact:
        measured: bool | None = False if inner.calls else None
    else:
        measured = True
    claimed = algorithm.first_order
    if measured is None and claimed is False:  # code may write out an inner gradient by itself, which is not seen
        return ok(name, "no derivative is left out, as it says", **numbers)
    if claimed == measured:
        return ok(name, f"{_WORDS[measured]}, as it says", **numbers)
    records = f"first_order={claimed} makes records say {_WORDS[claimed]}"
    if is_exact:
        return wrong(name, f"measured: {_WORDS[measured]}; {records}", **numbers)
    with LowPrecision() as low:
        losses_of(algorithm, batch, 1)
    if low.dtype is not None:
        return wrong(name, _rounded(low), **numbers)
    what = f"measured: first order, something is detached; {records}"
    if not inner.calls:
        what = (
            "not the gradient of the meta-loss, though there is no inner gradient to leave out: something is detached"
        )
    names = _inexact(algorithm, batch, gradient)
    return wrong(name, f"{what} (on the way to {listed(names, 3)}); {_IF_MEANT}", **numbers)


def _rounded(low: LowPrecision) -> str:
    """Say that a meta-loss is rounded, so that its slopes are not those of finite differences."""
    dtype = str(low.dtype).removeprefix("torch.")
    where = f" ({low.place})" if low.place else ""
    return (
        f"cannot be measured: here all is in float64, but part of the meta-loss is computed in {dtype}{where}; give "
        "torch.eye, torch.zeros and the like the dtype of the examples, and convert nothing to fewer digits"
    )


def parameters_reached(subject: Subject) -> Finding:
    """Check that every parameter gets a gradient from some training task.

    The gradient of a bias before batch norm is zero, which takes the bias away again.
    """
    name = "parameters reached"
    algorithm = subject.build()
    parameters = parameters_of(algorithm)
    if not parameters:
        return does_not_apply(name, _NOTHING_TO_TRAIN)
    gradient = connected_gradient(algorithm, subject.training_batch(3), 1)
    may_be_zero = "bias" if has_batch_norm(algorithm) else ()
    zero = [key for key, g in gradient.items() if not g.any() and not key.endswith(may_be_zero)]
    unreached = [key for key in parameters if key not in gradient or key in zero]
    infinite = [key for key, g in gradient.items() if not g.isfinite().all()]
    numbers = {"parameter_tensors": len(parameters), "unreached": len(unreached)}
    if infinite:
        return wrong(name, f"the gradient of {listed(infinite, 3)} is not finite", **numbers)
    if unreached:
        return wrong(name, f"the meta-loss does not depend on {listed(unreached, 3)}", **numbers)
    return ok(name, "each gets a gradient from the meta-loss", **numbers)


def slope_error(
    algorithm: Algorithm, batch: Episode, gradient: Mapping[str, Tensor], direction: Mapping[str, Tensor]
) -> float:
    """Return how far a slope is from finite differences, relative to both.

    Args:
        algorithm: The algorithm.
        batch: Training tasks.
        gradient: Gives the slope along ``direction``.
        direction: A direction in the space of the parameters.
    """
    slope = float(sum((gradient[name] * d).sum() for name, d in direction.items()))
    errors = []
    for step in _STEPS:
        measured = slope_by_differences(algorithm, batch, direction, step)
        errors.append(no_nan(abs(slope - measured) / max(abs(slope), abs(measured), _FLAT)))
    return min(errors)


def slope_by_differences(algorithm: Algorithm, batch: Episode, direction: Mapping[str, Tensor], step: float) -> float:
    """Return the derivative of the mean meta-loss along a direction in the parameters, by central differences.

    Args:
        algorithm: The algorithm.
        batch: The tasks.
        direction: A vector for each parameter, by name.
        step: The distance to both sides along the direction.
    """
    parameters = parameters_of(algorithm)
    kept = {name: parameters[name].detach().clone() for name in direction}
    values = []
    with torch.no_grad():
        for sign in (1, -1):
            for name, d in direction.items():
                parameters[name].copy_(kept[name] + sign * step * d)
            values.append(float(losses_of(algorithm, batch, 1).mean()))
        for name in direction:
            parameters[name].copy_(kept[name])
    return (values[0] - values[1]) / (2 * step)


def random_direction(parameters: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return normal numbers in the shape of each parameter."""
    generator = torch.Generator().manual_seed(1)
    return {name: torch.randn(p.shape, generator=generator, dtype=p.dtype) for name, p in parameters.items()}


class InnerGradients(TorchFunctionMode):
    """Counts the gradients that torch.func or autograd take while it is active."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Count ``func`` where it takes a gradient."""
        if func in (torch.autograd.grad, torch.autograd.backward, Tensor.backward):
            self.calls += 1
        return func(*args, **(kwargs or {}))


def _inexact(algorithm: Algorithm, batch: Episode, gradient: Mapping[str, Tensor]) -> list[str]:
    """The parameters along which slopes differ from finite differences."""
    direction = random_direction(parameters_of(algorithm))
    return [
        name for name, d in direction.items() if slope_error(algorithm, batch, gradient, {name: d}) > 10 * _EXACT
    ] or list(direction)

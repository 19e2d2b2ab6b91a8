"""Checks that a lower precision keeps the meta-gradient right, on the run's own tasks before it starts."""

from __future__ import annotations

import torch
from torch import Tensor

from metaexp.core.errors import ConfigError
from metaexp.machine.device import use_float32
from metaexp.run.state import copy_weights, load_weights
from metaexp.run.step import MetaStep

LEAST_COSINE = 0.99
"""The least cosine of the meta-gradients in the chosen precision and in float32: 8 degrees apart."""
_TASKS = 16


def check_precision(step: MetaStep, at: int) -> None:
    """Compare the meta-gradient in the chosen precision with float32. The algorithm is not changed.

    A second-order gradient passes through several rounded gradients. How much of it survives depends on the
    algorithm, its inner steps and its inner learning rate, so it is measured.

    Args:
        step: What makes the gradients.
        at: The step whose tasks are used.

    Raises:
        ConfigError: The cosine with float32 is below :data:`LEAST_COSINE`, or an operation does not exist in that
            precision.
    """
    compute = step.compute
    if compute.precision == "float32":
        return
    weights = copy_weights(step.algorithm)
    step.algorithm.set_progress(at, step.total_steps)
    try:
        with use_float32(compute) as exact:
            step.compute = exact
            reference = _gradient(step, at)
        step.compute = compute
        rounded = _gradient(step, at)
    except RuntimeError as error:
        raise ConfigError(
            f"device.precision={compute.precision} cannot be used here ({str(error).splitlines()[0]}). "
            "Set device.precision=float32."
        ) from error
    finally:
        step.compute = compute
        load_weights(step.algorithm, weights)
        step.optimizer.zero_grad()
    cosine = float(torch.dot(reference, rounded) / (reference.norm() * rounded.norm()).clamp(min=1e-300))
    if reference.norm() > 0 and not cosine >= LEAST_COSINE:
        raise ConfigError(
            f"device.precision={compute.precision} does not keep the meta-gradient of this run: its cosine with "
            f"float32 is {cosine:.3f} over {min(_TASKS, step.tasks)} tasks, and {LEAST_COSINE} is the least. "
            "Set device.precision=float32."
        )


def _gradient(step: MetaStep, at: int) -> Tensor:
    """The meta-gradient (P,) in float64, on the CPU."""
    step.optimizer.zero_grad()
    step.compute.reseed(at)
    indices = step.indices(at)[:_TASKS]
    indices = indices[step.source.alike("train", indices)[0].to(indices.device)] if step.source.varies else indices
    step.backward(step.source.episodes("train", indices))
    return torch.cat([p.grad.flatten().cpu().double() for p in step.parameters if p.grad is not None])

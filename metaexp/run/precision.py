"""Checks that a lower precision keeps the meta-gradient right, on the run's own tasks before it starts."""

from __future__ import annotations

import torch
from torch import Tensor

from metaexp.core.errors import ConfigError, first_line
from metaexp.doctor.differences import largest_difference
from metaexp.machine.device import use_float32
from metaexp.run.side_effects.buffers import set_progress
from metaexp.run.state import copy_weights, gradients_of, load_weights
from metaexp.run.step import MetaStep

LEAST_COSINE = 0.99
"""The least cosine of the meta-gradients in the chosen precision and in float32: 8 degrees apart."""
MOST_DIFFERENCE = 0.5
"""How far the gradient of one parameter may be from that in float32, relative to its norm. Where one parameter makes up
most of the gradient, the cosine says nothing about the others. Runs with a cosine of 0.99 have up to 0.2."""
LEAST_GRADIENT = 1e-2
"""The least norm that a difference is divided by, relative to the whole gradient. The gradient of a bias in front of
batch norm is nothing but rounding: up to 2e-4 of the whole in bf16."""
_TASKS = 16


def check_precision(step: MetaStep, at: int) -> None:
    """Compare the meta-gradient in the chosen precision with float32. The algorithm is not changed.

    A second-order gradient passes through several rounded gradients. How much of it survives depends on the
    algorithm, its inner steps and its inner learning rate, so it is measured.

    Args:
        step: What makes the gradients.
        at: The step whose tasks are used.

    Raises:
        ConfigError: The cosine with float32 is below :data:`LEAST_COSINE`, the gradient of a parameter differs by more
            than :data:`MOST_DIFFERENCE`, or an operation does not exist in that precision.
    """
    compute = step.compute
    if compute.precision == "float32":
        return
    weights = copy_weights(step.algorithm)
    set_progress(step.algorithm, at, step.total_steps)
    try:
        with use_float32(compute) as exact:
            step.compute = exact
            reference = _gradient(step, at)
        step.compute = compute
        load_weights(step.algorithm, weights)  # both begin with the same buffers
        rounded = _gradient(step, at)
    except RuntimeError as error:
        raise ConfigError(
            f"device.precision={compute.precision} cannot be used here ({first_line(error)}). "
            "Set device.precision=float32."
        ) from error
    finally:
        step.compute = compute
        load_weights(step.algorithm, weights)
        step.optimizer.zero_grad()
    if why := _what_is_lost(rounded, reference):
        raise ConfigError(
            f"device.precision={compute.precision} does not keep the meta-gradient of this run: {why}, over "
            f"{min(_TASKS, step.tasks)} tasks. Set device.precision=float32."
        )


def _what_is_lost(rounded: dict[str, Tensor], reference: dict[str, Tensor]) -> str:
    """Say how a gradient is not that in float32; empty where it is."""
    found, exact = (torch.cat([g.flatten() for g in side.values()]) for side in (rounded, reference))
    if exact.norm() == 0:
        return ""
    cosine = float(torch.dot(exact, found) / (exact.norm() * found.norm()).clamp(min=1e-300))
    if not cosine >= LEAST_COSINE:
        return f"its cosine with float32 is {cosine:.3f}, and {LEAST_COSINE} is the least"
    name, difference = largest_difference(rounded, reference, LEAST_GRADIENT)
    if not difference <= MOST_DIFFERENCE:
        return f"that of {name} differs from float32 by {difference:.2g} of its norm, and {MOST_DIFFERENCE} is the most"
    return ""


def _gradient(step: MetaStep, at: int) -> dict[str, Tensor]:
    """Name -> meta-gradient of each parameter, in float64, on the CPU; zeros where the loss does not reach it."""
    step.optimizer.zero_grad()
    step.compute.reseed(at)
    indices = step.indices(at)[:_TASKS]
    indices = indices[step.source.alike("train", indices)[0].to(indices.device)] if step.source.varies else indices
    step.backward(step.source.episodes("train", indices))
    return gradients_of(step.algorithm)

"""Checks before a run, on its own tasks, that a lower precision or an Apple GPU keeps the meta-gradient right."""

from __future__ import annotations

import copy
import logging
from dataclasses import replace

import torch
from torch import Tensor, nn

from metaexp.core.errors import ConfigError, MachineError, first_line
from metaexp.core.types import Episode, map_tensors
from metaexp.doctor.differences import largest_difference
from metaexp.machine.device import use_float32
from metaexp.run.side_effects.buffers import set_progress
from metaexp.run.state import copy_weights, gradients_of, load_weights
from metaexp.run.step import MetaStep

log = logging.getLogger(__name__)

LEAST_COSINE = 0.99
"""The least cosine of the meta-gradients in the chosen precision and in float32: 8 degrees apart."""
MOST_DIFFERENCE = 0.5
"""How far the gradient of one parameter may be from that in float32, relative to its norm. Where one parameter makes up
most of the gradient, the cosine says nothing about the others. Runs with a cosine of 0.99 have up to 0.2."""
LEAST_GRADIENT = 1e-2
"""The least norm that a difference is divided by, relative to the whole gradient. The gradient of a bias in front of
batch norm is nothing but rounding: up to 2e-4 of the whole in bf16."""
_TASKS = 16


def check_gradient(step: MetaStep, at: int) -> None:
    """Compare the meta-gradient of a lower precision with float32, and that of an Apple GPU with the CPU.

    The algorithm is not changed.

    Args:
        step: What makes the gradients.
        at: The step whose tasks are used.

    Raises:
        ConfigError: The precision does not keep the gradient: its cosine with float32 is below :data:`LEAST_COSINE`,
            the gradient of a parameter differs by more than :data:`MOST_DIFFERENCE`, or an operation does not exist in
            that precision.
        MachineError: The GPU does not have the gradient of the CPU, by the same limits, or lacks an operation.
    """
    compute = step.compute
    has_low_precision = compute.precision != "float32"
    if not has_low_precision and not compute.is_apple:
        return
    weights = copy_weights(step.algorithm)
    set_progress(step.algorithm, at, step.total_steps)
    try:
        if compute.is_apple:
            _check_device(step, at)
            load_weights(step.algorithm, weights)  # every gradient begins with the same buffers
        if has_low_precision:
            _check_precision(step, at, weights)
    finally:
        load_weights(step.algorithm, weights)
        step.optimizer.zero_grad()


def _check_precision(step: MetaStep, at: int, weights: dict[str, Tensor]) -> None:
    """Compare with float32 on the same device.

    A second-order gradient passes through several rounded gradients. How much of it survives depends on the
    algorithm, its inner steps and its inner learning rate, so it is measured.
    """
    precision, episodes = step.compute.precision, _episodes(step, at)
    try:
        reference = _in_float32(step, episodes, at)
        load_weights(step.algorithm, weights)
        rounded = _gradient(step, episodes, at)
    except RuntimeError as error:
        raise ConfigError(
            f"device.precision={precision} cannot be used here ({first_line(error)}). Set device.precision=float32."
        ) from error
    if why := _what_is_lost(rounded, reference, "float32"):
        raise ConfigError(
            f"device.precision={precision} does not keep the meta-gradient of this run: {why}, over "
            f"{len(episodes.query.x)} tasks. Set device.precision=float32."
        )


def _check_device(step: MetaStep, at: int) -> None:
    """Compare with the CPU, both in float32, unless random numbers are drawn: those of two devices differ."""
    device, episodes = step.compute.device.type, _episodes(step, at)
    try:
        reference = _on_cpu(step, episodes, at)
    except Exception as error:  # code of users that cannot be copied, or fails; then training will say so
        log.warning(
            "whether %s has the meta-gradient of the CPU was not checked, because that could not be computed: %s: %s",
            device, type(error).__name__, first_line(error),
        )  # fmt: skip
        return
    if reference is None:
        return
    try:
        found = _in_float32(step, episodes, at)
    except RuntimeError as error:
        raise MachineError(
            f"device={device} cannot be used here ({first_line(error)}). Set device=cpu. If torch only "
            "lacks an operation for Apple GPUs, PYTORCH_ENABLE_MPS_FALLBACK=1 computes that one on the CPU."
        ) from error
    if why := _what_is_lost(found, reference, "that of the CPU"):
        raise MachineError(
            f"device={device} does not have the meta-gradient that the CPU has for the same tasks: {why}. "
            "Set device=cpu, or try another version of torch."
        )


def _on_cpu(step: MetaStep, episodes: Episode, at: int) -> dict[str, Tensor] | None:
    """The meta-gradient of a copy of the algorithm on the CPU; None if the algorithm draws random numbers."""
    cpu = torch.device("cpu")
    beside = copy.copy(step)
    tensors = (*step.algorithm.parameters(), *step.algorithm.buffers())
    moved = {id(tensor): _moved(tensor, cpu) for tensor in tensors}  # deepcopy takes these for the copies
    beside.algorithm = copy.deepcopy(step.algorithm, moved)
    beside.buffers = dict(beside.algorithm.named_buffers())
    beside.compute = replace(step.compute, device=cpu, precision="float32")
    beside.compute.reseed(at)
    before = torch.get_rng_state()
    found = _gradient(beside, map_tensors(lambda tensor: tensor.to(cpu), episodes), at)
    return found if torch.equal(before, torch.get_rng_state()) else None


def _moved(tensor: Tensor, device: torch.device) -> Tensor:
    there = tensor.detach().to(device, copy=True)
    return nn.Parameter(there, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else there


def _what_is_lost(found: dict[str, Tensor], reference: dict[str, Tensor], beside: str) -> str:
    """Say how a gradient is not the reference, which messages call ``beside``; empty where it is."""
    ours, exact = (torch.cat([g.flatten() for g in side.values()]) for side in (found, reference))
    if exact.norm() == 0:
        return ""
    cosine = float(torch.dot(exact, ours) / (exact.norm() * ours.norm()).clamp(min=1e-300))
    if not cosine >= LEAST_COSINE:
        return f"its cosine with {beside} is {cosine:.3f}, and {LEAST_COSINE} is the least"
    name, difference = largest_difference(found, reference, LEAST_GRADIENT)
    if not difference <= MOST_DIFFERENCE:
        much = f"{difference:.2g} of its norm, and {MOST_DIFFERENCE} is the most"
        return f"that of {name} differs from {beside} by {much}"
    return ""


def _episodes(step: MetaStep, at: int) -> Episode:
    """Training tasks of a step, of one shape."""
    indices = step.indices(at)[:_TASKS]
    indices = indices[step.source.alike("train", indices)[0].to(indices.device)] if step.source.varies else indices
    return step.source.episodes("train", indices)


def _in_float32(step: MetaStep, episodes: Episode, at: int) -> dict[str, Tensor]:
    """The meta-gradient in full float32 on the same device."""
    compute = step.compute
    try:
        with use_float32(compute) as exact:
            step.compute = exact
            return _gradient(step, episodes, at)
    finally:
        step.compute = compute


def _gradient(step: MetaStep, episodes: Episode, at: int) -> dict[str, Tensor]:
    """Name -> meta-gradient of each parameter, in float64, on the CPU; zeros where the loss does not reach it."""
    step.algorithm.zero_grad()
    step.compute.reseed(at)
    step.backward(episodes)
    return gradients_of(step.algorithm)

"""The buffers that tasks replace in training, whose mean over tasks is kept; those of ``persistent=False`` may grow."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from metaexp.core.algorithm import Algorithm
from metaexp.core.errors import ConfigError
from metaexp.models.base import not_persistent
from metaexp.run.side_effects.progress_state import warn_of_progress_state


def set_progress(algorithm: Algorithm, step: int, total: int) -> None:
    """Call :meth:`Algorithm.set_progress` before a step, and warn where it is not a function of its two numbers.

    Args:
        algorithm: The algorithm.
        step: The number of the step that comes next, from 0.
        total: How many steps the training has.

    Raises:
        ConfigError: A buffer gets another shape, or is not a tensor any more.
    """
    if set_progress_alone(algorithm, step, total):
        warn_of_progress_state(algorithm, step, total)


def set_progress_alone(algorithm: Algorithm, step: int, total: int) -> bool:
    """Call :meth:`Algorithm.set_progress`, and keep the tensors of buffers: training computes with these.

    Args:
        algorithm: Where it assigns a new tensor to a buffer, the buffer gets its values.
        step: The number of the step that comes next, from 0.
        total: How many steps the training has.

    Returns:
        Whether the algorithm has such a method of its own.

    Raises:
        ConfigError: A new tensor has another shape, or a buffer is not a tensor any more.
    """
    if getattr(algorithm.set_progress, "__func__", None) is Algorithm.set_progress:
        return False  # it does nothing
    before = [(layer, dict(layer._buffers)) for layer in algorithm.modules()]
    algorithm.set_progress(step, total)
    for layer, buffers in before:
        for name, old in buffers.items():
            new = layer._buffers.get(name)
            if new is old or old is None:
                continue
            if new is None or new.shape != old.shape:
                now = "None" if new is None else f"the shape {tuple(new.shape)}"
                raise ConfigError(
                    f"set_progress of {type(algorithm).__name__} gives the buffer {name} {now}, where it had the shape "
                    f"{tuple(old.shape)}. A buffer keeps its shape in training; other things belong in attributes."
                )
            with torch.no_grad():
                old.copy_(new)
            layer._buffers[name] = old
    return True


def replaced(algorithm: nn.Module, state: Mapping[str, Tensor], buffers: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the buffers that a functional call put others in place of.

    One that is not persistent and has another shape than before is left out: it is a table that grew, and the next
    task makes it again.

    Args:
        algorithm: What was called.
        state: The buffers after the call.
        buffers: The buffers before it.

    Raises:
        ConfigError: A persistent buffer has another shape.
    """
    new = {name: tensor.detach() for name, tensor in state.items() if name in buffers and tensor is not buffers[name]}
    grown = [name for name, tensor in new.items() if tensor.shape != buffers[name].shape]
    if lasting := set(grown) - not_persistent(algorithm):
        name = min(lasting)
        raise ConfigError(
            f"{type(algorithm).__name__} gives the buffer {name} another shape while it computes training tasks: "
            f"{tuple(new[name].shape)}, not {tuple(buffers[name].shape)}. {ADVICE}"
        )
    return {name: tensor for name, tensor in new.items() if name not in grown}


ADVICE = (
    "A table that is computed from shapes alone, such as positions or a mask, may change where it is registered with "
    "register_buffer(..., persistent=False). What training collects has one shape, and is left as it is in tests."
)
"""What to do about a buffer that changes."""


def mean_buffers(algorithm: nn.Module, chunks: list[dict[str, Tensor]], tasks: int) -> dict[str, Tensor]:
    """Return the mean of each replaced buffer over the tasks; whole numbers (counters) agree between tasks.

    Args:
        algorithm: What computed the tasks.
        chunks: The new buffers of some tasks each, (T_c, ...) by name.
        tasks: What the sum is divided by, the number of all tasks.
    """
    found = {}
    for name in _in_all(algorithm, chunks):
        values = torch.cat([chunk[name] for chunk in chunks])  # (T_r, ...)
        found[name] = values.sum(0) / tasks if values.is_floating_point() else values[0]
    return found


def sum_buffers(algorithm: nn.Module, parts: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Return the sum of means over parts of the tasks, each divided by the number of all; counters agree between parts.

    Args:
        algorithm: What computed the tasks.
        parts: What :func:`mean_buffers` returned for each part.
    """
    return mean_buffers(algorithm, [{name: value[None] for name, value in part.items()} for part in parts], 1)


def _in_all(algorithm: nn.Module, parts: list[dict[str, Tensor]]) -> list[str]:
    """The names of the buffers that all parts replaced. A table that grew in some of them is made again.

    Raises:
        ConfigError: Some parts replaced a persistent buffer and others did not, so it has no mean.
    """
    shared = [name for name in parts[0] if all(name in part for part in parts)]
    every = {name for part in parts for name in part}
    if lasting := every.difference(shared) - not_persistent(algorithm):
        raise ConfigError(
            f"{type(algorithm).__name__} gives the buffer {min(lasting)} a new tensor in some training tasks of a step "
            "and not in others, so it has no mean over the tasks. Assign it in every training task: where a task adds "
            f"nothing, the value that it had. {ADVICE}"
        )
    return shared

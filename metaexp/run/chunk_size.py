"""How many tasks to evaluate, or to train on, at once."""

from __future__ import annotations

import math
from itertools import chain

from metaexp.core.algorithm import Algorithm
from metaexp.core.shapes import TaskShape
from metaexp.machine.device import Compute
from metaexp.models.checks.made_again import is_foreign

_CPU_BYTES = 256 << 20
_ACCELERATOR_BYTES = 4 << 30
_CPU_TRAINING_BYTES = 512 << 20
_LARGE_TASK_BYTES = 64 << 20
"""Convolutions of such a task keep a CPU busy. Of several tasks at once, each has weights of its own, and convolutions
of that kind are slower (benchmarks/task_chunk.py)."""
_MOST_TASKS = 1024
_CHANNELS = 64
_COPIES_WITHOUT_NETWORK = 4
"""How often nearest neighbour on the examples themselves keeps one: as it is, with length 1, and parts of products."""
_FLOAT_BYTES = 4


def tasks_at_once(shape: TaskShape, input_shape: tuple[int, ...], algorithm: Algorithm, compute: Compute) -> int:
    """Return how many evaluation tasks are computed at once, so that what they keep fits a fixed budget.

    A task keeps its widest activations, and numbers for each parameter that it adapts. The larger of the two counts.
    The widest layer of the common networks has 64 maps of the size of the image, so an example is counted as
    64 floats per pixel (per time step of a sequence, per number of a vector). An algorithm of
    metaexp without parameters and buffers has no network, so an example is counted as 4 floats per number.
    ``device.task_chunk`` comes first.

    Args:
        shape: Shape of a task.
        input_shape: Shape of an example.
        algorithm: The algorithm.
        compute: The device.
    """
    if compute.task_chunk is not None:
        return compute.task_chunk
    budget = _CPU_BYTES if compute.device.type == "cpu" else _ACCELERATOR_BYTES
    return max(1, min(_MOST_TASKS, budget // _bytes_of_a_task(shape, input_shape, algorithm, trains=False)))


def training_chunk(
    shape: TaskShape, input_shape: tuple[int, ...], algorithm: Algorithm, compute: Compute, tasks: int
) -> int | None:
    """Return how many training tasks to compute at once: on a CPU, equal chunks whose activations fit a budget.

    Tasks of large images are computed one at a time, which is faster and takes less memory.

    The estimate is that of :func:`tasks_at_once`. MAML with five inner steps keeps about seven times as much.
    ``device.task_chunk`` comes first.

    Args:
        shape: Shape of a task.
        input_shape: Shape of an example.
        algorithm: The algorithm.
        compute: The device.
        tasks: The tasks of one step.

    Returns:
        The number of tasks; None for all, as on an accelerator.
    """
    if compute.task_chunk is not None or compute.device.type != "cpu":
        return compute.task_chunk
    if len(input_shape) == 3 and _activation_bytes(shape, input_shape, algorithm, trains=True) >= _LARGE_TASK_BYTES:
        return 1
    most = max(1, _CPU_TRAINING_BYTES // _bytes_of_a_task(shape, input_shape, algorithm, trains=True))
    chunks = -(-tasks // most)
    return -(-tasks // chunks)


def _bytes_of_a_task(shape: TaskShape, input_shape: tuple[int, ...], algorithm: Algorithm, *, trains: bool) -> int:
    n_parameters = sum(parameter.numel() for parameter in algorithm.parameters())
    adapted = n_parameters * algorithm.numbers_per_parameter(shape.n_support, trains=trains) * _FLOAT_BYTES
    return max(_activation_bytes(shape, input_shape, algorithm, trains=trains), adapted)


def _activation_bytes(shape: TaskShape, input_shape: tuple[int, ...], algorithm: Algorithm, *, trains: bool) -> int:
    predicted = shape.n_queries * algorithm.passes_over_queries(trains=trains)
    return (shape.n_support + predicted) * _floats_of_an_example(input_shape, algorithm) * _FLOAT_BYTES


def _floats_of_an_example(input_shape: tuple[int, ...], algorithm: Algorithm) -> int:
    has_network = any(True for _ in chain(algorithm.parameters(), algorithm.buffers()))
    if not has_network and not is_foreign(type(algorithm)):  # code of users may keep all pairs of examples
        return math.prod(input_shape) * _COPIES_WITHOUT_NETWORK
    return _CHANNELS * (math.prod(input_shape[1:]) if len(input_shape) == 3 else math.prod(input_shape))

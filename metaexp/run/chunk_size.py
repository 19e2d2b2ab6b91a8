"""How many tasks to evaluate, or to train on, at once."""

from __future__ import annotations

import math

from metaexp.core.shapes import TaskShape
from metaexp.machine.device import Compute

_CPU_BYTES = 256 << 20
_ACCELERATOR_BYTES = 4 << 30
_CPU_TRAINING_BYTES = 512 << 20
_MOST_TASKS = 1024
_CHANNELS = 64
_FLOAT_BYTES = 4


def tasks_at_once(shape: TaskShape, input_shape: tuple[int, ...], compute: Compute) -> int:
    """A chunk of evaluation tasks whose widest activations fit a fixed budget.

    The widest layer of the common networks has 64 maps of the size of the image, so an example is counted as
    64 floats per pixel (per time step of a sequence, per number of a vector). ``device.task_chunk`` comes first.
    """
    if compute.task_chunk is not None:
        return compute.task_chunk
    budget = _CPU_BYTES if compute.device.type == "cpu" else _ACCELERATOR_BYTES
    return max(1, min(_MOST_TASKS, budget // _bytes_of_a_task(shape, input_shape)))


def training_chunk(shape: TaskShape, input_shape: tuple[int, ...], compute: Compute, tasks: int) -> int | None:
    """How many of ``tasks`` training tasks to compute at once: on a CPU, equal chunks whose activations fit a budget.

    The estimate is that of :func:`tasks_at_once`. MAML with five inner steps keeps some seven times as much. On an
    accelerator all tasks are computed at once (None). ``device.task_chunk`` comes first.
    """
    if compute.task_chunk is not None or compute.device.type != "cpu":
        return compute.task_chunk
    most = max(1, _CPU_TRAINING_BYTES // _bytes_of_a_task(shape, input_shape))
    chunks = -(-tasks // most)
    return -(-tasks // chunks)


def _bytes_of_a_task(shape: TaskShape, input_shape: tuple[int, ...]) -> int:
    positions = math.prod(input_shape[1:]) if len(input_shape) == 3 else math.prod(input_shape)
    return (shape.n_support + shape.n_queries) * positions * _CHANNELS * _FLOAT_BYTES

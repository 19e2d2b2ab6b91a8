"""How many tasks to evaluate at once."""

from __future__ import annotations

import math

from metaexp.core.shapes import TaskShape
from metaexp.machine.device import Compute

_CPU_BYTES = 256 << 20
_ACCELERATOR_BYTES = 4 << 30
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
    positions = math.prod(input_shape[1:]) if len(input_shape) == 3 else math.prod(input_shape)
    budget = _CPU_BYTES if compute.device.type == "cpu" else _ACCELERATOR_BYTES
    per_task = (shape.n_support + shape.n_queries) * positions * _CHANNELS * _FLOAT_BYTES
    return max(1, min(_MOST_TASKS, budget // per_task))

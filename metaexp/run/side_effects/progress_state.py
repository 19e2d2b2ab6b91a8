"""Warns of an algorithm whose set_progress is not a function of its two numbers."""

from __future__ import annotations

import copy
import logging
from typing import Any, Final
from weakref import WeakKeyDictionary

import torch

from metaexp.core.algorithm import Algorithm
from metaexp.core.counted import listed
from metaexp.run.side_effects.not_saved import note_not_saved
from metaexp.run.side_effects.unsaved_state import comparable

log = logging.getLogger(__name__)

_LOOKS: Final = 3
"""At how many steps of a process it is looked at: some algorithms do nothing at step 0."""
_looked: WeakKeyDictionary[Algorithm, set[int]] = WeakKeyDictionary()


def warn_of_progress_state(algorithm: Algorithm, step: int, total: int) -> None:
    """Warn once where calling set_progress again, with the same numbers, changes the algorithm's attributes.

    The second call is made on a copy, so training stays as it is. Parameters and buffers may change with each step:
    checkpoints hold them. Algorithms of metaexp, and those that cannot be copied, are not tried.

    Args:
        algorithm: After the call of set_progress.
        step: The number of the step that comes next.
        total: How many steps the training has.
    """
    steps = _looked.setdefault(algorithm, set())
    if len(steps) >= _LOOKS or step in steps or type(algorithm).set_progress.__module__.startswith("metaexp."):
        return
    steps.add(step)
    try:
        twin = copy.deepcopy(algorithm)
        before = plain_values(twin)
        twin.set_progress(step, total)
        after = plain_values(twin)
    except Exception as error:  # code of users: what a copy of it raises
        log.debug("set_progress was not tried on a copy: %s: %s", type(error).__name__, error)
        return
    changed = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
    if changed:
        steps.update(range(-_LOOKS, 0))  # that is enough
        log.warning(
            "set_progress of %s changes %s when it is called again with the same step. A validation calls it, too, and "
            "no checkpoint holds what it keeps, so a run that is stopped and resumed will differ from one that is not. "
            "Compute it from step and total alone (self.beta = 2 * 0.8**step, not self.beta *= 0.8), or keep it in a "
            "buffer that training changes.",
            type(algorithm).__name__, listed(changed, 3),
        )  # fmt: skip
        note_not_saved(algorithm, [f"{name} of {type(algorithm).__name__}" for name in changed])


def plain_values(algorithm: Algorithm) -> dict[str, Any]:
    """Return what the attributes of an algorithm and its layers hold, without what torch keeps for itself.

    Args:
        algorithm: The algorithm.
    """
    found = {}
    for path, layer in algorithm.named_modules():
        for name, value in vars(layer).items():
            if name not in _TORCHS:
                found[f"{path}.{name}".lstrip(".")] = comparable(value)
    return found


_TORCHS: Final = frozenset(vars(torch.nn.Module()))
"""Attributes of every layer: its parameters, buffers, layers and hooks."""

"""Finds what a step of training changes, and no checkpoint holds."""

from __future__ import annotations

import logging
import operator
import random
import sys
from collections import deque
from collections.abc import Iterator
from inspect import getgeneratorlocals
from types import GeneratorType, SimpleNamespace
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn

from metaexp.core.counted import listed
from metaexp.models.library_noise import numpy_and_python_states
from metaexp.run.optimizer import refuse_unwritable
from metaexp.run.side_effects.shared_memory import shared_memory

log = logging.getLogger(__name__)

_OF_TORCH: Final = {
    "_opt_called",
    "_warned_capturable_if_run_uncaptured",
    "_need_device_dtype_check_for_fused",  # of fused SGD and Adagrad, the default on a GPU
}
"""Notes that torch makes in an optimiser."""
_SAVED: Final = {"state", "param_groups"}
"""Attributes of an optimiser that checkpoints hold."""
_MOST_LEVELS: Final = 20
"""How deep containers and objects are looked into."""
_LIBRARIES: Final = frozenset({*sys.stdlib_module_names, "metaexp", "numpy", "torch"})
"""Packages whose objects are not looked into. Optimisers and namespaces are."""


class UnsavedState:
    """Finds what a step of training changes in an optimiser, clip or schedule, and no checkpoint holds.

    A run that is resumed would continue differently from one that was not stopped. Numbers, texts, tensors, arrays and
    random generators are looked at, containers of them, objects of own classes, and optimisers inside an optimiser. The
    global generators of numpy and Python are looked at, too.

    Args:
        optimizer: Before its first step in this process.
        others: What is used beside it, by name.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, **others: object) -> None:
        self.optimizer = optimizer
        self._parts = {"optimizer": optimizer, **others}
        self._before = dict(self._held())
        self._generators = numpy_and_python_states()

    def check(self) -> list[str]:
        """Warn of what the step has changed, and return it, to follow "no checkpoint holds".

        Raises:
            ConfigError: The state of the optimiser cannot be written.
        """
        refuse_unwritable(self.optimizer)
        after = dict(self._held())
        changed = sorted(key for key in self._before.keys() | after.keys() if self._before.get(key) != after.get(key))
        if changed:
            log.warning(
                "a step of training changes %s, which checkpoints do not hold. If the numbers depend on it, a resumed "
                "run differs from one that was not stopped; an optimiser can keep it in its state or param_groups.",
                listed(changed, 3),
            )
        drawn = [name for name, state in numpy_and_python_states().items() if state != self._generators[name]]
        if drawn and any(_is_own(part) for part in self._parts.values()):
            log.warning(
                "the optimizer, the clip or the schedule draws random numbers of %s, which no seed of the run fixes. "
                "The run cannot be repeated. Draw from torch, whose generator is seeded before each step.",
                " and ".join(drawn),
            )
            changed += [f"the random generator of {name}" for name in drawn]
        if shared := shared_memory(self.optimizer):
            log.warning(
                "the optimizer keeps the same memory under two names (%s). A checkpoint holds two copies, so a resumed "
                "run differs if one of them is changed in place. Keep a copy there: .clone(), or .copy() of a list or "
                "dict.",
                listed(shared, 3),
            )
            changed += [f"that {one} share memory" for one in shared]
        return changed

    def _held(self) -> Iterator[tuple[str, Any]]:
        saved = _saved_parts(self.optimizer)
        for part, holder in self._parts.items():
            for name, value in vars(holder).items():
                if name not in _OF_TORCH and not (holder is self.optimizer and name in _SAVED):
                    yield f"{name} of {part} {type(holder).__name__}", comparable(value, dict(saved))


def _saved_parts(optimizer: torch.optim.Optimizer) -> dict[int, object]:
    """The containers that checkpoints hold, by identity: an optimiser inside this one may share them."""
    shared = [optimizer.state, *optimizer.state.values(), optimizer.param_groups, *optimizer.param_groups]
    return {id(part): part for part in shared}


def comparable(value: Any, seen: dict[int, object] | None = None, levels: int = _MOST_LEVELS) -> Any:
    """Return a copy of what a value holds; None for parameters, objects of libraries, and what was seen before.

    Args:
        value: A number, text, tensor, array or random generator, or a container or an object of own code with such.
        seen: Containers and objects by identity, which are not looked into again. This adds to it.
        levels: How deep it is looked into.
    """
    seen = {} if seen is None else seen
    if isinstance(value, Tensor) and not isinstance(value, nn.Parameter):
        try:
            return value.detach().cpu().resolve_conj().reshape(-1).contiguous().view(torch.uint8).numpy().tobytes()
        except RuntimeError:  # sparse, or without values
            return None
    if isinstance(value, np.ndarray):
        return value.tobytes()
    if isinstance(value, (bool, int, float, str)):
        return repr(value)  # nan is equal to itself as a text
    if id(value) in seen or not levels:
        return None
    seen[id(value)] = value
    inner = _parts_of(value)
    if isinstance(inner, dict):
        return {key: comparable(item, seen, levels - 1) for key, item in inner.items()}
    return None if inner is None else [comparable(item, seen, levels - 1) for item in inner]


def _parts_of(value: Any) -> dict[Any, Any] | list[Any] | None:
    """What a container, a generator or an object is made of; None for what is not looked into."""
    if isinstance(value, dict):
        return value
    if isinstance(value, (list, tuple, deque)):
        return list(value)
    if isinstance(value, (set, frozenset)):
        return sorted(map(repr, value))
    if isinstance(value, torch.Generator):
        return [value.get_state()]
    if isinstance(value, np.random.Generator):
        return [value.bit_generator.state]
    if isinstance(value, np.random.RandomState):
        return [value.get_state(legacy=False)]
    if isinstance(value, random.Random) and not isinstance(value, random.SystemRandom):
        return [value.getstate()]
    return _attributes(value)


def _attributes(value: Any) -> dict[Any, Any] | list[Any] | None:
    if isinstance(value, GeneratorType):
        return getgeneratorlocals(value)
    if isinstance(value, Iterator) and type(value).__module__ == "builtins":
        return [operator.length_hint(value, -1)]
    if isinstance(value, torch.optim.Optimizer):
        return {name: item for name, item in vars(value).items() if name not in _OF_TORCH}
    is_object = _is_own(value) and not isinstance(value, (type, nn.Module))
    return (
        dict(vars(value)) if (is_object or isinstance(value, SimpleNamespace)) and hasattr(value, "__dict__") else None
    )


def _is_own(value: object) -> bool:
    return type(value).__module__.partition(".")[0] not in _LIBRARIES

"""Keeps random generators of own code where they are, while a task is computed once more only to look at it."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import numpy as np
import torch
from torch import nn

from metaexp.models.checks.hidden import items_in, plain_attributes
from metaexp.models.library_noise import keep_numpy_and_python

_CONTAINERS: Final = (list, tuple, dict, set, frozenset)
_LIBRARIES: Final = frozenset({"builtins", "metaexp", "numpy", "torch"})


@contextmanager
def keep_generators(algorithm: nn.Module) -> Iterator[None]:
    """Put generators back, after this block, to where they were before it.

    These are the global ones of numpy and Python, and generators of torch, numpy and Python that are attributes of the
    algorithm, its layers or their classes, or variables of a module of their package. Those that a function or another
    object hides are not found. torch's global one is seeded for each step.

    Args:
        algorithm: The algorithm, perhaps of own code, or with a network of own code.
    """
    restore = [_restoring(generator) for generator in _generators(algorithm)]
    try:
        with keep_numpy_and_python():
            yield
    finally:
        for put_back in restore:
            put_back()


_Generator = torch.Generator | np.random.Generator | np.random.RandomState | random.Random


def _restoring(generator: _Generator) -> Callable[[], object]:
    """What puts a generator back to where it is now."""
    if isinstance(generator, torch.Generator):
        torch_state = generator.get_state().clone()
        return lambda: generator.set_state(torch_state)
    if isinstance(generator, np.random.Generator):
        bits, numpy_state = generator.bit_generator, generator.bit_generator.state
        return lambda: setattr(bits, "state", numpy_state)
    if isinstance(generator, np.random.RandomState):
        legacy_state = generator.get_state()
        return lambda: generator.set_state(legacy_state)
    python_state = generator.getstate()
    return lambda: generator.setstate(python_state)


def _generators(algorithm: nn.Module) -> list[_Generator]:
    """The generators that own code holds, each once."""
    layers = list(algorithm.modules())
    classes = {base for layer in layers for base in type(layer).__mro__ if _package(base.__module__) not in _LIBRARIES}
    packages = {_package(cls.__module__) for cls in classes}
    modules = [module for name, module in list(sys.modules.items()) if _package(name) in packages]
    held: list[object] = [value for layer in layers for _, value in plain_attributes(layer)]
    held += [value for place in (*classes, *modules) for value in list(getattr(place, "__dict__", {}).values())]
    flat = [item for value in held for item in (items_in(value, 1) if isinstance(value, _CONTAINERS) else [value])]
    found = {id(item): item for item in flat if isinstance(item, _Generator)}
    return [item for item in found.values() if not isinstance(item, random.SystemRandom)]


def _package(module: str) -> str:
    return module.partition(".")[0]

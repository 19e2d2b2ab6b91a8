"""The global random generators of numpy and Python, which code of users may draw from beside torch's."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

_SEED_NUMPY, _SEED_PYTHON = np.random.seed, random.seed
"""The functions themselves: calls of these are not those that :func:`hear_seeds` hears."""


@contextmanager
def keep_numpy_and_python() -> Iterator[None]:
    """Restore both generators after this block.

    numpy's may be of any kind (``np.random.set_bit_generator``). One that the block puts in its place stays there.
    """
    numpy_state, python_state = np.random.get_state(legacy=False), random.getstate()
    try:
        yield
    finally:
        if np.random.get_state(legacy=False)["bit_generator"] == numpy_state["bit_generator"]:
            np.random.set_state(numpy_state)
        random.setstate(python_state)


@contextmanager
def seed_numpy_and_python(seed: int) -> Iterator[None]:
    """Seed both generators for this block, and restore them after it.

    Args:
        seed: The seed, at least 0. numpy takes its last 32 bits.
    """
    with keep_numpy_and_python():
        _SEED_NUMPY(seed % (1 << 32))
        _SEED_PYTHON(seed)
        yield


@contextmanager
def hear_seeds() -> Iterator[list[str]]:
    """Yield a list that gets the names of the functions by which this block seeds the two generators."""
    heard: list[str] = []
    before: list[tuple[Any, Callable[..., None]]] = [(np.random, np.random.seed), (random, random.seed)]

    def hearing(name: str, seed: Callable[..., None]) -> Callable[..., None]:
        def heard_seed(*args: Any, **kwargs: Any) -> None:
            heard.append(name)
            seed(*args, **kwargs)

        return heard_seed

    for module, seed in before:
        module.seed = hearing(f"{module.__name__}.seed", seed)
    try:
        yield heard
    finally:
        for module, seed in before:
            module.seed = seed


def numpy_and_python_states() -> dict[str, object]:
    """Return library -> the state of its generator, to be compared with a later one."""
    return {"numpy": _comparable(np.random.get_state(legacy=False)), "Python": random.getstate()}


def _comparable(state: object) -> object:
    """The state of a generator of numpy, which is a nest of dicts with arrays in it, in a form that compares."""
    if isinstance(state, np.ndarray):
        return state.tobytes()
    return {key: _comparable(item) for key, item in state.items()} if isinstance(state, Mapping) else state

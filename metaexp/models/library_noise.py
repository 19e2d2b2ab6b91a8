"""The global random generators of numpy and Python, which code of users may draw from beside torch's."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import numpy as np


@contextmanager
def seed_numpy_and_python(seed: int) -> Iterator[None]:
    """Seed both generators for this block, and restore them after it.

    numpy's may be of any kind (``np.random.set_bit_generator``). One that the block puts in its place stays there.

    Args:
        seed: The seed, at least 0. numpy takes its last 32 bits.
    """
    numpy_state, python_state = np.random.get_state(legacy=False), random.getstate()
    np.random.seed(seed % (1 << 32))
    random.seed(seed)
    try:
        yield
    finally:
        if np.random.get_state(legacy=False)["bit_generator"] == numpy_state["bit_generator"]:
            np.random.set_state(numpy_state)
        random.setstate(python_state)


def numpy_and_python_states() -> dict[str, object]:
    """Return library -> the state of its generator, to be compared with a later one."""
    return {"numpy": _comparable(np.random.get_state(legacy=False)), "Python": random.getstate()}


def _comparable(state: object) -> object:
    """The state of a generator of numpy, which is a nest of dicts with arrays in it, in a form that compares."""
    if isinstance(state, np.ndarray):
        return state.tobytes()
    return {key: _comparable(item) for key, item in state.items()} if isinstance(state, Mapping) else state

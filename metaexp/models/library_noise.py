"""The global random generators of numpy and Python, which code of users may draw from beside torch's."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np


@contextmanager
def seed_numpy_and_python(seed: int) -> Iterator[None]:
    """Seed both generators for this block, and restore them after it.

    Args:
        seed: The seed, at least 0. numpy takes its last 32 bits.
    """
    numpy_state, python_state = np.random.get_state(), random.getstate()
    np.random.seed(seed % (1 << 32))
    random.seed(seed)
    try:
        yield
    finally:
        np.random.set_state(numpy_state)
        random.setstate(python_state)


def numpy_and_python_states() -> dict[str, object]:
    """Return library -> the state of its generator, to be compared with a later one."""
    generator = np.random.get_state(legacy=False)["state"]
    return {"numpy": (generator["key"].tobytes(), generator["pos"]), "Python": random.getstate()}

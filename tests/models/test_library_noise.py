"""The global generators of numpy and Python are seeded and compared, whichever generator numpy has."""

from __future__ import annotations

import random
from collections.abc import Iterator

import numpy as np
import pytest
from numpy.random import mtrand

from metaexp.models.library_noise import numpy_and_python_states, seed_numpy_and_python

KINDS = [np.random.MT19937, np.random.PCG64, np.random.PCG64DXSM, np.random.Philox, np.random.SFC64]


@pytest.fixture(autouse=True)
def own_generator() -> Iterator[None]:
    before = mtrand.get_bit_generator()
    yield
    mtrand.set_bit_generator(before)


@pytest.mark.parametrize("kind", KINDS)
def test_a_draw_is_seen_for_every_generator_of_numpy(kind: type[np.random.BitGenerator]) -> None:
    mtrand.set_bit_generator(kind(3))
    before = numpy_and_python_states()
    assert numpy_and_python_states() == before
    np.random.rand()
    later = numpy_and_python_states()
    assert later["numpy"] != before["numpy"]
    assert later["Python"] == before["Python"]
    random.random()
    assert numpy_and_python_states()["Python"] != before["Python"]


@pytest.mark.parametrize("kind", KINDS)
def test_the_seed_decides_draws_and_the_state_before_comes_back(kind: type[np.random.BitGenerator]) -> None:
    mtrand.set_bit_generator(kind(3))
    before = numpy_and_python_states()
    drawn = []
    for seed in (5, 5, 6, 5 + (1 << 32)):
        with seed_numpy_and_python(seed):
            drawn.append(np.random.rand())
        assert numpy_and_python_states() == before
    assert drawn[0] == drawn[1] == drawn[3] != drawn[2]


def test_a_generator_that_is_set_meanwhile_stays() -> None:
    """A package of the user's may set it when it is imported, which happens while a network is made."""
    mtrand.set_bit_generator(np.random.MT19937(1))
    state = random.getstate()
    with seed_numpy_and_python(0):
        mtrand.set_bit_generator(np.random.PCG64(7))
    assert np.random.get_state(legacy=False)["bit_generator"] == "PCG64"
    assert random.getstate() == state

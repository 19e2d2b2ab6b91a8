"""An algorithm takes a network if its constructor has the argument ``model``."""

from __future__ import annotations

import pytest

from metaexp.config.classes.network import takes_network
from metaexp.config.schema import ClassSpec


@pytest.mark.parametrize(
    ("parameters", "takes_one"),
    [({"model", "inner_lr"}, True), ({"models", "train_shape"}, False), (set(), False)],
)
def test_only_the_argument_model_is_a_network(parameters: set[str], takes_one: bool) -> None:
    assert takes_network(ClassSpec("own.Learner", "own.Learner", {}, frozenset(parameters))) is takes_one

"""Arguments of torch's optimisers that are of the right type and cannot train are refused, and nobody else's."""

from __future__ import annotations

from typing import Any

import pytest

from metaexp.config.classes.optimizers import optimizer_problems
from metaexp.config.schema import ClassSpec


def problems(path: str, is_new: bool = True, **arguments: Any) -> list[str]:
    return optimizer_problems(ClassSpec(path, path, arguments, frozenset(arguments)), is_new)


SGD, RMSPROP, ASGD = "torch.optim.sgd.SGD", "torch.optim.rmsprop.RMSprop", "torch.optim.asgd.ASGD"


@pytest.mark.parametrize(
    ("path", "arguments", "said"),
    [
        (SGD, {"momentum": 2}, "optimizer.momentum=2 must be a finite number >= 0 and < 1."),
        (SGD, {"momentum": 1.0}, "optimizer.momentum=1.0 must be"),
        (RMSPROP, {"momentum": 1.5}, "optimizer.momentum=1.5 must be"),
        (RMSPROP, {"alpha": 1}, "optimizer.alpha=1 must be a finite number >= 0 and < 1"),
        (SGD, {"momentum": 0.9, "dampening": 1}, "optimizer.dampening=1 must be < 1"),
    ],
)
def test_what_cannot_train_is_refused_in_a_new_run(path: str, arguments: dict[str, Any], said: str) -> None:
    (problem,) = problems(path, **arguments)
    assert problem.startswith(said)
    assert "Set optimizer." in problem
    assert problems(path, is_new=False, **arguments) == []
    assert problems("mine.Own", **arguments) == []


@pytest.mark.parametrize(
    ("path", "arguments"),
    [
        (SGD, {"momentum": 0.999, "dampening": 0.5}),
        (SGD, {"momentum": 0, "dampening": 2}),
        (RMSPROP, {"alpha": 0.99, "momentum": 0.9}),
        (ASGD, {"alpha": 1.5}),
        (SGD, {"momentum": True}),
    ],
)
def test_what_trains_is_taken(path: str, arguments: dict[str, Any]) -> None:
    assert problems(path, **arguments) == []

"""A run begins with initial values that follow from its seed, in a network and in an algorithm of one's own."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from metaexp.core.errors import ConfigError
from metaexp.machine.device import Compute
from metaexp.run.build import Parts, build
from metaexp.run.state import copy_weights

CPU = Compute(torch.device("cpu"), "test", "float32", 1, True, None)
OUT = Path("unused")


def built(tiny: ModuleType, **how: Any) -> Parts:
    return build(tiny.settings(OUT, seed=3), CPU, lambda _: None, **how)


def then(cls: type, act: Callable[[Any], object]) -> Callable[..., None]:
    """The constructor of a class, which does something more at its end."""
    constructor: Callable[..., None] = cls.__init__  # type: ignore[misc]

    @functools.wraps(constructor)
    def construct(self: object, *args: object, **kwargs: object) -> None:
        constructor(self, *args, **kwargs)
        act(self)

    return construct


def draw_unseeded(module: nn.Module) -> None:
    generator = torch.Generator()
    generator.seed()
    module.scale = nn.Parameter(torch.randn(2, generator=generator))


@pytest.mark.parametrize(("cls", "section"), [("Net", "model"), ("TinyMAML", "algorithm")])
def test_initial_values_that_do_not_follow_from_the_seed_are_refused(
    tiny: ModuleType, monkeypatch: pytest.MonkeyPatch, cls: str, section: str
) -> None:
    monkeypatch.setattr(getattr(tiny, cls), "__init__", then(getattr(tiny, cls), draw_unseeded))
    with pytest.raises(ConfigError, match=f"{section}: {cls} has other initial values in scale when it is made again"):
        built(tiny)
    built(tiny, begins=False)


@pytest.mark.parametrize("draw", [lambda: torch.randn(2), lambda: np.random.normal(size=2)], ids=["torch", "numpy"])
@pytest.mark.parametrize(("cls", "section"), [("Net", "model"), ("TinyMAML", "algorithm")])
def test_random_values_that_are_not_saved_are_warned_of_where_a_run_begins(
    tiny: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    cls: str,
    section: str,
    draw: Callable[[], object],
) -> None:
    def built_with(values: Callable[[], object], **how: Any) -> list[str]:
        caplog.clear()
        with monkeypatch.context() as patch:
            constructor = then(getattr(tiny, cls), lambda module: setattr(module, "scale", values()))
            patch.setattr(getattr(tiny, cls), "__init__", constructor)
            built(tiny, **how)
        return [line for line in caplog.messages if "scale" in line]

    (line,) = built_with(draw)
    assert line.startswith(f"{section}: {cls} draws scale at random, which is not saved with its weights.")
    assert built_with(draw, begins=False) == []
    assert built_with(lambda: torch.ones(2)) == []


def test_an_algorithm_may_change_its_network(tiny: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its second one has a network of its own, so that it is changed once."""

    def double(algorithm: Any) -> None:
        with torch.no_grad():
            algorithm.model.head.weight.mul_(2.0)
        algorithm.model.wider = nn.Linear(algorithm.model.head.in_features, 1)
        algorithm.model.head.in_features += 1

    plain = built(tiny).algorithm
    monkeypatch.setattr(tiny.TinyMAML, "__init__", then(tiny.TinyMAML, double))
    changed = built(tiny).algorithm
    assert torch.equal(changed.model.head.weight, 2.0 * plain.model.head.weight)  # type: ignore[union-attr, operator]
    assert changed.model.wider.in_features == plain.model.head.in_features  # type: ignore[union-attr]


def test_the_second_network_changes_no_weight_and_no_random_number(tiny: ModuleType) -> None:
    found = []
    for begins in (True, False):
        weights = copy_weights(built(tiny, begins=begins).algorithm)
        found.append((weights, torch.get_rng_state()))
    (checked, state), (once, state_of_once) = found
    assert torch.equal(state, state_of_once)
    assert checked.keys() == once.keys()
    assert all(torch.equal(checked[name], once[name]) for name in once)


def test_only_a_run_that_begins_with_initial_values_makes_them_twice(
    tiny: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []
    for cls in (tiny.Net, tiny.TinyMAML):
        monkeypatch.setattr(cls, "__init__", then(cls, lambda self: made.append(type(self).__name__)))
    monkeypatch.setattr("metaexp.run.build.check_start", lambda *_: ())
    built(tiny)
    assert made == ["Net", "Net", "TinyMAML", "TinyMAML"]
    for how in ({"begins": False}, {"parent": Path("parent")}):
        made.clear()
        built(tiny, **how)
        assert made == ["Net", "TinyMAML"]


def test_a_network_that_cannot_be_copied_is_trained_all_the_same(
    tiny: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise TypeError("it cannot be copied")

    monkeypatch.setattr(tiny.Net, "__deepcopy__", refuse, raising=False)
    assert built(tiny).optimizer is not None

"""A class whose methods metaexp cannot call is refused when it is made."""

from __future__ import annotations

import abc
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from metaexp.config.classes.make import import_class, make
from metaexp.config.classes.methods import call_problem, refuse_wrong_methods
from metaexp.config.classes.targets import _trusted
from metaexp.config.schema import ClassSpec
from metaexp.core.algorithm import Algorithm
from metaexp.core.errors import ConfigError
from metaexp.core.optim import Clip, Schedule
from metaexp.data.base import Dataset, MetaDataset
from metaexp.models.base import Network
from metaexp.tracking.base import Tracker

BASES = {base.__name__: base for base in (Algorithm, Clip, Dataset, MetaDataset, Network, Schedule, Tracker)}
WRONG = {
    "factor(self, step)": ("Schedule", "factor(self, step) cannot be called as factor(self, step, total_steps)"),
    "factor(step, total_steps)": ("Schedule", "factor(step, total_steps) cannot be called as factor(self, step, "),
    "factor()": ("Schedule", "factor() cannot be called as factor(self, step, total_steps)"),
    "factor(self, step, total_steps, more)": ("Schedule", "cannot be called as factor(self, step, total_steps)"),
    "apply(self)": ("Clip", "apply(self) cannot be called as apply(self, module)"),
    "loss(self, scores)": ("Algorithm", "loss(self, scores) cannot be called as loss(self, scores, y)"),
    "numbers_per_parameter(self, n_support)": ("Algorithm", "numbers_per_parameter(self, n_support, trains=...)"),
    "features(self)": ("Network", "features(self) cannot be called as features(self, x)"),
    "capacity_in(self)": ("Dataset", "capacity_in(self) cannot be called as capacity_in(self, folder)"),
    "tasks(self, shape)": ("MetaDataset", "tasks(self, shape) cannot be called as tasks(self, shape, seed)"),
    "finish(self, outcome)": ("Tracker", "cannot be called as finish(self, outcome, summary, artifacts)"),
    "batch_norm(self)": ("Algorithm", "batch_norm is a method, and a property in metaexp.core.algorithm.Algorithm"),
    "fixed_way(self)": ("Algorithm", "fixed_way is a method, and a value in metaexp.core.algorithm.Algorithm"),
}
RIGHT = {
    "factor(self, step, total_steps)": "Schedule",
    "factor(self, now, end, *, power=2.0)": "Schedule",
    "factor(self, *numbers)": "Schedule",
    "numbers_per_parameter(self, n, **keywords)": "Algorithm",
    "_factor(self)": "Schedule",
    "another(self)": "Algorithm",
}


def own(base: str, method: str) -> type:
    """A class of a user's with one method."""
    names: dict[str, Any] = {"BASE": BASES[base]}
    exec(compile(f"class Own(BASE):\n    def {method}:\n        return 1.0\n", "/lab/own.py", "exec"), names)
    cls: type = names["Own"]
    return cls


@pytest.mark.parametrize("method", WRONG)
def test_a_method_that_metaexp_cannot_call_is_refused_with_its_arguments_and_those_of_the_call(method: str) -> None:
    base, message = WRONG[method]
    with pytest.raises(ConfigError) as caught:
        refuse_wrong_methods(own(base, method), "_target_=own.Own")
    assert str(caught.value).startswith("_target_=own.Own: ")
    assert message in str(caught.value)
    assert f"{BASES[base].__module__}.{base}" in str(caught.value)
    assert "(/lab/own.py, line 2)" in str(caught.value)


@pytest.mark.parametrize("method", RIGHT)
def test_a_method_that_metaexp_can_call_is_not_refused(method: str) -> None:
    refuse_wrong_methods(own(RIGHT[method], method), "_target_=own.Own")


def test_static_and_class_methods_and_wrapped_ones_are_called_as_they_are() -> None:
    class Static(Schedule):
        @staticmethod
        def factor(step: int, total_steps: int) -> float:  # type: ignore[override]
            return 1.0

    class OfClass(Schedule):
        @classmethod
        def factor(cls, step: int, total_steps: int) -> float:
            return 1.0

    class Wrapped(Clip):
        @torch.no_grad()
        def apply(self, module: nn.Module) -> None: ...

    class Partial(Schedule):
        factor = functools.partial(lambda step: 1.0)  # type: ignore[assignment]

    for cls in (Static, OfClass, Wrapped, Partial):
        refuse_wrong_methods(cls, "_target_=own")
    Static.factor = staticmethod(lambda step: 1.0)  # type: ignore[assignment, method-assign]
    OfClass.factor = classmethod(lambda cls, step: 1.0)  # type: ignore[assignment, method-assign]
    Wrapped.apply = torch.no_grad()(lambda self: None)  # type: ignore[assignment, method-assign]
    for cls in (Static, OfClass, Wrapped):
        with pytest.raises(ConfigError, match="cannot be called as"):
            refuse_wrong_methods(cls, "_target_=own")


def test_a_value_in_place_of_a_method_is_refused_and_a_property_in_place_of_a_value_is_not() -> None:
    class Value(Schedule):
        factor = 0.5  # type: ignore[assignment]

    class Asked(Dataset):
        @property
        def val_in_train(self) -> bool:  # type: ignore[override]
            return True

    with pytest.raises(ConfigError, match=r"factor is not a method.* Write `def factor\(self, step, total_steps\)`"):
        refuse_wrong_methods(Value, "_target_=own.Value")
    refuse_wrong_methods(Asked, "_target_=own.Asked")


def with_power(function: Callable[..., float]) -> Callable[..., float]:
    """A decorator that gives a method one argument more than it is called with."""

    @functools.wraps(function)
    def called(self: object, *numbers: int) -> float:
        return function(self, *numbers, 2.0)

    return called


def test_a_decorator_that_gives_further_arguments_counts_as_it_is() -> None:
    class Own(Schedule):
        @with_power
        def factor(self, step: int, total_steps: int, power: float) -> float:
            return power

    refuse_wrong_methods(Own, "_target_=own.Own")
    assert Own().factor(0, 1) == 2.0
    assert call_problem(Own().factor, ("step", "total_steps")) == ""
    Own.factor = torch.no_grad()(lambda self, step: 1.0)  # type: ignore[assignment, call-arg, method-assign]
    assert "cannot be called as" in call_problem(Own().factor, ("step", "total_steps"))


class Compiled:
    """A descriptor of somebody's library: it gives a function for an object, and none for the class."""

    def __get__(self, made: object, cls: type) -> Callable[..., float]:
        if made is None:
            raise RuntimeError("there is no object")
        return lambda *arguments: 1.0


def test_what_gives_a_function_for_an_object_is_not_refused() -> None:
    class Lazy(Algorithm):
        loss = Compiled()  # type: ignore[assignment]

    class Once(Schedule):
        @functools.cached_property
        def factor(self) -> Callable[..., float]:  # type: ignore[override]
            return lambda step, total_steps: 1.0

    class Chosen(Schedule):
        @property
        def factor(self) -> Callable[..., float]:  # type: ignore[override]
            return lambda step, total_steps: 1.0

    class Later(Schedule):
        factor = None  # type: ignore[assignment]

        def __init__(self) -> None:
            self.factor = lambda step, total_steps: 1.0  # type: ignore[assignment, method-assign]

    for cls in (Lazy, Once, Chosen, Later):
        refuse_wrong_methods(cls, "_target_=own")
    for made in (Once(), Chosen(), Later()):
        assert made.factor(0, 1) == 1.0  # type: ignore[call-arg]


@pytest.mark.parametrize("kind", [property, functools.cached_property])
def test_a_property_that_would_be_the_method_itself_is_refused(kind: Callable[..., Any]) -> None:
    def factor(self: object, step: int, total_steps: int) -> float:
        return 1.0

    for base, name, getter in ((Schedule, "factor", factor), (Dataset, "capacity", lambda self: {})):
        cls = type("Own", (base,), {name: kind(getter)})
        with pytest.raises(ConfigError, match=f"{name} is not a method"):
            refuse_wrong_methods(cls, "_target_=own.Own")


def test_methods_of_a_class_between_count_and_each_wrong_one_is_named() -> None:
    class Between(Schedule, abc.ABC):
        def factor(self, step: int) -> float:  # type: ignore[override]
            return 1.0

    class Last(Between):
        pass

    with pytest.raises(ConfigError, match="factor"):
        refuse_wrong_methods(Last, "_target_=own.Last")

    class Two(Network):
        def features(self) -> None: ...  # type: ignore[override]
        def feature_shape(self) -> None: ...  # type: ignore[override]

    with pytest.raises(ConfigError) as caught:
        refuse_wrong_methods(Two, "_target_=own.Two")
    assert len(caught.value.problems) == 2


def test_both_ways_to_a_class_refuse_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "wrongly_called.py").write_text(
        "from metaexp.core.optim import Clip\n\n\nclass Own(Clip):\n    def apply(self, module, rate):\n        pass\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr("metaexp.config.classes.targets._trusted", {*_trusted, "wrongly_called"})
    spec = ClassSpec("wrongly_called.Own", "wrongly_called.Own", {}, frozenset())
    for way in (make, import_class):
        with pytest.raises(ConfigError, match=r"_target_=wrongly_called\.Own: apply\(self, module, rate\) cannot"):
            way(spec, Clip)  # type: ignore[type-abstract, operator]


def test_a_function_that_does_not_say_what_it_takes_is_not_refused() -> None:
    assert call_problem(max, ("a", "b")) == ""
    assert call_problem(lambda a, b: a, ("a", "b")) == ""
    assert "cannot be called as <lambda>(a, b)" in call_problem(lambda a: a, ("a", "b"))

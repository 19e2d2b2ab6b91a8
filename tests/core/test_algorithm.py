"""Methods of algorithms that were renamed keep their earlier names."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from torch import Tensor

from metaexp.core.algorithm import Algorithm
from metaexp.core.types import Examples


class Base(Algorithm):
    """Written with today's names."""

    batch_norm = "none"

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[Any] = []

    def adapt(self, support: Examples) -> Tensor:
        return support.x

    def predict(self, adapted: Tensor, x: Tensor) -> Tensor:
        return x

    def set_progress(self, step: int, total: int) -> None:
        self.calls.append(("base", step, total))


SUPPORT = Examples(torch.zeros(1, 1), torch.zeros(1, 1))


def test_the_old_names_work_with_a_warning_and_reach_the_class_above() -> None:
    with pytest.warns(FutureWarning, match=r"Old defines begin_step\(\), which is called set_progress\(\) now"):

        class Old(Base):
            def begin_step(self, step: int, total: int) -> None:
                super().begin_step(step, total)
                self.calls.append(("old", step, total))

    algorithm = Old()
    algorithm.set_progress(1, 2)
    assert algorithm.calls == [("base", 1, 2), ("old", 1, 2)]


def test_a_mixin_with_an_old_name_counts_too() -> None:
    class Mixin:
        def trajectory(self, support: Examples) -> list[str]:
            return ["start", "end"]

    with pytest.warns(FutureWarning, match=r"trajectory\(\), which is called adaptation_path\(\) now"):

        class Old(Mixin, Base):
            pass

    assert list(Old().adaptation_path(SUPPORT)) == ["start", "end"]


def test_new_names_win_give_no_warning_and_answer_to_the_old_ones() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")

        class New(Base):
            def adaptation_path(self, support: Examples) -> list[str]:
                return ["new"]

    algorithm = New()
    algorithm.begin_step(3, 4)  # type: ignore[attr-defined]
    assert algorithm.calls == [("base", 3, 4)]
    assert algorithm.trajectory(SUPPORT) == ["new"]  # type: ignore[attr-defined]


def test_a_class_below_one_that_defines_neither_name_gives_no_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")

        class Child(Base):
            pass

        class Grandchild(Child):
            pass

    assert next(iter(Grandchild().adaptation_path(SUPPORT))) is SUPPORT.x
